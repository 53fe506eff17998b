//! Everything the history says of one job.

use std::{convert::Infallible, sync::Arc, time::Duration};

use jiff::SignedDuration;
use proto::{Event, Job, JobId, State, TargetName, Timestamp};
use queue::{DeadLetter, Entry, History, Position, Queue, QueueError, Recorded, Since};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    readings::Readings,
    view::{Course, Place, View},
};

/// How long who asks for one job waits, and how long the history may be silent while there is more to read.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// How long who asks for all jobs of one target waits, and how many of them are kept.
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
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum TimelineError {
    /// The history cannot be opened or was cut off.
    #[error("cannot read the history")]
    History(#[source] Arc<QueueError>),
    /// The broker that keeps it is away.
    #[error("the history of a job cannot be read while the broker is away")]
    Away,
    /// It shows nothing, or not enough, while there is more to read.
    #[error("the history could not be read within {0:?}")]
    TooSlow(Duration),
    /// There is much of it: it is read on, for who comes back.
    #[error("the history is still being read")]
    StillRead,
}

/// The readings of one view that take their time.
#[derive(Default)]
pub(crate) struct LongReadings {
    /// Of one job each; whether its body is wanted.
    of_jobs: Readings<(JobId, bool), Told>,
    of_targets: Readings<TargetName, View>,
}

/// Reads what the history says of `id`; none when neither it nor the view knows the job. Where the history
/// cannot be read, what the view knows has to do.
///
/// # Errors
/// When the history cannot be read in time and the view does not know the job; it is read on then, for the next who asks.
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
/// When the history cannot be read, or not in the time that somebody waits: it is read on then, for the next who asks.
pub(crate) async fn of_target(
    queue: &Arc<dyn Queue>,
    view: &View,
    target: &TargetName,
    since: Timestamp,
) -> Result<Arc<View>, TimelineError> {
    let Some(head) = view.head() else { return Ok(Arc::new(View::keeping(MOST_JOBS_OF_A_TARGET))) };
    let reading = || {
        let (queue, target) = (Arc::clone(queue), target.clone());
        async move { ending(&queue, read_target(&queue, target, (since, head))).await }
    };
    view.long_readings().of_targets.wait(target.clone(), (since, READ_TARGET_WITHIN), reading).await
}

async fn read_target(
    queue: &Arc<dyn Queue>,
    target: TargetName,
    (since, head): (Timestamp, Position),
) -> Result<View, TimelineError> {
    let jobs = View::keeping(MOST_JOBS_OF_A_TARGET);
    let mut past = Past::open(queue, Since::Time(since), head).await?;
    while let Some(recorded) = past.next().await? {
        if matches!(&recorded.entry, Entry::Event(event) if event.subject == target) {
            jobs.take_in(&recorded);
        }
    }
    Ok(jobs)
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
        (Some(Place::From(first)), Some(head)) => {
            let reading = read(queue, (before(first), head), id, wants_job);
            timeout(READ_WITHIN, reading).await.map_err(|_| TimelineError::TooSlow(READ_WITHIN))?
        }
        (None, Some(head)) => {
            let reading = || {
                let queue = Arc::clone(queue);
                async move { ending(&queue, read(&queue, (Since::Time(since), head), id, wants_job)).await }
            };
            let of_jobs = &view.long_readings().of_jobs;
            let told = of_jobs.wait((id, wants_job), (since, READ_WITHIN), reading).await?;
            Ok(Told::clone(&told))
        }
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
#[derive(Debug, Clone, Default)]
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
    (since, head): (Since, Position),
    id: JobId,
    wants_job: bool,
) -> Result<Told, TimelineError> {
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
                Some(within(queue.history(since)).await?)
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
            let recorded = within(history.next()).await?;
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

async fn within<T>(reading: impl Future<Output = Result<T, QueueError>>) -> Result<T, TimelineError> {
    let read = timeout(READ_WITHIN, reading).await.map_err(|_| TimelineError::TooSlow(READ_WITHIN))?;
    read.map_err(|error| TimelineError::History(Arc::new(error)))
}

#[cfg(test)]
mod tests {
    use queue::contract::slow::SlowHistory;
    use tokio::time::sleep;

    use super::*;
    use crate::{mint::Mint, view::samples};

    const PAUSE: Duration = Duration::from_millis(10);
    /// Read in a minute.
    const MANY: u64 = 6_000;

    /// Two jobs for the same thing, the older one first.
    fn two() -> (Job, Job) {
        let ids = Mint::default().mint(Timestamp::now(), 2);
        let [older, newer] = [ids[0], ids[1]].map(|id| samples::job(id, "web"));
        (older, newer)
    }

    /// A history that takes a minute to read, with a job at its end, and a view that knows how long it is.
    fn long(newer: &Job) -> (SlowHistory, Arc<dyn Queue>, View) {
        let said = [State::Accepted, State::Succeeded]
            .map(|state| Entry::Event(Box::new(Event::of(newer, state, 1, 0))));
        let entries = (0..MANY).map(|_| Entry::Marker(Uuid::now_v7())).chain(said);
        let history = SlowHistory::new(entries, PAUSE, u64::MAX);
        let view = View::new();
        view.take_in(&Recorded { position: Position(MANY + 1), entry: Entry::Marker(Uuid::now_v7()) });
        (history.clone(), Arc::new(history), view)
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_past_of_a_target_is_read_to_its_end_while_who_asks_comes_back() {
        let (older, newer) = two();
        let (history, queue, view) = long(&newer);
        let since = told_since(older.id, [older.accepted_at]);
        let ask = || of_target(&queue, &view, &older.target, since);
        let mut asked = 0;
        let past = loop {
            match ask().await {
                Ok(past) => break past,
                Err(error) => assert!(matches!(error, TimelineError::StillRead), "{error:?}"),
            }
            asked += 1;
            sleep(Duration::from_secs(5)).await;
        };
        assert!((1..=5).contains(&asked), "{asked}");
        assert_eq!(past.newer_rival(&older), Some((newer.id, State::Succeeded)));
        assert_eq!(history.opened().len(), 1, "it is read once");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_job_is_unknown_once_all_was_read() {
        let (unknown, newer) = two();
        let (history, queue, view) = long(&newer);
        for _ in 0..2 {
            let asked = of(&queue, &view, unknown.id).await;
            assert!(matches!(asked, Err(TimelineError::StillRead)), "{asked:?}");
        }
        sleep(Duration::from_secs(60)).await;
        assert_eq!(of(&queue, &view, unknown.id).await.unwrap(), None);
        assert_eq!(history.opened().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_history_that_shows_nothing_more_is_told_as_such() {
        let (older, newer) = two();
        let (history, queue, view) = long(&newer);
        history.show_up_to(Position(10));
        let asked = of_target(&queue, &view, &older.target, Timestamp::UNIX_EPOCH).await;
        assert!(matches!(asked, Err(TimelineError::TooSlow(READ_WITHIN))), "{:?}", asked.err());
    }
}
