//! Everything the history says of one job.

use std::{convert::Infallible, sync::Arc, time::Duration};

use jiff::SignedDuration;
use proto::{Event, Job, JobId, State, TargetName, Timestamp};
use queue::{DeadLetter, Entry, History, Position, Queue, QueueError, Recorded, Since};
use tokio::time::timeout;
use uuid::Uuid;

use crate::view::{Course, Place, View};

/// How long the history is read for one job, and how long it may be silent while there is more to read.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// How long the history is read for all jobs of one target, and how many of them are kept.
const READ_TARGET_WITHIN: Duration = Duration::from_secs(20);
const MOST_JOBS_OF_A_TARGET: usize = 100_000;

/// How far before a job was accepted its events may stand: clocks differ.
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
    #[error("cannot read the history")]
    History(#[source] QueueError),
    /// The broker that keeps it is away.
    #[error("the history of a job cannot be read while the broker is away")]
    Away,
    /// Reading took too long.
    #[error("the history could not be read within {READ_WITHIN:?}")]
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
    let since = told_since(id, known.as_ref().map(|(job, _)| job.accepted_at));
    let told = match (told(queue, view, (id, since), known.is_none()).await, &known) {
        (Ok(told), _) => told,
        (Err(error), Some((job, state))) => {
            tracing::debug!(job = %id, error = &error as &dyn std::error::Error, "told without its history");
            let (job, state) = (job.clone(), *state);
            return Ok(Some(Timeline { job, state, events: Vec::new(), is_cut: true }));
        }
        (Err(error), None) => return Err(error),
    };
    let Some(job) = known.map(|(job, _)| job).or(told.job) else { return Ok(None) };
    Ok(Some(Timeline { job, state: told.course.state(), events: told.events, is_cut: false }))
}

/// A time before which the history says nothing of the job `id`, of which it is known that it was there at `known`. An
/// id's time is no time of day: it runs ahead where any clock did, and for as long; what is dated ahead of now tells
/// nothing.
pub(crate) fn told_since(id: JobId, known: impl IntoIterator<Item = Timestamp>) -> Timestamp {
    let (now, begin) = (Timestamp::now(), Timestamp::UNIX_EPOCH);
    let earliest = known.into_iter().fold(id.time(), Timestamp::min);
    if earliest > now + CLOCKS_DIFFER {
        return begin;
    }
    earliest.min(now).checked_sub(CLOCKS_DIFFER).map_or(begin, |since| since.max(begin))
}

/// The same of the job in a letter.
pub(crate) fn told_since_in(id: JobId, letter: &DeadLetter) -> Timestamp {
    told_since(id, letter.job().map(|job| job.accepted_at).into_iter().chain([letter.died_at]))
}

/// How the job in a letter ended, if it did; also of one that nobody here can read.
///
/// # Errors
/// When the history cannot be read in time.
pub(crate) async fn end_of(
    queue: &Arc<dyn Queue>,
    view: &View,
    (id, letter): (JobId, &DeadLetter),
) -> Result<Option<State>, TimelineError> {
    let told = told(queue, view, (id, told_since_in(id, letter)), false).await?;
    Ok(Some(told.course.state()).filter(|state| state.is_end()))
}

/// What the history says of the job in a letter, also of one that nobody here can read; nothing where it cannot be read.
pub(crate) async fn events_of(
    queue: &Arc<dyn Queue>,
    view: &View,
    (id, letter): (JobId, &DeadLetter),
) -> Vec<Event> {
    let told = told(queue, view, (id, told_since_in(id, letter)), false).await;
    let told = told.unwrap_or_else(|error| {
        tracing::debug!(job = %id, error = &error as &dyn std::error::Error, "told without its history");
        Told::default()
    });
    told.events.into_iter().map(|(_, event)| event).collect()
}

/// A view of the jobs of one target that the history tells of since a time in the past.
///
/// # Errors
/// When the history cannot be read in time.
pub(crate) async fn of_target(
    queue: &Arc<dyn Queue>,
    view: &View,
    target: &TargetName,
    since: Timestamp,
) -> Result<View, TimelineError> {
    let jobs = View::keeping(MOST_JOBS_OF_A_TARGET);
    let Some(head) = view.head() else { return Ok(jobs) };
    let reading = async {
        let mut past = Past::open(queue, Since::Time(since), head).await?;
        while let Some(recorded) = past.next().await? {
            if matches!(&recorded.entry, Entry::Event(event) if event.subject == *target) {
                jobs.take_in(&recorded);
            }
        }
        Ok(jobs)
    };
    timeout(READ_TARGET_WITHIN, ending(queue, reading)).await.map_err(|_| TimelineError::TooSlow)?
}

