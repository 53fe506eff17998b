//! Pushes without a name, known again by what they tell.

use std::hash::BuildHasher;

use proto::{Cause, CauseKind, ImageRef, Job, JobId, Operation, State, TargetName, Timestamp};

use super::{Jobs, View, kin::compete, row::Row};

/// What a push without a name tells: who pushes what to which target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Content<'a> {
    kind: u8,
    source: Option<&'a str>,
    by: Option<&'a str>,
    target: &'a TargetName,
    service: Option<&'a str>,
    image: &'a ImageRef,
}

impl<'a> Content<'a> {
    /// None for what has a name, and for what is no push.
    pub(crate) fn of(
        cause: &'a Cause,
        target: &'a TargetName,
        operation: &'a Operation,
    ) -> Option<Content<'a>> {
        let Operation::SetImage { image, service } = operation else { return None };
        let is_push = matches!(cause.kind, CauseKind::Hook | CauseKind::Amqp) && cause.delivery.is_none();
        is_push.then_some(Content {
            kind: cause.kind as u8,
            source: cause.source.as_deref(),
            by: cause.by.as_deref(),
            target,
            service: service.as_deref(),
            image,
        })
    }

    /// What a look at a registry tells of the same image, whichever worker looked.
    pub(crate) fn seen(target: &'a TargetName, operation: &'a Operation) -> Option<Content<'a>> {
        let Operation::SetImage { image, service } = operation else { return None };
        let (kind, service) = (CauseKind::Poll as u8, service.as_deref());
        Some(Content { kind, source: None, by: None, target, service, image })
    }

    /// Whether the image is certain; else it is what the tag points to when it is carried out.
    pub(crate) fn has_digest(&self) -> bool {
        self.image.digest().is_some()
    }

    fn of_row(row: &'a Row) -> Option<Content<'a>> {
        match row.cause().kind {
            CauseKind::Poll => Content::seen(row.target(), row.operation()),
            CauseKind::Hook
            | CauseKind::Amqp
            | CauseKind::Api
            | CauseKind::Cli
            | CauseKind::Replay
            | CauseKind::Approve
            | CauseKind::Release => Content::of(row.cause(), row.target(), row.operation()),
        }
    }
}

impl View {
    /// The job of the same push, accepted at `since` at the earliest, that is certain to deploy what another sending
    /// of it tells of: the newest for its target, not ended but well, and without a digest neither begun nor looked up.
    pub(crate) fn same_push(&self, content: &Content<'_>, since: Timestamp) -> Option<Job> {
        let jobs = self.jobs();
        let id = *jobs.by_content.get(&jobs.hasher.hash_one(content))?;
        let row = jobs.rows.get(&id)?;
        let is_it = Content::of_row(row).as_ref() == Some(content) && row.accepted_at() >= since;
        let will_do = match content.has_digest() {
            true => !row.state().is_end() || row.state() == State::Succeeded,
            // Whose image was looked up is certain to deploy that one alone.
            false => !row.has_begun() && row.awaited().is_none(),
        };
        let mut newer = jobs.rows.range(id.successor()..).map(|(_, row)| row);
        let mut is_newest = || {
            !newer.any(|newer| newer.target() == row.target() && compete(newer.operation(), row.operation()))
        };
        (is_it && will_do && is_newest()).then(|| row.job(id))
    }
}

impl Jobs {
    pub(super) fn note_content(&mut self, id: JobId) {
        let Some(content) = self.rows.get(&id).and_then(Content::of_row) else { return };
        let newest = self.by_content.entry(self.hasher.hash_one(content)).or_insert(id);
        *newest = (*newest).max(id);
    }

    pub(super) fn forget_content(&mut self, id: JobId, row: &Row) {
        let Some(content) = Content::of_row(row) else { return };
        let hash = self.hasher.hash_one(content);
        if self.by_content.get(&hash) == Some(&id) {
            self.by_content.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proto::Event;
    use queue::{Entry, Position, Recorded};

    use super::*;
    use crate::view::samples;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn push(image: &str, last: Option<JobId>) -> Job {
        let mut job = samples::job(JobId::mint(Timestamp::now(), last), "web");
        job.operation = Operation::SetImage { image: image.parse().unwrap(), service: None };
        job.slots = job.operation.slots();
        job.cause = Cause { kind: CauseKind::Hook, source: Some("hub".to_owned()), by: None, delivery: None };
        job.accepted_at = Timestamp::now();
        job
    }

    fn say(view: &View, job: &Job, states: &[State]) {
        for (state, n) in states.iter().zip(1..) {
            let event = Event::of(job, *state, 1, n);
            view.take_in(&Recorded { position: Position(n), entry: Entry::Event(Box::new(event)) });
        }
    }

    fn finds(view: &View, job: &Job) -> bool {
        let content = Content::of(&job.cause, &job.target, &job.operation).unwrap();
        let found = view.same_push(&content, job.accepted_at - SignedDuration::from_secs(30));
        assert!(found.as_ref().is_none_or(|found| found == job), "{found:?}");
        found.is_some()
    }

    #[test]
    fn a_job_stands_for_a_repetition_while_it_is_certain_to_deploy_it() {
        let by_digest = format!("acme/web:1@{DIGEST}");
        for (states, with_digest, by_tag) in [
            (&[][..], true, true),
            (&[State::Held], true, true),
            (&[State::Retrying], true, true),
            (&[State::Started], true, false),
            (&[State::Started, State::Retrying], true, false),
            (&[State::Started, State::Held], true, false),
            (&[State::Started, State::Succeeded], true, false),
            (&[State::Started, State::Failed], false, false),
            (&[State::Started, State::RolledBack], false, false),
            (&[State::Dead], false, false),
            (&[State::Cancelled], false, false),
            (&[State::Superseded], false, false),
        ] {
            for (image, expected) in [(by_digest.as_str(), with_digest), ("acme/web:1", by_tag)] {
                let (view, job) = (View::new(), push(image, None));
                view.enter(&job);
                say(&view, &job, states);
                assert_eq!(finds(&view, &job), expected, "{image} {states:?}");
            }
        }
    }

    #[test]
    fn another_wish_since_another_sender_or_a_name_is_no_repetition() {
        let (view, job) = (View::new(), push("acme/web:1", None));
        view.enter(&job);
        let content = |job: &Job| {
            let content = Content::of(&job.cause, &job.target, &job.operation);
            content.and_then(|content| view.same_push(&content, job.accepted_at)).is_some()
        };
        assert!(content(&job));
        let mut other = job.clone();
        other.cause.source = Some("other".to_owned());
        assert!(!content(&other));
        let elsewhere = Job { target: "api".parse().unwrap(), ..job.clone() };
        assert!(!content(&elsewhere));
        let later = Job { accepted_at: job.accepted_at + SignedDuration::from_secs(1), ..job.clone() };
        assert!(!content(&later), "the window is over");
        let mut named = job.clone();
        named.cause.delivery = Some("a".to_owned());
        assert!(!content(&named));
        // Set back to what it was: the push in between counts.
        view.enter(&push("acme/web:2", Some(job.id)));
        assert!(!content(&job));
    }

    #[test]
    fn what_is_forgotten_repeats_nothing() {
        let (view, job) = (View::keeping(1), push("acme/web:1", None));
        view.enter(&job);
        view.enter(&push("acme/other:1", Some(job.id)));
        assert!(!finds(&view, &job));
        assert_eq!(view.jobs().by_content.len(), 1);
    }
}
