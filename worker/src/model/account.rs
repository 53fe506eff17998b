//! What must be true of every sequence, whatever was in it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    time::Duration,
};

use proto::{Event, Job, JobId, Operation, Slot, State, TargetName, Timestamp, reason};
use queue::{DeadLetter, Entry, Queue, Recorded, Since};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    pier::{Fate, standing},
    tally::{Account, Tally},
    world::{Accepted, KINDS, is_a_wish, target},
};
use crate::index::Index;

/// Nothing waits any more when nothing comes for so long: the longest pause is cut to 300 ms.
const NOTHING_COMES_FOR: Duration = Duration::from_millis(500);

/// Pause before it is looked again whether the newest wishes stand.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What an engine holds when all is done.
pub(super) struct Last {
    history: Vec<Recorded>,
    letters: Vec<DeadLetter>,
    waiting: Vec<JobId>,
}

/// Waits until each of the jobs has an end.
pub(super) async fn all_end(engine: &dyn Queue, jobs: &[JobId], within: Duration) -> Result<(), String> {
    let until = Instant::now() + within;
    let mut open: HashSet<JobId> = jobs.iter().copied().collect();
    let mut lives: Vec<Event> = Vec::new();
    let mut history = engine.history(Since::Start).await.unwrap();
    while !open.is_empty() {
        let Ok(recorded) = timeout_at(until, history.next()).await else {
            let of_open = lives.iter().filter(|event| open.contains(&event.job_id()));
            let of_open: Vec<String> = of_open.map(line).collect();
            return Err(format!("never ended: {open:?}\n{}", of_open.join("\n")));
        };
        if let Entry::Event(event) = recorded.unwrap().entry {
            if event.state().is_end() {
                open.remove(&event.job_id());
            }
            lives.push(*event);
        }
    }
    Ok(())
}

impl Last {
    /// Once all workers are gone.
    pub(super) async fn of(engine: &dyn Queue) -> Last {
        let history = all_said(engine).await;
        let letters = engine.dead_letters().await.unwrap();
        let mut deliveries = engine.take(target(0).pool(), 1000).await.unwrap();
        let mut waiting = Vec::new();
        while let Ok(delivery) = timeout(NOTHING_COMES_FOR, deliveries.next()).await {
            let delivery = delivery.unwrap();
            waiting.push(Job::decode(delivery.body()).unwrap().id);
            delivery.settle(queue::Settlement::Ack).await.unwrap();
        }
        Last { history, letters, waiting }
    }
}

/// The whole history.
async fn all_said(engine: &dyn Queue) -> Vec<Recorded> {
    let marker = uuid::Uuid::now_v7();
    engine.mark(marker).await.unwrap();
    let mut reader = engine.history(Since::Start).await.unwrap();
    let mut history = Vec::new();
    loop {
        let recorded = reader.next().await.unwrap();
        if recorded.entry == Entry::Marker(marker) {
            return history;
        }
        history.push(recorded);
    }
}

