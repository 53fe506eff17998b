//! How the jobs of a view stand to one another.

use std::collections::{HashMap, HashSet};

use proto::{Job, JobId, Operation, Slot, State, TargetName};

use super::{View, row::Row};

impl View {
    /// The newest job for the same thing that is newer than `job` and has been applied, is at work, or is still to
    /// be carried out; and its state.
    pub(crate) fn newer_rival(&self, job: &Job) -> Option<(JobId, State)> {
        self.newest_for_the_same(job, |id, row| {
            stands(row.state()) && !(row.state() == State::Accepted && row.job(id).is_gated())
        })
    }

    /// The newest job for the same thing that is newer than `job` and waits as it does, and its state. One that no worker
    /// has looked at yet is not called held, and would give way to `job` all the same.
    pub(crate) fn newer_held(&self, job: &Job) -> Option<(JobId, State)> {
        self.newest_for_the_same(job, |id, row| {
            row.state() == State::Held || (row.state() == State::Accepted && row.job(id).is_gated())
        })
    }

    /// The newest job for the same thing that is newer than `job` and was begun, and its state. Once it was carried out, well
    /// or not, `job` ends without having run as soon as a worker looks at it again.
    pub(crate) fn overtaken_by(&self, job: &Job) -> Option<(JobId, State)> {
        let begun = |state: State| stands(state) && state != State::Accepted || state == State::RolledBack;
        self.newest_for_the_same(job, |_, row| begun(row.state()))
    }

    fn newest_for_the_same(&self, job: &Job, counts: impl Fn(JobId, &Row) -> bool) -> Option<(JobId, State)> {
        let jobs = self.jobs();
        let mut newer = jobs.rows.range(job.id.successor()..).rev();
        let found = newer.find(|(id, row)| {
            row.target() == &job.target && compete(&job.operation, row.operation()) && counts(**id, row)
        });
        found.map(|(id, row)| (*id, row.state()))
    }

    /// The targets on which a job is at work, as far as is known.
    pub(crate) fn at_work(&self) -> HashSet<TargetName> {
        let jobs = self.jobs();
        let at_work = jobs.rows.values().filter(|row| row.state() == State::Started);
        at_work.map(|row| row.target().clone()).collect()
    }

    /// The jobs that were replayed, each with the newest that stands for it.
    pub(crate) fn replayed(&self) -> HashMap<JobId, JobId> {
        let jobs = self.jobs();
        jobs.rows.iter().filter_map(|(id, row)| Some((row.replays()?, *id))).collect()
    }

    /// The cancel of `id` that has not ended yet.
    pub(crate) fn open_cancel_of(&self, id: JobId) -> Option<Job> {
        let jobs = self.jobs();
        let is_it = |row: &Row| *row.operation() == Operation::Cancel { job: id } && !row.state().is_end();
        jobs.rows.iter().find(|(_, row)| is_it(row)).map(|(id, row)| row.job(*id))
    }

    /// Whether no job as new as `id` was forgotten.
    pub(crate) fn remembers_from(&self, id: JobId) -> bool {
        self.jobs().forgotten.is_none_or(|forgotten| forgotten < id)
    }
}

/// Whether a job in this state has put its wish on the target, or is going to. One that failed did: the target took
/// it, and where it is not rolled back it stands there. A held one may never be let go, nor one that is about to be, and what ended otherwise left
/// the target to others.
fn stands(state: State) -> bool {
    match state {
        State::Accepted
        | State::Started
        | State::Progress
        | State::Retrying
        | State::Succeeded
        | State::Failed => true,
        State::Held
        | State::RolledBack
        | State::Dead
        | State::Superseded
        | State::Rejected
        | State::Cancelled => false,
    }
}

/// Whether both overwrite the same thing. An image without a service goes to every service that runs its
/// repository, so it meets the one that names its service too.
pub(super) fn compete(one: &Operation, other: &Operation) -> bool {
    let (slots, others) = (one.slots(), other.slots());
    let meet = |slot: &Slot, other: &Slot| slot.covers(other) || other.covers(slot);
    if slots.iter().any(|slot| others.iter().any(|other| meet(slot, other))) {
        return true;
    }
    let names_none = |operation: &Operation| matches!(operation, Operation::SetImage { service: None, .. });
    let repository = |operation: &Operation| operation.image().map(|image| image.repository().clone());
    (names_none(one) || names_none(other))
        && repository(one).is_some_and(|repository_of_one| Some(repository_of_one) == repository(other))
}

