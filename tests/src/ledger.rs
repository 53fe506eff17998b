//! The account of a run: what was accepted, against what the history says became of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use anyhow::{Context, Result};
use proto::{Event, JobId, Slot, State, TargetName};
use serde_json::Value;

/// Jobs that a caller was told are accepted.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    accepted: BTreeMap<JobId, TargetName>,
}

/// So many jobs may have their end said twice, in a small run one or one in ten, in a large one [`SAID_TWICE_OF`]: a worker that
/// dies between saying it and settling leaves the job to be ended once more.
const SAID_TWICE: usize = 20;

/// One in so many, see [`SAID_TWICE`].
const SAID_TWICE_OF: usize = 100;

/// What became of them. Its [`Display`](fmt::Display) is one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// How many were accepted.
    pub accepted: usize,
    /// How many of them have an end.
    pub ended: usize,
    /// Of how many jobs, accepted or unanswered, each end is the first.
    pub ends: BTreeMap<State, usize>,
    /// Accepted, and the history knows nothing of them.
    pub lost: Vec<JobId>,
    /// The history says more than one end of them. The first is the end: no fault, as long as it is rare.
    pub duplicated: Vec<JobId>,
    /// Older over newer: `succeeded` after a newer job of the same target and slot had `succeeded`, or `superseded`
    /// by none that is newer.
    pub out_of_order: Vec<JobId>,
    /// Two readers of the history name different first ends, or only one of them an end. Two of one stream cannot but
    /// agree; see [`Ledger::account_as_shown`].
    pub disagreed: Vec<JobId>,
    /// The history knows them, accepted or unanswered, and says no end.
    pub never_ended: Vec<JobId>,
    /// `succeeded`, and neither `accepted` nor `started` said before what they overwrite.
    pub unexplained: Vec<JobId>,
    /// In the history, though no caller was told: the answer was lost on its way. No fault.
    pub unanswered: usize,
}

impl Ledger {
    /// Notes a job whose caller was told that it is accepted.
    pub fn accept(&mut self, target: TargetName, id: JobId) {
        self.accepted.insert(id, target);
    }

    /// Notes every job of an answer of `/hooks/…` or `/v1/jobs`, and gives their ids.
    pub fn accept_answer(&mut self, answer: &Value) -> Result<Vec<JobId>> {
        let jobs = answer["jobs"].as_array().with_context(|| format!("find the jobs in {answer}"))?;
        let mut ids = Vec::with_capacity(jobs.len());
        for job in jobs {
            let text = |name: &str| job[name].as_str().with_context(|| format!("find `{name}` in {job}"));
            let id = text("id")?.parse().with_context(|| format!("read the id in {job}"))?;
            self.accept(text("target")?.parse().with_context(|| format!("read the target in {job}"))?, id);
            ids.push(id);
        }
        Ok(ids)
    }

    /// The ids, oldest first.
    pub fn ids(&self) -> impl Iterator<Item = JobId> {
        self.accepted.keys().copied()
    }

    /// The newest job accepted for each target.
    pub fn newest(&self) -> BTreeMap<TargetName, JobId> {
        self.accepted.iter().map(|(id, target)| (target.clone(), *id)).collect()
    }

    /// Draws the account from the whole history, read by two readers that know nothing of each other.
    pub fn account(&self, history: &[Event], read_again: &[Event]) -> Account {
        let (lives, second) = (Lives::of(history), Lives::of(read_again));
        let known = |id: &&JobId| lives.ends.contains_key(id);
        let all = || lives.ends.iter();
        let disagreed = all().map(|(id, ends)| (*id, ends.first()));
        let only_second = second.ends.keys().filter(|id| !lives.ends.contains_key(id));
        let mut account = Account {
            accepted: self.accepted.len(),
            ended: self.accepted.keys().filter(|id| lives.first_end(id).is_some()).count(),
            lost: self.accepted.keys().filter(|id| !known(id)).copied().collect(),
            duplicated: all().filter(|(_, ends)| ends.len() > 1).map(|(id, _)| *id).collect(),
            never_ended: all().filter(|(_, ends)| ends.is_empty()).map(|(id, _)| *id).collect(),
            disagreed: disagreed
                .filter(|(id, end)| second.first_end(id) != end.copied())
                .map(|(id, _)| id)
                .chain(only_second.copied())
                .collect(),
            unanswered: lives.ends.keys().filter(|id| !self.accepted.contains_key(id)).count(),
            out_of_order: lives.out_of_order,
            unexplained: lives.unexplained,
            ends: BTreeMap::new(),
        };
        for end in lives.ends.values().filter_map(|ends| ends.first()) {
            *account.ends.entry(end.state).or_default() += 1;
        }
        account
    }

