//! What a rollback passes over: an image that stood there before the one of now, and is not known to have run well.
//!
//! Who rolls back expects what stood there last. Where that is not gone back to, they are told so, and why.

use std::time::Duration;

use proto::{ImageRef, Job, Operation, Reason, reason};

use super::{
    apply::FoundService,
    before::Told,
    service::{Service, same_image},
};

/// The image that the last rollback passed over, and why, in words for people: whoever takes the job up after a crash
/// finds the spec before it gone.
pub(super) const PASSED_OVER: &str = "longshore.passed-over";

/// An image that somebody else brought, and replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PassedOver {
    pub(super) image: ImageRef,
    pub(super) told: Told,
}

impl FoundService {
    /// What a rollback to `image` passes over, in words for people.
    pub(super) fn passes_over(&self, image: &ImageRef) -> Option<String> {
        let passed = self.before.passed.as_ref()?;
        (!same_image(&passed.image, image)).then(|| passed.to_string())
    }

    /// The label with which `image` is brought.
    pub(super) fn passed_over(&self, image: &ImageRef) -> (&'static str, Option<String>) {
        (PASSED_OVER, self.passes_over(image))
    }
}

/// What has to be known beside the success of a rollback.
pub(super) fn passed_over(service: &Service, job: &Job) -> Option<Reason> {
    let is_its = service.fence.job == Some(job.id);
    let is_rollback = matches!(job.operation, Operation::Rollback { image: None, .. });
    let text = service.label(PASSED_OVER).filter(|_| is_its && is_rollback)?;
    let hint = format!("to have it all the same: `longshore deploy {} --image IMAGE`", job.target);
    Some(Reason::new(reason::WENT_BACK, text).hint(hint))
}

impl std::fmt::Display for PassedOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let image = self.image.familiar();
        match self.told {
            Told::Short { lasted, asked } => write!(
                f,
                "{image}, which stood there before, is passed over: it was replaced when it had run for {}, and it is believed \
                 after {}",
                seconds(lasted),
                seconds(asked)
            ),
            Told::DidNot | Told::RanWell => write!(
                f,
                "{image}, which stood there before, is passed over: not all of its tasks are known to have stayed up"
            ),
        }
    }
}

fn seconds(span: Duration) -> String {
    match span.subsec_millis() {
        0 => format!("{} s", span.as_secs()),
        _ => format!("{:.1} s", span.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use proto::{JobId, Timestamp};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollback_tells_what_it_passed_over_and_nobody_else_does() {
        let image = "r.lan/web:3".parse().unwrap();
        let told = Told::Short { lasted: Duration::from_millis(1_240), asked: Duration::from_secs(3) };
        let words = PassedOver { image, told }.to_string();
        assert!(words.contains("run for 1.2 s, and it is believed after 3 s"), "{words}");
        let mut job = crate::testing::job(1, "any:1");
        job.id = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let labels = json!({"longshore.job": job.id.to_string(), PASSED_OVER: words});
        let raw = json!({"ID": "x", "Version": {"Index": 1}, "Spec": {"Labels": labels}});
        let service = Service::from_raw(raw).unwrap();
        assert_eq!(passed_over(&service, &job), None, "it brings an image");
        job.operation = Operation::Rollback { service: None, job: None, image: None };
        assert_eq!(passed_over(&service, &job).map(|reason| reason.text), Some(words));
        job.id = job.id.successor();
        assert_eq!(passed_over(&service, &job), None, "it is another's");
    }
}