/// Waits until the newest wishes stand, while workers still look after what may have been written late. Where they do not
/// come to stand, the account tells.
pub(super) async fn newest_stand(
    engine: &dyn Queue,
    (accepted, rehearsals): (&[Accepted], &Path),
    within: Duration,
) {
    let until = Instant::now() + within;
    let (all, written) = (accepted.iter().map(|accepted| accepted.job.id), HashSet::new());
    let waiting: Vec<JobId> = all.collect();
    while Instant::now() < until {
        let history = all_said(engine).await;
        let drawn = Drawn::of((accepted, &written), (&history, &waiting), rehearsals, true);
        if drawn.the_newest_wish_stands().is_ok() {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// What is checked, with all that is known.
struct Drawn<'a> {
    accepted: &'a [Accepted],
    /// Jobs that some worker wrote on a target.
    written: &'a HashSet<JobId>,
    /// Messages that nobody settled yet.
    waiting: &'a [JobId],
    frozen: bool,
    events: Vec<&'a Event>,
    first_ends: HashMap<JobId, &'a Event>,
    rehearsals: &'a Path,
}

impl Account {
    pub(super) fn draw(
        (accepted, written): (&[Accepted], &HashSet<JobId>),
        last: &Last,
        rehearsals: &Path,
        tally: Tally,
    ) -> Result<Account, String> {
        let seen = (&last.history[..], &last.waiting[..]);
        let drawn = Drawn::of((accepted, written), seen, rehearsals, tally.freezes > 0);
        drawn.readers_agree(&last.history)?;
        drawn.nothing_is_lost(last)?;
        drawn.every_end_is_right()?;
        drawn.no_older_success_after_a_newer()?;
        drawn.the_newest_wish_stands()?;
        drawn.nothing_was_done_twice()?;
        drawn.nothing_was_done_that_was_called_off()?;
        let mut ends = BTreeMap::new();
        drawn.first_ends.values().for_each(|end| *ends.entry(end.state()).or_default() += 1);
        let all_ends = drawn.events.iter().filter(|event| event.state().is_end()).count();
        // Also of jobs that had ended before, and were only looked after.
        let put_back = drawn.events.iter().filter(|event| code(event) == reason::PUT_BACK).count();
        Ok(Account { ends, put_back, void_ends: all_ends - drawn.first_ends.len(), tally })
    }
}

impl<'a> Drawn<'a> {
    fn of(
        (accepted, written): (&'a [Accepted], &'a HashSet<JobId>),
        (history, waiting): (&'a [Recorded], &'a [JobId]),
        rehearsals: &'a Path,
        frozen: bool,
    ) -> Drawn<'a> {
        let events: Vec<&Event> = history.iter().filter_map(event_of).collect();
        let mut first_ends = HashMap::new();
        for event in events.iter().filter(|event| event.state().is_end()) {
            first_ends.entry(event.job_id()).or_insert(*event);
        }
        Drawn { accepted, written, waiting, frozen, events, first_ends, rehearsals }
    }

    /// A worker's index, fed with everything twice, names the same ends as a plain reader.
    fn readers_agree(&self, history: &[Recorded]) -> Result<(), String> {
        let index = Index::new(Timestamp::UNIX_EPOCH);
        history.iter().chain(history).for_each(|recorded| index.read(recorded));
        for Accepted { job, .. } in self.accepted {
            let (read, indexed) = (self.first_ends.get(&job.id), index.end_of(job.id));
            let read = read.map(|end| end.state());
            self.check(job.id, read.is_some() && read == indexed, || {
                format!("two readers: {read:?} and {indexed:?}")
            })?;
        }
        Ok(())
    }

    /// Whoever is dead has a letter and nobody else; what still waits is a copy of one that ended.
    fn nothing_is_lost(&self, last: &Last) -> Result<(), String> {
        let buried: HashSet<JobId> = last.letters.iter().map(|letter| letter.job().unwrap().id).collect();
        for Accepted { job, .. } in self.accepted {
            let dead = self.first_ends[&job.id].state() == State::Dead;
            let letter = buried.contains(&job.id);
            self.check(job.id, dead == letter, || format!("dead: {dead}, has a letter: {letter}"))?;
        }
        let stray = last.waiting.iter().find(|job| !self.first_ends.contains_key(job));
        stray.map_or(Ok(()), |job| Err(format!("{job} waits and never ended")))
    }

    /// The end of each job is what was drawn for it, or that a newer one took its place.
    fn every_end_is_right(&self) -> Result<(), String> {
        for Accepted { job, fate } in self.accepted {
            let end = self.first_ends[&job.id];
            let right = match end.state() {
                state if !is_a_wish(&job) => state == self.answer_to(job),
                State::Succeeded => matches!(fate, Fate::Succeeds | Fate::Stumbles(_) | Fate::Panics(_)),
                State::Failed => *fate == Fate::Fails,
                State::RolledBack => *fate == Fate::RollsBack,
                State::Superseded => self.is_newer_in_its_slots(end, job.id),
                State::Dead => code(end) == reason::POISON && self.crashes_alone(job.id, end) >= 2,
                State::Accepted
                | State::Held
                | State::Started
                | State::Progress
                | State::Retrying
                | State::Rejected => false,
                State::Cancelled => self.is_called_off(job.id, end),
            };
            self.check(job.id, right, || format!("{fate:?} ended as {}", line(end)))?;
        }
        Ok(())
    }

    /// What a cancel comes to, after what the job came to that it calls off.
    fn answer_to(&self, cancel: &Job) -> State {
        let Operation::Cancel { job: other } = cancel.operation else { return State::Failed };
        if self.is_cancelled(other) { State::Succeeded } else { State::Rejected }
    }

    fn is_cancelled(&self, id: JobId) -> bool {
        self.first_ends.get(&id).is_some_and(|end| end.state() == State::Cancelled)
    }

    /// Whether the end of a job names a cancel of it.
    fn is_called_off(&self, id: JobId, end: &Event) -> bool {
        self.accepted.iter().any(|accepted| {
            Some(accepted.job.id) == end.data.by && accepted.job.operation == Operation::Cancel { job: id }
        })
    }

    /// Whoever was called off was not written; where a worker was asleep right before its write, that is undone.
    fn nothing_was_done_that_was_called_off(&self) -> Result<(), String> {
        for Accepted { job, .. } in self.accepted {
            let written = self.written.contains(&job.id) && !self.frozen;
            self.check(job.id, !(self.is_cancelled(job.id) && written), || "written, and cancelled".into())?;
        }
        Ok(())
    }

    /// Whether it does not count what stands for a slot: a job that was called off was written by a worker that was
    /// asleep, and another is still to look after that.
    fn is_to_be_looked_after(&self, mark: &str) -> bool {
        let Ok(id) = mark.parse::<JobId>() else { return false };
        self.is_cancelled(id) && self.frozen && self.waiting.contains(&id)
    }

    /// Whether something else may stand where the newest wish did not hold: a late write over it is undone by what succeeded
    /// last, and stays where nothing ever did.
    fn may_stand_instead(&self, newest: &Job, slot: &Slot, end: State, mark: &serde_json::Value) -> bool {
        let is_blind = KINDS.iter().any(|kind| kind.blind && kind.name == newest.target.name());
        if !(self.frozen && is_blind && matches!(end, State::Failed | State::RolledBack)) {
            return false;
        }
        let same_slot = self
            .accepted
            .iter()
            .map(|accepted| &accepted.job)
            .filter(|job| job.target == newest.target && job.slots.contains(slot));
        let succeeded = same_slot
            .filter(|job| self.first_ends.get(&job.id).is_some_and(|end| end.state() == State::Succeeded));
        succeeded.map(|job| job.id).max().is_none_or(|best| *mark == best.to_string())
    }

    /// Whether the job that an end names took the place of this one.
    fn is_newer_in_its_slots(&self, end: &Event, id: JobId) -> bool {
        let Some(by) = end.data.by.filter(|by| *by > id) else { return false };
        let Some(newer) = self.accepted.iter().find(|accepted| accepted.job.id == by) else { return false };
        let Some(older) = self.accepted.iter().find(|accepted| accepted.job.id == id) else { return false };
        newer.job.target == older.job.target && newer.job.slots == older.job.slots
    }

    /// How many attempts alone nobody had answered for when the job was given up.
    fn crashes_alone(&self, id: JobId, end: &Event) -> usize {
        let so_far = || self.events.iter().filter(|event| event.job_id() == id && event.time <= end.time);
        let answered: HashSet<_> = so_far().filter_map(|event| event.data.started).collect();
        let alone = so_far().filter(|event| event.state() == State::Started && event.data.alone);
        alone.filter(|started| !answered.contains(&started.id)).count()
    }

    fn no_older_success_after_a_newer(&self) -> Result<(), String> {
        let mut newest: HashMap<(&TargetName, &Slot), JobId> = HashMap::new();
        let mut heard = HashSet::new();
        for event in self.events.iter().filter(|event| event.state() == State::Succeeded) {
            // Said again word for word, it says nothing new.
            if !heard.insert(event.id) {
                continue;
            }
            let id = event.job_id();
            let Some(Accepted { job, .. }) = self.accepted.iter().find(|accepted| accepted.job.id == id)
            else {
                return Err(format!("{id} succeeded and was never accepted"));
            };
            for slot in &job.slots {
                let before = newest.insert((&job.target, slot), id);
                self.check(id, before.is_none_or(|before| before <= id), || {
                    format!("succeeded after the newer {before:?}")
                })?;
            }
        }
        Ok(())
    }

    /// The newest wish of each slot ended as drawn, and its mark is the last.
    fn the_newest_wish_stands(&self) -> Result<(), String> {
        let mut newest: HashMap<(&TargetName, &Slot), &Accepted> = HashMap::new();
        for accepted in self.accepted.iter().filter(|accepted| !self.is_cancelled(accepted.job.id)) {
            for slot in &accepted.job.slots {
                let found = newest.entry((&accepted.job.target, slot)).or_insert(accepted);
                if found.job.id < accepted.job.id {
                    *found = accepted;
                }
            }
        }
        for ((target, slot), Accepted { job, .. }) in newest {
            let end = self.first_ends[&job.id];
            // Whoever gave way to a newer wish does not come back when that one is called off.
            let gave_way =
                end.state() == State::Superseded && end.data.by.is_some_and(|by| self.is_cancelled(by));
            if end.state() == State::Dead || gave_way {
                continue;
            }
            self.check(job.id, end.state() != State::Superseded, || "the newest was superseded".into())?;
            let standing = standing(self.rehearsals, target);
            let mark = &standing["jobs"][slot.as_str()];
            if mark.as_str().is_some_and(|mark| self.is_to_be_looked_after(mark)) {
                continue;
            }
            if self.may_stand_instead(job, slot, end.state(), mark) {
                continue;
            }
            self.check(job.id, *mark == job.id.to_string(), || format!("{standing} stands there"))?;
            let runs = match job.operation {
                Operation::Start | Operation::Restart => standing["running"] == true,
                Operation::Stop => standing["running"] == false,
                Operation::SetImage { .. }
                | Operation::DeployStack(_)
                | Operation::RemoveStack { .. }
                | Operation::Redeploy
                | Operation::Rollback { .. }
                | Operation::DeployGit(_)
                | Operation::Migrate { .. }
                | Operation::PruneImages { .. }
                | Operation::Hold { .. }
                | Operation::Release { .. }
                | Operation::Cancel { .. } => true,
            };
            self.check(job.id, runs, || format!("{standing} stands there"))?;
        }
        Ok(())
    }

    /// However often a job was taken up, it restarted its target at most once; where a late write is undone, the
    /// former one is done again.
    fn nothing_was_done_twice(&self) -> Result<(), String> {
        for (number, kind) in KINDS.iter().enumerate().filter(|(_, kind)| !kind.blind) {
            let of_target = self.accepted.iter().filter(|accepted| accepted.job.target == target(number));
            let restarts = of_target.filter(|accepted| accepted.job.operation == Operation::Restart).count();
            let standing = standing(self.rehearsals, &target(number));
            let done = standing["restarts"].as_u64().unwrap_or(0);
            if usize::try_from(done).unwrap() > restarts {
                return Err(format!("{} was restarted {done} times by {restarts} jobs", kind.name));
            }
        }
        Ok(())
    }

    fn check(&self, job: JobId, holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
        if holds {
            return Ok(());
        }
        let of_target = self.accepted.iter().find(|accepted| accepted.job.id == job).map(|a| &a.job.target);
        let told = self.events.iter().filter(|event| Some(&event.subject) == of_target);
        let told: Vec<String> = told.map(|event| line(event)).collect();
        Err(format!("{job}: {}\n{}", what(), told.join("\n")))
    }
}

fn event_of(recorded: &Recorded) -> Option<&Event> {
    match &recorded.entry {
        Entry::Event(event) => Some(event),
        Entry::Catalogue(_) | Entry::Marker(_) | Entry::Unreadable(_) => None,
    }
}

fn code(event: &Event) -> &str {
    event.data.reason.as_ref().map_or("", |reason| &reason.code)
}

/// An event in one line.
fn line(event: &Event) -> String {
    let why = event.data.reason.as_ref().map_or("", |reason| &reason.text);
    let alone = if event.data.alone { " alone" } else { "" };
    let operation = event.job().map_or("", |job| job.operation.type_name());
    let (time, target, id, state) = (event.time, &event.subject, event.job_id(), event.state());
    format!("{time} {target} {id} {operation} {state}{alone} {} {why}", event.data.attempt)
}
