//! What the view is counted by, for those who watch the ingress.

use std::collections::BTreeMap;

use proto::{State, Timestamp};
use queue::{Entry, Position, Recorded};

use super::View;

/// Counts that only go up, and how far the history was read.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// Whether the past has been read: what ended before the start is not counted.
    counts: bool,
    ends: BTreeMap<&'static str, u64>,
    read: Read,
}

/// How far the history was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Read {
    /// The last entry.
    pub(crate) position: Option<Position>,
    /// When the last event was said.
    pub(crate) said_at: Option<Timestamp>,
}

/// The jobs in one state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) count: usize,
    /// When the oldest of them was accepted.
    pub(crate) oldest: Option<Timestamp>,
}

impl Gauge {
    pub(super) fn read(&mut self, recorded: &Recorded) {
        self.read.position = Some(recorded.position);
        if let Entry::Event(event) = &recorded.entry {
            self.read.said_at = Some(event.time);
        }
    }

    pub(super) fn ended(&mut self, state: State) {
        if self.counts {
            *self.ends.entry(state.as_str()).or_default() += 1;
        }
    }
}

impl View {
    /// The past has been read: what ends from now on is counted.
    pub(crate) fn begin_counting(&self) {
        self.jobs().gauge.counts = true;
    }

    /// How many jobs ended since the start, by how: each way is there from the beginning.
    pub(crate) fn ends(&self) -> Vec<(State, u64)> {
        let jobs = self.jobs();
        let ends = State::ALL.into_iter().filter(|state| state.is_end());
        ends.map(|state| (state, jobs.gauge.ends.get(state.as_str()).copied().unwrap_or(0))).collect()
    }

    /// How many jobs died since the start.
    pub(crate) fn deaths(&self) -> u64 {
        self.jobs().gauge.ends.get(State::Dead.as_str()).copied().unwrap_or(0)
    }

    /// How far the history was read.
    pub(crate) fn read(&self) -> Read {
        self.jobs().gauge.read
    }

    /// The jobs that have not ended, by the state they are in.
    pub(crate) fn open(&self) -> Vec<(State, Open)> {
        let states = [State::Accepted, State::Held, State::Started, State::Retrying];
        let mut open = states.map(|state| (state, Open::default()));
        for row in self.jobs().rows.values() {
            let Some((_, of)) = open.iter_mut().find(|(state, _)| *state == row.state()) else { continue };
            of.count += 1;
            of.oldest = Some(of.oldest.map_or(row.accepted_at(), |oldest| oldest.min(row.accepted_at())));
        }
        open.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use proto::{Event, JobId};

    use super::{super::samples, *};

    #[test]
    fn jobs_are_counted_by_their_state_and_by_their_first_end_once_the_past_was_read() {
        let view = View::new();
        let [one, two] = [1, 2].map(|_| samples::job(JobId::mint(Timestamp::now(), None), "web"));
        let mut position = 0;
        let mut say = |job: &proto::Job, state| {
            position += 1;
            let entry = Entry::Event(Box::new(Event::of(job, state, 1, 0)));
            view.take_in(&Recorded { position: Position(position), entry });
        };
        say(&one, State::Accepted);
        say(&one, State::Failed);
        view.begin_counting();
        say(&two, State::Accepted);
        let accepted = Open { count: 1, oldest: Some(two.accepted_at) };
        assert_eq!(view.open()[0], (State::Accepted, accepted));
        // The first end counts.
        [State::Dead, State::Succeeded, State::Dead].into_iter().for_each(|state| say(&two, state));
        say(&one, State::Dead);
        assert_eq!(view.deaths(), 1);
        let ends: u64 = view.ends().into_iter().map(|(_, count)| count).sum();
        assert_eq!(ends, 1);
        assert!(view.open().iter().all(|(_, open)| open.count == 0));
        assert_eq!(view.read().position, Some(Position(7)));
    }
}