    /// Draws the account from the whole history, and what an ingress shows of the newest jobs: `kept` of them at most.
    /// That reads with code of its own, so what it tells differently is no matter of course.
    pub fn account_as_shown(
        &self,
        history: &[Event],
        (shown, kept): (&HashMap<JobId, State>, usize),
    ) -> Account {
        let lives = Lives::of(history);
        let differs = |id: &JobId| {
            let end = lives.first_end(id).map(|end| end.state);
            shown.get(id).is_none_or(|state| Some(*state) != end)
        };
        let known = lives.ends.keys().rev().take(kept);
        let only_shown = shown.keys().filter(|id| !lives.ends.contains_key(id));
        let disagreed = known.filter(|id| differs(id)).chain(only_shown).copied().collect();
        Account { disagreed, ..self.account(history, history) }
    }
}

impl Account {
    /// Whether nothing is lost, older over newer, told in two ways, or without an end, and an end is seldom said twice.
    pub fn is_clean(&self) -> bool {
        [&self.lost, &self.out_of_order, &self.disagreed, &self.never_ended, &self.unexplained]
            .iter()
            .all(|faults| faults.is_empty())
            && self.ended == self.accepted
            && self.duplicated.len() <= self.said_twice_at_most()
    }

    fn said_twice_at_most(&self) -> usize {
        (self.accepted / 10).clamp(1, SAID_TWICE).max(self.accepted / SAID_TWICE_OF)
    }

    /// Prints the account, and panics with the faulty jobs unless it is clean.
    #[track_caller]
    pub fn assert_clean(&self) {
        println!("{self}");
        assert!(self.is_clean(), "{self}\n{self:#?}");
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends: Vec<_> = self.ends.iter().map(|(state, count)| format!("{count} {state}")).collect();
        write!(
            f,
            "accepted {} / ended {} / lost {} / duplicated {} / out-of-order {} / told differently {} / \
             never ended {} / unexplained {} / unanswered {} ({})",
            self.accepted,
            self.ended,
            self.lost.len(),
            self.duplicated.len(),
            self.out_of_order.len(),
            self.disagreed.len(),
            self.never_ended.len(),
            self.unexplained.len(),
            self.unanswered,
            ends.join(", ")
        )
    }
}

/// An end as the history says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    state: State,
    attempt: u32,
    by: Option<JobId>,
}

/// What one reader learnt, in the order of the history.
#[derive(Default)]
struct Lives {
    /// Every job it heard of, with all its ends.
    ends: BTreeMap<JobId, Vec<End>>,
    out_of_order: Vec<JobId>,
    unexplained: Vec<JobId>,
    slots: HashMap<JobId, Vec<Slot>>,
    newest_succeeded: HashMap<(TargetName, Slot), JobId>,
}

impl Lives {
    fn of(history: &[Event]) -> Lives {
        let mut lives = Lives::default();
        let mut seen = HashSet::new();
        for event in history {
            let ends = lives.ends.entry(event.job_id()).or_default();
            if event.state() == State::Superseded && event.data.by.is_none_or(|by| by <= event.job_id()) {
                lives.out_of_order.push(event.job_id());
            }
            if event.state().is_end() {
                let data = &event.data;
                ends.push(End { state: data.state, attempt: data.attempt, by: data.by });
            }
            if let Some(job) = event.job() {
                lives.slots.insert(job.id, job.slots.clone());
            }
            // Repeated word for word, it says nothing new, whatever happened in between.
            if seen.insert(event.id) && event.state() == State::Succeeded {
                lives.succeeded(event);
            }
        }
        lives
    }

    /// Void or not: whoever says it again in other words carried it out again.
    fn succeeded(&mut self, event: &Event) {
        let id = event.job_id();
        let Some(slots) = self.slots.get(&id) else {
            self.unexplained.push(id);
            return;
        };
        let mut is_older = false;
        for slot in slots {
            let newest = self.newest_succeeded.entry((event.subject.clone(), slot.clone())).or_insert(id);
            is_older |= *newest > id;
            *newest = id.max(*newest);
        }
        if is_older {
            self.out_of_order.push(id);
        }
    }

    fn first_end(&self, id: &JobId) -> Option<End> {
        self.ends.get(id)?.first().copied()
    }
}

#[cfg(test)]
mod tests;
