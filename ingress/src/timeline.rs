//! Everything the history says of one job.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use proto::{Event, Job, JobId, State};
use queue::{Entry, Position, Queue, QueueError, Recorded, Since};
use tokio::time::{Instant, timeout_at};

use crate::view::{Place, View};

/// How long the history is read for one job.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// How far before an id's time its events may stand: clocks differ.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(2);

/// What the history says of a job, up to its end or to now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Timeline {
    pub(crate) job: Job,
    pub(crate) state: State,
    /// Oldest first.
    pub(crate) events: Vec<(Position, Event)>,
    /// The history could not be read: the rest is what is remembered, and there are no events.
    pub(crate) is_cut: bool,
}

/// Why a timeline could not be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TimelineError {
    /// The history cannot be opened or was cut off.
    #[error("cannot read the history of a job")]
    History(#[source] QueueError),
    /// The broker that keeps it is away.
    #[error("the history of a job cannot be read while the broker is away")]
    Away,
    /// Reading took too long.
    #[error("the history of a job was not read within {READ_WITHIN:?}")]
    TooSlow,
}

/// Reads what the history says of `id`; none when neither it nor the view knows the job. Where the history
/// cannot be read, what the view knows has to do.
///
/// # Errors
/// When the history cannot be read in time and the view does not know the job.
pub(crate) async fn of(
    queue: &Arc<dyn Queue>,
    view: &View,
    id: JobId,
) -> Result<Option<Timeline>, TimelineError> {
    let known = view.get(id);
    let events = match (events(queue, view, id).await, known.clone()) {
        (Ok(events), _) => events,
        (Err(error), Some((job, state))) => {
            tracing::debug!(job = %id, error = &error as &dyn std::error::Error, "told without its history");
            return Ok(Some(Timeline { job, state, events: Vec::new(), is_cut: true }));
        }
        (Err(error), None) => return Err(error),
    };
    let told = events.iter().rev().find_map(|(_, event)| event.job().cloned());
    let Some(job) = known.map(|(job, _)| job).or(told) else { return Ok(None) };
    let state = events.last().map_or(State::Accepted, |(_, event)| event.state());
    Ok(Some(Timeline { job, state: after_all(&events, state), events, is_cut: false }))
}

async fn events(
    queue: &Arc<dyn Queue>,
    view: &View,
    id: JobId,
) -> Result<Vec<(Position, Event)>, TimelineError> {
    match (view.place(id), view.head()) {
        (Some(Place::Nowhere), _) => Ok(Vec::new()),
        // Nobody waits for a broker that is known to be away.
        _ if !queue.is_available() => Err(TimelineError::Away),
        (_, None) => Ok(Vec::new()),
        (Some(Place::From(first)), Some(head)) => read(queue, before(first), head, id).await,
        (None, Some(head)) => read(queue, Since::Time(id.time() - CLOCKS_DIFFER), head, id).await,
    }
}

/// An `accepted` that came after a worker had begun is not what the job reached last.
fn after_all(events: &[(Position, Event)], last: State) -> State {
    let reached = events.iter().rev().map(|(_, event)| event.state());
    reached.into_iter().find(|state| *state != State::Accepted).unwrap_or(last)
}

fn before(first: Position) -> Since {
    first.0.checked_sub(1).map_or(Since::Start, |before| Since::After(Position(before)))
}

/// The events of one job up to its end, or to `head`.
async fn read(
    queue: &Arc<dyn Queue>,
    since: Since,
    head: Position,
    id: JobId,
) -> Result<Vec<(Position, Event)>, TimelineError> {
    let mut events = Vec::new();
    each(queue, since, head, |recorded| {
        let Entry::Event(event) = recorded.entry else { return true };
        if event.job_id() != id {
            return true;
        }
        let ended = event.state().is_end();
        events.push((recorded.position, *event));
        !ended
    })
    .await?;
    Ok(events)
}

/// Shows `take` every entry after `since` up to `head`, until it has enough (false).
pub(crate) async fn each(
    queue: &Arc<dyn Queue>,
    since: Since,
    head: Position,
    mut take: impl FnMut(Recorded) -> bool,
) -> Result<(), TimelineError> {
    if matches!(since, Since::After(after) if after >= head) {
        return Ok(());
    }
    let until = Instant::now() + READ_WITHIN;
    let mut history = within(until, queue.history(since)).await?;
    loop {
        let recorded = within(until, history.next()).await?;
        let position = recorded.position;
        if matches!(since, Since::After(after) if position <= after) {
            continue;
        }
        if position > head || !take(recorded) || position == head {
            return Ok(());
        }
    }
}

async fn within<T>(
    until: Instant,
    reading: impl Future<Output = Result<T, QueueError>>,
) -> Result<T, TimelineError> {
    match timeout_at(until, reading).await {
        Ok(read) => read.map_err(TimelineError::History),
        Err(_) => Err(TimelineError::TooSlow),
    }
}
