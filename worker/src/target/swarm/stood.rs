//! What stood on a service that nothing was meant to run of, before another image was brought there.
//!
//! Such a service proves nothing of its image, so none of it is noted as one that ran well. A rollback takes it back all
//! the same: what the last deploy brought would else come up with the service's next task.

use proto::ImageRef;

use super::{
    apply::FoundService,
    before::is_told_apart,
    good::is_tag_of,
    service::{Mode, Service},
};

/// The image that stood there without a task when the one of now was brought.
pub(super) const STOOD: &str = "longshore.stood";

/// The image that a rollback of the service goes back to, as far as its labels tell. Where nothing is meant to run, what
/// ran well long ago is not what the last deploy replaced.
pub(super) fn way_back(service: &Service) -> Option<ImageRef> {
    let stood = || service.label(STOOD).and_then(|image| image.parse().ok());
    let good = || service.fence.good.clone();
    match service.mode() {
        Mode::Replicated(0) => stood().filter(|image| !service.fence.is_bad(image)).or_else(good),
        Mode::Replicated(_) | Mode::Global | Mode::Job => good().or_else(stood),
    }
}

impl FoundService {
    /// The label with which `next` is brought; without a value where a task showed what its image was worth.
    pub(super) fn standing_aside(&self, next: &ImageRef) -> (&'static str, Option<String>) {
        let stands = self.service.image().filter(|_| self.service.mode() == Mode::Replicated(0));
        // What ran well when it was stopped is noted as that.
        let unproven = stands.filter(|stands| self.ran_when_stopped(stands).is_none());
        (STOOD, unproven.filter(|stands| is_told_apart(stands, Some(next))).map(|image| image.to_string()))
    }

    /// Repeated, a rollback stays where it went, whatever the tag names by then.
    pub(super) fn pinned_aside(&self, image: &ImageRef) -> Option<(&'static str, Option<String>)> {
        let stood: ImageRef = self.service.label(STOOD)?.parse().ok()?;
        is_tag_of(&stood, image).then(|| (STOOD, Some(image.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::target::swarm::fence;

    #[test]
    fn what_stood_aside_comes_back_where_no_task_proved_another() {
        let image = |digit: char| format!("r.lan/web:{digit}@sha256:{}", digit.to_string().repeat(64));
        let of = |replicas: u64, labels: Value| {
            let spec = json!({
                "Labels": labels, "Mode": {"Replicated": {"Replicas": replicas}},
                "TaskTemplate": {"ContainerSpec": {"Image": image('3')}},
            });
            let service =
                Service::from_raw(json!({"ID": "x", "Version": {"Index": 1}, "Spec": spec})).unwrap();
            way_back(&service).map(|image| image.to_string())
        };
        let bad = format!("sha256:{}", "2".repeat(64));
        for (replicas, labels, back) in [
            (0, json!({}), None),
            (0, json!({STOOD: image('2')}), Some('2')),
            (0, json!({STOOD: image('2'), fence::GOOD: image('1')}), Some('2')),
            (0, json!({fence::GOOD: image('1')}), Some('1')),
            (0, json!({STOOD: image('2'), fence::GOOD: image('1'), fence::BAD: bad}), Some('1')),
            // It has tasks by now.
            (1, json!({STOOD: image('2')}), Some('2')),
            (1, json!({STOOD: image('2'), fence::GOOD: image('1')}), Some('1')),
        ] {
            assert_eq!(of(replicas, labels.clone()), back.map(image), "{replicas} {labels}");
        }
    }
}