#[cfg(test)]
mod tests {
    use proto::Event;
    use queue::{Entry, Position, Recorded};

    use super::*;
    use crate::{mint::Mint, view::samples};

    fn set(image: &str, service: Option<&str>) -> Operation {
        Operation::SetImage { image: image.parse().unwrap(), service: service.map(str::to_owned) }
    }

    fn say(view: &View, position: u64, job: &Job, state: State) {
        let event = Event::of(job, state, 1, position);
        view.take_in(&Recorded { position: Position(position), entry: Entry::Event(Box::new(event)) });
    }

    fn jobs(count: usize) -> Vec<Job> {
        let ids = Mint::default().mint(proto::Timestamp::now(), count);
        ids.into_iter().map(|id| samples::job(id, "web")).collect()
    }

    #[test]
    fn images_meet_in_their_service_and_in_their_repository() {
        let table = [
            (set("a:1", None), set("a:2", None), true),
            (set("a:1", None), set("b:1", None), false),
            (set("a:1", Some("web")), set("b:1", Some("web")), true),
            (set("a:1", Some("web")), set("a:2", Some("api")), false),
            (set("a:1", None), set("a:2", Some("web")), true),
            (set("a:1", Some("web")), set("a:2", None), true),
            (set("a:1", None), Operation::Restart, false),
            (Operation::Stop, Operation::Start, true),
        ];
        for (one, other, expected) in table {
            assert_eq!(compete(&one, &other), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn only_a_newer_job_for_the_same_thing_that_stands_is_a_rival() {
        let jobs = jobs(3);
        for (state, is_rival) in [
            (State::Accepted, true),
            (State::Started, true),
            (State::Retrying, true),
            (State::Succeeded, true),
            (State::Held, false),
            (State::Failed, true),
            (State::RolledBack, false),
            (State::Dead, false),
            (State::Superseded, false),
        ] {
            let view = View::new();
            for (job, position) in jobs.iter().zip(1..) {
                say(&view, position, job, State::Started);
            }
            say(&view, 7, &jobs[0], State::Succeeded);
            say(&view, 8, &jobs[1], State::Dead);
            assert_eq!(view.newer_rival(&jobs[2]), None);
            let other = View::new();
            say(&other, 1, &jobs[1], State::Dead);
            other.enter(&jobs[2]);
            if state != State::Accepted {
                say(&other, 2, &jobs[2], state);
            }
            let rival = other.newer_rival(&jobs[1]);
            assert_eq!(rival, is_rival.then_some((jobs[2].id, state)), "{state}");
            let elsewhere = Job { target: "other".parse().unwrap(), ..jobs[1].clone() };
            assert_eq!(other.newer_rival(&elsewhere), None);
        }
    }

    #[test]
    fn replays_and_open_cancels_are_found() {
        let (view, mut jobs) = (View::new(), jobs(3));
        jobs[1].replays = Some(jobs[0].id);
        jobs[2].operation = Operation::Cancel { job: jobs[1].id };
        jobs[2].slots = Vec::new();
        jobs.iter().for_each(|job| view.enter(job));
        assert_eq!(view.replayed(), HashMap::from([(jobs[0].id, jobs[1].id)]));
        assert_eq!(view.open_cancel_of(jobs[1].id), Some(jobs[2].clone()));
        assert_eq!(view.open_cancel_of(jobs[0].id), None);
        say(&view, 1, &jobs[2], State::Rejected);
        assert_eq!(view.open_cancel_of(jobs[1].id), None);
    }

    #[test]
    fn what_was_forgotten_is_known_to_be() {
        let (view, jobs) = (View::keeping(2), jobs(3));
        jobs[..2].iter().for_each(|job| view.enter(job));
        assert!(view.remembers_from(jobs[0].id));
        view.enter(&jobs[2]);
        assert!(!view.remembers_from(jobs[0].id) && view.remembers_from(jobs[1].id));
    }
}
