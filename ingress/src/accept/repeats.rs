//! Pushes that repeat one another, of senders that give them no names.
//!
//! A repetition is answered with the job that is there only where that job is certain to deploy what the repetition
//! tells of. With a digest it is, while nothing else was wished of the target since. Without one it is while no worker
//! has begun: the tag is looked up when the job is carried out, so whatever was pushed up to now is in it.

use std::time::Duration;

use proto::{CauseKind, Job, Timestamp};

use super::{Intake, Request};
use crate::{gates, route::Wish, view::Content};

/// How long the history may take to show what workers have begun.
const BEGUN_WITHIN: Duration = Duration::from_millis(500);

/// Who pushes, and for how long the same push counts as a repetition.
#[derive(Clone, Copy)]
pub(super) struct Repeats<'a> {
    pub(super) within: Duration,
    pub(super) request: &'a Request,
}

impl<'a> Repeats<'a> {
    /// What is compared; none where each is wanted for itself: what has a name, what people and pipelines ask for, and
    /// everything where nothing counts as a repetition.
    pub(super) fn content_of(self, wish: &'a Wish) -> Option<Content<'a>> {
        let is_asked = self.request.whole || wish.now || wish.not_before.is_some();
        if self.within.is_zero() || wish.delivery.is_some() || is_asked {
            return None;
        }
        Content::of(&self.request.cause, &wish.target.name, &wish.operation)
    }

    /// The same as a worker tells of it that has looked at the registry; none where what a hook pushed is not certain.
    fn seen_of(self, wish: &'a Wish) -> Option<Content<'a>> {
        let is_hook = self.request.cause.kind == CauseKind::Hook && !self.within.is_zero();
        let content = Content::seen(&wish.target.name, &wish.operation)?;
        (is_hook && content.has_digest()).then_some(content)
    }
}

impl Intake {
    /// Fills in the jobs that wishes without names repeat, and those that a look at the registry made of the same image
    /// before its hook came.
    pub(super) async fn find_repeats(
        &self,
        wishes: &[Wish],
        repeats: Repeats<'_>,
        earlier: &mut [Option<Job>],
    ) {
        let since = self.mint.now().checked_sub(repeats.within).unwrap_or(Timestamp::MIN);
        let open = wishes.iter().zip(earlier).filter(|(_, earlier)| earlier.is_none());
        for (wish, earlier) in open {
            let same = |content: &Content<'_>| {
                self.view
                    .same_push(content, since)
                    .filter(|job| job.gates == gates::of(wish, job.accepted_at))
            };
            *earlier = repeats.seen_of(wish).and_then(|seen| same(&seen));
            let Some(content) = repeats.content_of(wish).filter(|_| earlier.is_none()) else { continue };
            let Some(found) = same(&content) else { continue };
            *earlier = match content.has_digest() {
                true => Some(found),
                // What was pushed since would not be as old as the target asks.
                false if wish.target.gates.min_age_s.is_some() => None,
                // A worker may have begun, and that not be seen here yet; without the broker nobody can say.
                false if !self.queue.is_available() => None,
                false => match self.chronicle.catch_up(BEGUN_WITHIN).await {
                    Ok(_) => same(&content),
                    Err(_) => None,
                },
            };
        }
    }
}
