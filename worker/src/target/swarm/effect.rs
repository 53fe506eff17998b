//! What a change does to the tasks that run, in words. No I/O.

use proto::ask::Change;
use serde_json::Value;

use super::service::{Mode, Service};

/// Nothing that runs is touched.
pub(super) const NONE: &str = "replaces no task";

const REPLICAS: &str = "Mode.Replicated.Replicas";
/// Where the engine may run tasks: it replaces those alone that are where they may not be any more.
const PLACEMENT: &str = "TaskTemplate.Placement";
/// What tasks are made from: one that was made from anything else is replaced.
const TASKS_ARE_MADE_FROM: [&str; 2] = ["TaskTemplate.", "EndpointSpec"];

/// What these changes of a service do to its tasks.
pub(super) fn on_tasks<'a>(service: &Service, changes: impl Iterator<Item = &'a Change>) -> String {
    let (mut replaces, mut only_moves, mut replicas) = (false, true, None);
    for change in changes {
        if change.field == REPLICAS {
            replicas = change.to.as_ref().and_then(Value::as_u64);
        }
        if TASKS_ARE_MADE_FROM.iter().any(|part| change.field.starts_with(part)) {
            replaces = true;
            only_moves &= change.field.starts_with(PLACEMENT);
        }
    }
    let (count, tasks) = match service.mode() {
        Mode::Replicated(count) => (Some(count), all_of(count)),
        Mode::Global => (None, "its task on every node".to_owned()),
        Mode::Job => return NONE.to_owned(),
    };
    let replaced = match (replaces && count != Some(0), only_moves) {
        (false, _) => None,
        (true, true) => {
            Some("replaces those of its tasks that are where they may not be any more".to_owned())
        }
        (true, false) => Some(format!("replaces {tasks}")),
    };
    let scaled = count.zip(replicas).and_then(|(from, to)| match (from, to) {
        (0, 0) => None,
        (1.., 0) => Some(format!("stops {tasks}")),
        (0, _) => Some(format!("starts {}", counted(to, ""))),
        _ if to > from => Some(format!("starts {}", counted(to - from, " more"))),
        _ if to < from => Some(format!("stops {} of its {from} tasks", from - to)),
        _ => None,
    });
    match (replaced, scaled, replicas) {
        // None is left to be replaced.
        (_, Some(stops), Some(0)) => stops,
        (Some(_), Some(_), Some(to)) if !only_moves => format!("replaces {tasks} by {to}"),
        (Some(replaces), Some(scales), _) => format!("{replaces}, and {scales}"),
        (Some(words), None, _) | (None, Some(words), _) => words,
        (None, None, _) => NONE.to_owned(),
    }
}

/// What the removal of a service does.
pub(super) fn of_removal(service: &Service) -> String {
    match service.mode() {
        Mode::Replicated(0) | Mode::Job => NONE.to_owned(),
        Mode::Replicated(count) => format!("stops {}", all_of(count)),
        Mode::Global => "stops its task on every node".to_owned(),
    }
}

fn all_of(count: u64) -> String {
    match count {
        1 => "its one task".to_owned(),
        _ => format!("all of its {count} tasks"),
    }
}

fn counted(count: u64, more: &str) -> String {
    match count {
        1 => format!("1{more} task"),
        _ => format!("{count}{more} tasks"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(mode: Value) -> Service {
        let raw = json!({"ID": "x", "Version": {"Index": 1}, "Spec": {"Name": "web", "Mode": mode}});
        Service::from_raw(raw).unwrap()
    }

    fn replicated(count: u64) -> Service {
        service(json!({"Replicated": {"Replicas": count}}))
    }

    fn change(field: &str, to: Value) -> Change {
        Change { of: "service web".to_owned(), field: field.to_owned(), from: None, to: Some(to) }
    }

    #[test]
    fn what_becomes_of_the_tasks_is_told() {
        let image = || change("TaskTemplate.ContainerSpec.Image", json!("a:2"));
        let replicas = |to: u64| change(REPLICAS, json!(to));
        let label = || change("Labels.team", json!("a"));
        let port = || change("EndpointSpec.Ports", json!([]));
        let placement = || change("TaskTemplate.Placement.Constraints", json!([]));
        let moves = "replaces those of its tasks that are where they may not be any more";
        for (count, changes, expected) in [
            (2, vec![label()], NONE),
            (1, vec![image()], "replaces its one task"),
            (2, vec![image(), label()], "replaces all of its 2 tasks"),
            (2, vec![port()], "replaces all of its 2 tasks"),
            (2, vec![placement()], moves),
            (2, vec![placement(), image()], "replaces all of its 2 tasks"),
            (0, vec![image()], NONE),
            (1, vec![replicas(0)], "stops its one task"),
            (3, vec![replicas(0), image()], "stops all of its 3 tasks"),
            (0, vec![replicas(1)], "starts 1 task"),
            (0, vec![replicas(2), image()], "starts 2 tasks"),
            (2, vec![replicas(3)], "starts 1 more task"),
            (3, vec![replicas(1)], "stops 2 of its 3 tasks"),
            (2, vec![replicas(4), image()], "replaces all of its 2 tasks by 4"),
            (3, vec![replicas(2), image()], "replaces all of its 3 tasks by 2"),
            (1, vec![replicas(2), placement()], &format!("{moves}, and starts 1 more task")),
        ] {
            assert_eq!(on_tasks(&replicated(count), changes.iter()), expected, "{count} {changes:?}");
        }
        let everywhere = service(json!({"Global": {}}));
        assert_eq!(on_tasks(&everywhere, [image()].iter()), "replaces its task on every node");
        assert_eq!(on_tasks(&service(json!({"ReplicatedJob": {}})), [image()].iter()), NONE);
        assert_eq!(of_removal(&replicated(2)), "stops all of its 2 tasks");
        assert_eq!(of_removal(&replicated(0)), NONE);
    }
}
