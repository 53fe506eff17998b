//! Services without tasks: that of a success, and of what somebody else took away meanwhile, one wants to know.

use proto::{Reason, TargetName, reason};

use super::{
    lifecycle::{Concern, stopped_from},
    service::{Mode, Service},
};
use crate::target::{End, Wanted};

/// Whether somebody else took away all tasks in which the image of a job was to run. `began_with`: how the service was
/// when it was first seen with what the job made of it; who takes over from another worker has the engine's memory of it.
pub(super) fn is_emptied(service: &Service, began_with: Mode, wanted: &Wanted) -> bool {
    // One that a newer job stopped is to be started with that very image.
    let is_stopped_here = stopped_from(service).is_some();
    if service.mode() != Mode::Replicated(0) || is_stopped_here {
        return false;
    }
    let concern = Concern::of(&wanted.job.operation);
    let was_left_with_tasks = || {
        let is_ours = |former: &Service| concern.mark(former) == Some(wanted.job.id);
        service.previous().filter(is_ours).is_some_and(|former| has_tasks(former.mode()))
    };
    has_tasks(began_with) || was_left_with_tasks()
}

fn has_tasks(mode: Mode) -> bool {
    matches!(mode, Mode::Replicated(1..))
}

/// Of somebody else's change one wants to know what it was.
pub(super) fn with_what_stands(end: End, service: &Service) -> End {
    match (end, service.image()) {
        (End::Superseded { by: None, reason }, Some(image)) => {
            let text = format!("{}; {} stands there now", reason.text, image.familiar());
            let hint = match service.mode() {
                Mode::Replicated(0) => format!("it is left as it is; {}", how_to_scale(service)),
                Mode::Replicated(_) | Mode::Global | Mode::Job => {
                    "it is left as it is; to have yours all the same, deploy it again".to_owned()
                }
            };
            End::Superseded { by: None, reason: Reason { text, hint: Some(hint), ..reason } }
        }
        (end, _) => end,
    }
}

/// What stands there is not known to run: whoever reads of a success must not believe that it does.
pub(super) fn nothing_runs(target: &TargetName, service: &Service) -> Reason {
    let text = "it is stopped (0 tasks): nothing was started, so nothing is known of whether it runs";
    // A start leaves alone in a stack what it did not stop.
    let hint = match stopped_from(service) {
        Some(_) => format!("`longshore stack start {target}` starts it"),
        None => how_to_scale(service),
    };
    Reason::new(reason::STOPPED, text).hint(hint)
}

fn how_to_scale(service: &Service) -> String {
    format!("`docker service scale {}=1` gives it a task", service.name())
}

#[cfg(test)]
mod tests {
    use proto::{ImageRef, Job};
    use serde_json::{Value, json};

    use super::*;
    use crate::{target::swarm::fence, testing::job};

    /// A service that is meant to have no task, and what it was before its last write.
    fn emptied(labels: Value, before: Value) -> Service {
        let spec = |labels: Value, replicas: u64| {
            let image = json!({"ContainerSpec": {"Image": "a:1"}});
            json!({"Name": "web", "Labels": labels, "TaskTemplate": image, "Mode": {"Replicated": {"Replicas": replicas}}})
        };
        let former = before["labels"].clone();
        let former = spec(former, before["replicas"].as_u64().unwrap());
        let raw =
            json!({"ID": "x", "Version": {"Index": 1}, "Spec": spec(labels, 0), "PreviousSpec": former});
        Service::from_raw(raw).unwrap()
    }

    #[test]
    fn only_what_somebody_else_took_away_from_us_is_missed() {
        let mine: Job = job(1, "a:1");
        let image: ImageRef = "a:1".parse().unwrap();
        let wanted = Wanted { job: mine.clone(), image: Some(image) };
        let marked = json!({fence::JOB: mine.id.to_string()});
        let stopped = json!({fence::JOB: mine.id.to_string(), "longshore.replicas": "2"});
        let before = |labels: &Value, replicas: u64| json!({"labels": labels, "replicas": replicas});
        for (what, labels, former, began_with, expected) in [
            ("seen with tasks", &marked, before(&json!({}), 0), Mode::Replicated(2), true),
            ("left with tasks by another worker", &marked, before(&marked, 2), Mode::Replicated(0), true),
            ("stopped before we came", &marked, before(&json!({}), 2), Mode::Replicated(0), false),
            ("never had any", &marked, before(&marked, 0), Mode::Replicated(0), false),
            ("stopped by a newer job", &stopped, before(&marked, 2), Mode::Replicated(2), false),
        ] {
            let service = emptied(labels.clone(), former);
            assert_eq!(is_emptied(&service, began_with, &wanted), expected, "{what}");
        }
        let end =
            End::Superseded { by: None, reason: Reason::new(reason::CHANGED_ELSEWHERE, "somebody did") };
        let End::Superseded { reason, .. } =
            with_what_stands(end, &emptied(marked.clone(), before(&marked, 2)))
        else {
            panic!("another end")
        };
        assert!(reason.hint.is_some_and(|hint| hint.contains("docker service scale web=1")));
    }
}
