//! What the last job of a target brought, and what that replaced: the way back where nobody noted it on the target any more.

use std::collections::HashMap;

use proto::{Event, ImageRef, Job, Operation, State, TargetName};
use queue::Position;

/// The newest of each target; one that ended before is forgotten.
#[derive(Debug, Default)]
pub(super) struct Brought(HashMap<TargetName, Change>);

#[derive(Debug)]
struct Change {
    at: Position,
    from: ImageRef,
    to: ImageRef,
}

impl Brought {
    /// Notes what `event` says of `job`: the first of its ends.
    pub(super) fn read(&mut self, job: &Job, event: &Event, at: Position) {
        let Some((from, to)) = change(job, event) else { return };
        let is_newer = self.0.get(&job.target).is_none_or(|known| known.at < at);
        if is_newer {
            self.0.insert(job.target.clone(), Change { at, from, to });
        }
    }

    /// What ran on a target before that which stands there, where a job brought that last.
    pub(super) fn before(&self, target: &TargetName, stands: &ImageRef) -> Option<&ImageRef> {
        let known = self.0.get(target)?;
        known.to.same_content(stands).then_some(&known.from)
    }
}

/// What a job replaced that ended well. One that went back came from what did not do: that leads nowhere.
fn change(job: &Job, event: &Event) -> Option<(ImageRef, ImageRef)> {
    let brings = matches!(job.operation, Operation::SetImage { .. } | Operation::Redeploy);
    if !brings || event.state() != State::Succeeded {
        return None;
    }
    let change = event.data.image.clone()?;
    let (from, to) = (change.from?, change.to?);
    let is_other = from.digest().is_some() && to.digest().is_some() && !from.same_content(&to);
    (is_other && from.repository() == to.repository()).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use proto::ImageChange;

    use super::*;
    use crate::testing::job;

    fn image(n: u8) -> ImageRef {
        format!("a:1@sha256:{}", format!("{n:02x}").repeat(32)).parse().unwrap()
    }

    #[test]
    fn the_way_back_from_what_the_last_job_brought_is_known() {
        let mut brought = Brought::default();
        let name = job(1, "a:1").target;
        let mut end = |job: &Job, state: State, (from, to): (u8, u8), at: u64| {
            let mut event = Event::of(job, state, 1, 0);
            event.data.image = Some(ImageChange { from: Some(image(from)), to: Some(image(to)) });
            brought.read(job, &event, Position(at));
            [1, 2, 3].map(|stands| brought.before(&name, &image(stands)).cloned())
        };
        assert_eq!(end(&job(1, "a:1"), State::Failed, (1, 2), 1), [None, None, None]);
        assert_eq!(end(&job(2, "a:1"), State::Succeeded, (1, 2), 5), [None, Some(image(1)), None]);
        // What was read of an older one, and what stood there already.
        assert_eq!(end(&job(3, "a:1"), State::Succeeded, (2, 3), 4), [None, Some(image(1)), None]);
        assert_eq!(end(&job(4, "a:1"), State::Succeeded, (2, 2), 6), [None, Some(image(1)), None]);
        let back = Operation::Rollback { service: None, job: None, image: None };
        let back = Job { slots: back.slots(), operation: back, ..job(5, "a:1") };
        assert_eq!(end(&back, State::Succeeded, (2, 1), 7), [None, Some(image(1)), None]);
        assert_eq!(end(&job(6, "a:1"), State::Succeeded, (2, 3), 8), [None, None, Some(image(2))]);
    }
}