async fn told(
    queue: &Arc<dyn Queue>,
    view: &View,
    (id, since): (JobId, Timestamp),
    wants_job: bool,
) -> Result<Told, TimelineError> {
    match (view.place(id), view.head()) {
        (Some(Place::Nowhere), _) => Ok(Told::default()),
        // Nobody waits for a broker that is known to be away.
        _ if !queue.is_readable() => Err(TimelineError::Away),
        (_, None) => Ok(Told::default()),
        (Some(Place::From(first)), Some(head)) => read(queue, before(first), head, id, wants_job).await,
        (None, Some(head)) => ending(queue, read(queue, Since::Time(since), head, id, wants_job)).await,
    }
}

/// Lets a reading from a time on come to its end where nothing was said since: it would wait for something to be said,
/// so something is.
async fn ending<T>(queue: &Arc<dyn Queue>, reading: impl Future<Output = T>) -> T {
    let saying = async {
        if let Err(error) = queue.mark(Uuid::now_v7()).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a quiet history cannot be told from a slow one"
            );
        }
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        read = reading => read,
        never = saying => match never {},
    }
}

fn before(first: Position) -> Since {
    first.0.checked_sub(1).map_or(Since::Start, |before| Since::After(Position(before)))
}

/// What was read of a job.
#[derive(Default)]
struct Told {
    job: Option<Job>,
    course: Course,
    /// Up to the first end.
    events: Vec<(Position, Event)>,
}

impl Told {
    fn take_in(&mut self, position: Position, event: Event) {
        self.job = event.job().cloned().or(self.job.take());
        if !self.course.state().is_end() {
            self.course.take_in(&event);
            self.events.push((position, event));
        }
    }
}

/// The events of one job up to its end, or to `head`. What comes after the end is read for the job alone, when
/// that is wanted and was not told before: `accepted` may be said late.
async fn read(
    queue: &Arc<dyn Queue>,
    since: Since,
    head: Position,
    id: JobId,
    wants_job: bool,
) -> Result<Told, TimelineError> {
    let reading = async {
        let mut told = Told::default();
        let mut past = Past::open(queue, since, head).await?;
        while let Some(Recorded { position, entry }) = past.next().await? {
            if let Entry::Event(event) = entry
                && event.job_id() == id
            {
                told.take_in(position, *event);
            }
            if told.course.state().is_end() && (told.job.is_some() || !wants_job) {
                break;
            }
        }
        Ok(told)
    };
    within(reading).await?
}

/// The entries of the history after one place up to another, read one by one.
pub(crate) struct Past {
    /// None when there is nothing more.
    history: Option<Box<dyn History>>,
    since: Since,
    head: Position,
}

impl Past {
    /// Opens what was said after `since` up to `head`.
    ///
    /// # Errors
    /// When the history cannot be opened in time.
    pub(crate) async fn open(
        queue: &Arc<dyn Queue>,
        since: Since,
        head: Position,
    ) -> Result<Past, TimelineError> {
        let history = match since {
            Since::After(after) if after >= head => None,
            Since::After(_) | Since::Start | Since::Time(_) | Since::Clock(_) => {
                Some(within(queue.history(since)).await?.map_err(TimelineError::History)?)
            }
        };
        Ok(Past { history, since, head })
    }

    /// The next entry; none at the end.
    ///
    /// # Errors
    /// When the history is cut off, or says nothing for too long: there is more up to `head`.
    pub(crate) async fn next(&mut self) -> Result<Option<Recorded>, TimelineError> {
        while let Some(history) = &mut self.history {
            let recorded = within(history.next()).await?.map_err(TimelineError::History)?;
            if recorded.position >= self.head {
                self.history = None;
            }
            if recorded.position > self.head {
                break;
            }
            if !matches!(self.since, Since::After(after) if recorded.position <= after) {
                return Ok(Some(recorded));
            }
        }
        Ok(None)
    }
}

async fn within<T>(reading: impl Future<Output = T>) -> Result<T, TimelineError> {
    timeout(READ_WITHIN, reading).await.map_err(|_| TimelineError::TooSlow)
}
