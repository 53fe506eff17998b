//! The image of a job that waits for an approval or a time.
//!
//! A tag moves on. What is approved, and what comes of age, is what the tag pointed to when the waiting began: it is
//! looked up at the first look at the job, and told with the hold. The history keeps it; where that lost it, it is
//! looked up anew.

use std::time::Duration;

use jiff::SignedDuration;
use proto::{ImageChange, ImageRef, Job, Reason, State, Timestamp, reason};

use crate::{
    conclusion::Telling,
    execute::{Executor, Step, wished_image},
    verdict::chain,
};

/// How long a registry may take to tell: a job that waits must not keep those waiting that could be carried out.
const LOOKED_UP_WITHIN: Duration = Duration::from_secs(10);

/// What is looked up later than this after the job was accepted may have been pushed since.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(60);

/// What is known of the image of a job that waits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sight {
    /// It is this one, by its content.
    Known(ImageRef),
    /// The registry could not be asked yet which one it is.
    NotYet(ImageRef),
    /// It brings no image of its own, or there is no registry that could tell.
    None,
}

impl Sight {
    /// What a job waits for, with the image that it waits with.
    pub(crate) fn told_in(&self, reason: Reason) -> Reason {
        let text = match self {
            Sight::Known(image) => format!("{}; its image is {}", reason.text, image.familiar()),
            Sight::NotYet(image) => {
                format!("{}; what {} points to could not be looked up yet", reason.text, image.familiar())
            }
            Sight::None => return reason,
        };
        Reason { text, ..reason }
    }

    pub(crate) fn image(&self) -> Option<Box<ImageChange>> {
        match self {
            Sight::Known(image) => Some(Box::new(ImageChange { from: None, to: Some(image.clone()) })),
            Sight::NotYet(_) | Sight::None => None,
        }
    }
}

impl Executor {
    /// The image to look up for a job that is carried out: the very one that it waited with, where it did.
    pub(crate) fn wished_image(&self, job: &Job) -> Option<ImageRef> {
        let waited = || job.image_that_waits().and_then(|_| self.index.image_seen(job.id));
        waited().or_else(|| wished_image(job))
    }

    /// The image of a job that waits, as far as the history tells of it.
    pub(crate) fn image_told(&self, job: &Job) -> Sight {
        let Some(image) = job.image_that_waits() else { return Sight::None };
        let image = self.index.image_seen(job.id).unwrap_or_else(|| image.clone());
        if image.digest().is_some() { Sight::Known(image) } else { Sight::None }
    }

    /// The same, looked up where nobody told of it before.
    pub(crate) async fn image_now(&self, job: &Job) -> Sight {
        let told = self.image_told(job);
        if told != Sight::None {
            return told;
        }
        let (Some(image), Some(target)) = (job.image_that_waits(), self.fleet.target(&job.target)) else {
            return Sight::None;
        };
        let pulled = target.pulled_as(image);
        let looked_up = tokio::time::timeout(LOOKED_UP_WITHIN, target.resolve(&pulled)).await;
        match looked_up {
            Ok(Ok(found)) => match found.digest() {
                Some(digest) => Sight::Known(image.with_digest(digest.clone())),
                None => Sight::None,
            },
            Ok(Err(error)) => {
                tracing::debug!(job = %job.id, %image, error = chain(&error), "not looked up yet");
                Sight::NotYet(image.clone())
            }
            Err(_) => {
                tracing::debug!(job = %job.id, %image, "its registry did not answer in time");
                Sight::NotYet(image.clone())
            }
        }
    }

    /// Ends a job that waits, or waited, for the age of its image where nobody looked in time which one that is, and its
    /// tag was pushed again since: what the tag points to now is younger, and the newer job waits for its age.
    pub(crate) fn not_pushed_again(&self, job: &Job) -> Step<()> {
        let is_late = Timestamp::now().duration_since(job.accepted_at) > AT_ONCE;
        let is_unknown = || job.not_before.is_some() && self.image_told(job) == Sight::None;
        if !is_late || job.image_that_waits().is_none() || !is_unknown() || self.index.has_started(job.id) {
            return Ok(());
        }
        let Some(newer) = self.index.pushed_again(job) else { return Ok(()) };
        let text = format!(
            "its tag was pushed again, before anybody had looked up its image: the job {newer} brings that"
        );
        let reason = Reason::new(reason::NEWER_WISH, text);
        Err(Telling::new(State::Superseded).reason(reason).by(Some(newer)).conclude())
    }
}

#[cfg(test)]
mod tests {
    use proto::{CauseKind, Job, Timestamp};

    use super::wished_image;
    use crate::testing::job;

    #[test]
    fn a_push_is_what_its_tag_points_to_but_where_it_had_to_come_of_age() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let mut push = job(1, &format!("acme/web:1@{digest}"));
        push.cause.kind = CauseKind::Hook;
        let wished = |job: &Job| wished_image(job).and_then(|image| image.digest().map(ToString::to_string));
        assert_eq!(wished(&push), None);
        // Also where that was long ago, as in a replay.
        push.not_before = Some(Timestamp::now() - std::time::Duration::from_secs(86_400));
        assert_eq!(wished(&push), Some(digest.clone()));
        (push.not_before, push.cause.kind) = (None, CauseKind::Api);
        assert_eq!(wished(&push), Some(digest));
    }
}
