//! What the history says of many jobs, read in one go.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use proto::{Event, Job, JobId, State, reason};
use queue::{Entry, Position, Queue, Recorded, Since};
use tokio::time::timeout;

use super::book::{Open, OpenJobs};
use crate::timeline::{Past, TimelineError};

/// How long one reading may take: minutes of history fit in, and nobody waits for it.
const READ_WITHIN: Duration = Duration::from_secs(120);

/// What the history says of a job that it tells of.
#[derive(Default)]
pub(super) struct Trace {
    /// None where only its name was told.
    pub(super) job: Option<Job>,
    /// As far as the job was told.
    pub(super) open: Option<Open>,
    /// Its first end.
    pub(super) end: Option<State>,
    /// The highest number of an attempt.
    pub(super) attempts: u32,
    /// A worker began with it.
    pub(super) was_taken: bool,
}

/// Everything without an end that was said of after `since`, up to `head`, and what was said last of those that are
/// held, each with the place where the history begins to tell of it.
pub(super) async fn open_jobs(
    queue: &Arc<dyn Queue>,
    since: Since,
    head: Position,
) -> Result<(OpenJobs, Vec<(Position, Event)>), TimelineError> {
    let open_jobs = OpenJobs::default();
    let mut held: HashMap<JobId, Event> = HashMap::new();
    let look = |position, event: &Event| {
        open_jobs.take_in(position, event);
        if event.state() == State::Held {
            held.insert(event.job_id(), event.clone());
        } else if event.state() == State::Started || event.state().is_end() {
            held.remove(&event.job_id());
        }
    };
    read(queue, (since, head), look).await?;
    let held = held.into_values().filter_map(|event| Some((open_jobs.first_of(event.job_id())?, event)));
    let held = held.collect();
    Ok((open_jobs, held))
}

/// What is said of each of these jobs after `since`, up to `head`.
pub(super) async fn traces(
    queue: &Arc<dyn Queue>,
    (since, head): (Since, Position),
    wanted: HashSet<JobId>,
) -> Result<HashMap<JobId, Trace>, TimelineError> {
    let mut traces: HashMap<JobId, Trace> = HashMap::new();
    let look = |position, event: &Event| {
        if wanted.contains(&event.job_id()) {
            traces.entry(event.job_id()).or_default().take_in(position, event);
        }
    };
    read(queue, (since, head), look).await?;
    Ok(traces)
}

async fn read(
    queue: &Arc<dyn Queue>,
    (since, head): (Since, Position),
    mut look: impl FnMut(Position, &Event),
) -> Result<(), TimelineError> {
    let reading = async {
        let mut past = Past::open(queue, since, head).await?;
        while let Some(Recorded { position, entry }) = past.next().await? {
            if let Entry::Event(event) = entry {
                look(position, &event);
            }
        }
        Ok(())
    };
    timeout(READ_WITHIN, reading).await.unwrap_or(Err(TimelineError::TooSlow(READ_WITHIN)))
}

impl Trace {
    fn take_in(&mut self, position: Position, event: &Event) {
        let state = event.state();
        if let Some(job) = event.job() {
            self.open.get_or_insert_with(|| Open::of(position, job));
            self.job.get_or_insert_with(|| job.clone());
        }
        self.open.iter_mut().for_each(|open| open.note(event));
        self.attempts = self.attempts.max(event.data.attempt);
        let code = event.data.reason.as_ref().map(|reason| reason.code.as_ref());
        self.was_taken |= matches!(state, State::Started | State::Progress | State::Retrying)
            && code != Some(reason::UNHEARD);
        if state.is_end() {
            self.end.get_or_insert(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mint::Mint, view::samples};

    #[test]
    fn a_job_of_which_a_worker_said_anything_was_taken() {
        let job = samples::job(Mint::default().mint(jiff::Timestamp::now(), 1)[0], "web");
        let after = |states: &[State]| {
            let mut trace = Trace::default();
            states.iter().for_each(|state| trace.take_in(Position(1), &Event::of(&job, *state, 1, 0)));
            trace.was_taken
        };
        assert!(!after(&[State::Accepted]));
        assert!(
            !after(&[State::Accepted, State::Held]),
            "it was held, as by a window, and nobody came back to it"
        );
        // It gave way to a rollout under way, and its message was lost since.
        assert!(after(&[State::Accepted, State::Retrying]));
        assert!(after(&[State::Started]));
    }
}
