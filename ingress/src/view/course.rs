//! How far a job came, told from its events in the order of the history.

use proto::{Event, EventId, State};

/// The state a job reached last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    state: State,
    /// The `started` said last.
    started: Option<EventId>,
}

impl Default for Course {
    fn default() -> Course {
        Course { state: State::Accepted, started: None }
    }
}

impl Course {
    /// A course that is over.
    pub(super) fn ended(end: State) -> Course {
        Course { state: end, started: None }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Whether a worker began to carry it out, as far as is told.
    pub(super) fn has_begun(&self) -> bool {
        let waits = matches!(self.state, State::Accepted | State::Held | State::Retrying);
        self.started.is_some() || !waits
    }

    /// Takes in the next event. The first end stands; an `accepted` that comes after a worker began changes
    /// nothing, nor does a `retrying` that is not of the attempt which started last.
    pub(crate) fn take_in(&mut self, event: &Event) {
        let state = event.state();
        if self.state.is_end() || state == State::Accepted || self.is_of_another_start(event) {
            return;
        }
        self.state = state;
        if state == State::Started {
            self.started = Some(event.id);
        }
    }

    fn is_of_another_start(&self, event: &Event) -> bool {
        let runs_on = self.state == State::Started && event.state() == State::Retrying;
        runs_on && event.data.started != self.started
    }
}

#[cfg(test)]
mod tests {
    use proto::{JobId, Timestamp};

    use super::*;
    use crate::view::samples;

    #[test]
    fn a_retrying_ends_only_the_attempt_it_is_of() {
        let job = samples::job(JobId::mint(Timestamp::now(), None), "web");
        let starts = [1, 2].map(|attempt| Event::of(&job, State::Started, attempt, 7));
        let retrying = |started: Option<EventId>| {
            let mut event = Event::of(&job, State::Retrying, 1, 0);
            event.data.started = started;
            event
        };
        let mut course = Course::default();
        let mut after = |event: &Event| {
            course.take_in(event);
            course.state()
        };
        assert_eq!(after(&retrying(None)), State::Retrying);
        assert_eq!(after(&starts[0]), State::Started);
        assert_eq!(after(&starts[1]), State::Started);
        assert_eq!(after(&retrying(Some(starts[0].id))), State::Started);
        assert_eq!(after(&retrying(None)), State::Started);
        assert_eq!(after(&retrying(Some(starts[1].id))), State::Retrying);
    }
}
