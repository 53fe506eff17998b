//! The embedded engine, with failures where a test wants them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use jiff::SignedDuration;
use proto::{Catalogue, Event, Job, JobId, PoolName, Reason, State, TargetName, Timestamp};
use queue::{
    Bytes, Closed, DeadLetter, Deliveries, Delivery, Entry, Envelope, History, LetterFilter, LetterId, Live,
    Lock, Position, Questions, Queue, QueueError, Recorded, Settings, Since, Standing,
};
use tempfile::TempDir;
use tokio::sync::watch;
use uuid::Uuid;

use super::shortened::{Held, Veiled};

pub struct Faulty {
    engine: Arc<dyn Queue>,
    inside: Mutex<Inside>,
    /// Whether the engine can be reached.
    pub there: watch::Sender<bool>,
    /// Whether its files were found damaged.
    pub damaged: watch::Sender<bool>,
    /// How many entries each reader of the history that is opened from now on gets, until this is raised.
    pub shown: watch::Sender<usize>,
    /// Whether jobs that arrived are confirmed, and whether events are.
    pub confirms_jobs: watch::Sender<bool>,
    pub confirms_events: watch::Sender<bool>,
    /// How every pool stands; the embedded engine does not tell.
    pub standing: watch::Sender<Option<Standing>>,
    /// Who sent what, of messages that did not come from the process itself.
    senders: Arc<Mutex<HashMap<Bytes, Envelope>>>,
    directory: TempDir,
}

/// What was handed in, with its senders.
struct Submissions {
    submissions: Box<dyn Deliveries>,
    senders: Arc<Mutex<HashMap<Bytes, Envelope>>>,
}

#[async_trait]
impl Deliveries for Submissions {
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        let delivery = self.submissions.next().await?;
        let sender = self.senders.lock().unwrap().get(delivery.body()).cloned();
        Ok(match sender {
            Some(envelope) => delivery.in_envelope(envelope),
            None => delivery,
        })
    }
}

/// Something that was asked for, or answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A job has been made durable; who sent it does not know yet.
    Arrived(JobId),
    Confirmed(JobId),
    /// An event was sent.
    Said(JobId, State),
}

async fn once(wanted: &watch::Sender<bool>) {
    wanted.subscribe().wait_for(|is_so| *is_so).await.unwrap();
}

#[derive(Default)]
struct Inside {
    steps: Vec<Step>,
    published: Vec<Job>,
    said: Vec<Event>,
    refusals: VecDeque<QueueError>,
    /// `accepted` is taken and never shown.
    swallows_accepted: bool,
    /// Readers of the history that begin before this place are shown nothing.
    unreadable: Option<Position>,
    /// What was said up to this place was said eight days ago.
    aged: Option<Position>,
    /// No letter can be written for these jobs.
    unburied: HashSet<JobId>,
    /// No letter can be closed.
    keeps_letters_open: bool,
    /// Who left every letter, where that is none of the fleet's names.
    left_by: Option<String>,
    /// What another ingress closes each letter with, right before it is closed here.
    closed_elsewhere: Option<Closed>,
}

/// How long ago that was said which counts as old.
const AGE: SignedDuration = SignedDuration::from_hours(8 * 24);

impl Faulty {
    /// A queue in a directory of its own, in which these pools were served.
    pub async fn serving(pools: &[&str]) -> Arc<Faulty> {
        Faulty::opened(tempfile::tempdir().unwrap(), pools).await
    }

    async fn opened(directory: TempDir, pools: &[&str]) -> Arc<Faulty> {
        let engine = queue::open(&Settings::default(), directory.path()).await.unwrap();
        for pool in pools {
            drop(engine.take(&pool.parse().unwrap(), 1).await.unwrap());
        }
        Arc::new(Faulty {
            engine,
            inside: Mutex::default(),
            there: watch::Sender::new(true),
            damaged: watch::Sender::new(false),
            shown: watch::Sender::new(usize::MAX),
            confirms_jobs: watch::Sender::new(true),
            confirms_events: watch::Sender::new(true),
            standing: watch::Sender::new(None),
            senders: Arc::default(),
            directory,
        })
    }

    /// The same directory, opened again by what could be another process.
    pub async fn reopen(self: Arc<Faulty>) -> Arc<Faulty> {
        self.engine.close().await;
        let Faulty { engine, directory, .. } = Arc::into_inner(self).expect("somebody still uses the queue");
        drop(engine);
        Faulty::opened(directory, &[]).await
    }

    /// Hands in what others sent over a broker.
    pub async fn send(&self, body: impl Into<Bytes>, envelope: Envelope) {
        let body = body.into();
        self.senders.lock().unwrap().insert(body.clone(), envelope);
        self.submit(body).await.unwrap();
    }

    /// Refuses the next publishings so, one by one.
    pub fn refuse(&self, errors: impl IntoIterator<Item = QueueError>) {
        self.inside.lock().unwrap().refusals.extend(errors);
    }

    /// From now on another ingress closes each letter so, right before it is closed here.
    pub fn close_elsewhere(&self, how: Closed) {
        self.inside.lock().unwrap().closed_elsewhere = Some(how);
    }

    /// From now on every letter reads as if this user of a broker had left it.
    pub fn letters_left_by(&self, user: &str) {
        self.inside.lock().unwrap().left_by = Some(user.to_owned());
    }

    pub fn swallow_accepted(&self) {
        self.inside.lock().unwrap().swallows_accepted = true;
    }

    /// Shows nothing to readers that begin before this event of a job.
    pub async fn hide_what_is_before(&self, job: &Job, state: State) {
        let place = self.place_of(job, state).await;
        self.inside.lock().unwrap().unreadable = Some(place);
    }

    /// Lets everything up to this event of a job have been said eight days ago.
    pub async fn age_up_to(&self, job: &Job, state: State) {
        let place = self.place_of(job, state).await;
        self.inside.lock().unwrap().aged = Some(place);
    }

    async fn place_of(&self, job: &Job, state: State) -> Position {
        let mut history = self.engine.history(Since::Start).await.unwrap();
        loop {
            let Recorded { position, entry } = history.next().await.unwrap();
            if matches!(entry, Entry::Event(event) if event.job_id() == job.id && event.state() == state) {
                return position;
            }
        }
    }

    /// Refuses to write a letter for this job.
    pub fn refuse_to_bury(&self, id: JobId) {
        self.inside.lock().unwrap().unburied.insert(id);
    }

    /// Refuses to close any letter.
    pub fn keep_letters_open(&self) {
        self.inside.lock().unwrap().keeps_letters_open = true;
    }

    pub fn published(&self) -> Vec<Job> {
        self.inside.lock().unwrap().published.clone()
    }

    /// The states that were said of a job.
    pub fn said(&self, job: &Job) -> Vec<State> {
        self.said_of(job.id)
    }

    /// The states that were said of the job of this id.
    pub fn said_of(&self, id: JobId) -> Vec<State> {
        let inside = self.inside.lock().unwrap();
        inside.said.iter().filter(|event| event.job_id() == id).map(Event::state).collect()
    }

    /// What was asked for and answered so far.
    pub fn steps(&self) -> Vec<Step> {
        self.inside.lock().unwrap().steps.clone()
    }

    fn note(&self, step: Step) {
        self.inside.lock().unwrap().steps.push(step);
    }

    /// What a reader that begins at `since` is not shown: nothing at all, or what is older.
    fn veil(&self, since: Since) -> (bool, Option<Position>) {
        let inside = self.inside.lock().unwrap();
        let is_recent = matches!(since, Since::Time(time) if time > Timestamp::now() - AGE);
        let begin = match since {
            Since::After(place) => place,
            Since::Start | Since::Time(_) => Position(0),
            // Whoever compares clocks reads from the end on.
            Since::Clock(_) => Position(u64::MAX - 1),
        };
        let is_hidden = inside.unreadable.is_some_and(|first| Position(begin.0 + 1) < first);
        (is_hidden, inside.aged.filter(|_| is_recent))
    }

    fn check_there(&self) -> Result<(), QueueError> {
        match *self.there.borrow() {
            true => Ok(()),
            false => Err(QueueError::Unavailable { attempted: "reach it", source: "away".into() }),
        }
    }
}

#[async_trait]
impl Queue for Faulty {
    async fn publish(&self, job: &Job) -> Result<(), QueueError> {
        self.check_there()?;
        if let Some(error) = self.inside.lock().unwrap().refusals.pop_front() {
            return Err(error);
        }
        self.engine.publish(job).await?;
        self.note(Step::Arrived(job.id));
        once(&self.confirms_jobs).await;
        self.note(Step::Confirmed(job.id));
        self.inside.lock().unwrap().published.push(job.clone());
        Ok(())
    }

    async fn is_served(&self, pool: &PoolName) -> Result<bool, QueueError> {
        self.check_there()?;
        self.engine.is_served(pool).await
    }

    async fn standing(&self, _pool: &PoolName) -> Result<Option<Standing>, QueueError> {
        self.check_there()?;
        Ok(*self.standing.borrow())
    }

    async fn take(&self, pool: &PoolName, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        self.engine.take(pool, at_once).await
    }

    async fn lock(&self, target: &TargetName) -> Result<Option<Lock>, QueueError> {
        self.engine.lock(target).await
    }

    async fn emit(&self, event: &Event) -> Result<(), QueueError> {
        self.check_there()?;
        {
            let mut inside = self.inside.lock().unwrap();
            inside.said.push(event.clone());
            if event.state() == State::Accepted && inside.swallows_accepted {
                return Ok(());
            }
        }
        self.note(Step::Said(event.job_id(), event.state()));
        once(&self.confirms_events).await;
        self.engine.emit(event).await
    }

    async fn mark(&self, marker: Uuid) -> Result<(), QueueError> {
        self.check_there()?;
        self.engine.mark(marker).await
    }

    async fn history(&self, since: Since) -> Result<Box<dyn History>, QueueError> {
        self.check_there()?;
        let (is_hidden, after) = self.veil(since);
        let history = Box::new(Veiled { history: self.engine.history(since).await?, is_hidden, after });
        if *self.shown.borrow() == usize::MAX {
            return Ok(history);
        }
        Ok(Box::new(Held { history, read: 0, shown: self.shown.subscribe() }))
    }

    async fn live(&self) -> Result<Box<dyn Live>, QueueError> {
        self.engine.live().await
    }

    async fn letters_that(&self, wanted: LetterFilter) -> Result<Vec<DeadLetter>, QueueError> {
        self.check_there()?;
        let Some(left_by) = self.inside.lock().unwrap().left_by.clone() else {
            return self.engine.letters_that(wanted).await;
        };
        let mut letters = self.engine.dead_letters().await?;
        for letter in &mut letters {
            (letter.submitted, letter.left_by) = (true, Some(left_by.clone()));
        }
        letters.retain(|letter| wanted(letter));
        Ok(letters)
    }

    async fn was_buried(&self, job: JobId, since: Timestamp) -> Result<bool, QueueError> {
        self.check_there()?;
        self.engine.was_buried(job, since).await
    }

    async fn close_letter(&self, letter: LetterId, how: Closed) -> Result<Closed, QueueError> {
        self.check_there()?;
        let elsewhere = {
            let inside = self.inside.lock().unwrap();
            if inside.keeps_letters_open {
                return Err(QueueError::NotOurs);
            }
            inside.closed_elsewhere.clone()
        };
        if let Some(elsewhere) = elsewhere {
            self.engine.close_letter(letter, elsewhere).await?;
        }
        self.engine.close_letter(letter, how).await
    }

    async fn bury(
        &self,
        body: Bytes,
        pool: &PoolName,
        attempts: u32,
        reason: &Reason,
    ) -> Result<(), QueueError> {
        self.check_there()?;
        let id = Job::decode(&body).ok().map(|job| job.id);
        if id.is_some_and(|id| self.inside.lock().unwrap().unburied.contains(&id)) {
            return Err(QueueError::NotOurs);
        }
        self.engine.bury(body, pool, attempts, reason).await
    }

    async fn ask(&self, pool: &PoolName, question: Bytes, within: Duration) -> Result<Bytes, QueueError> {
        self.check_there()?;
        self.engine.ask(pool, question, within).await
    }

    async fn questions(&self, pool: &PoolName) -> Result<Box<dyn Questions>, QueueError> {
        self.check_there()?;
        self.engine.questions(pool).await
    }

    async fn list(&self, catalogue: &Catalogue) -> Result<(), QueueError> {
        self.check_there()?;
        self.engine.list(catalogue).await
    }

    async fn submit(&self, message: Bytes) -> Result<(), QueueError> {
        self.check_there()?;
        self.engine.submit(message).await
    }

    async fn intake(&self, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        self.check_there()?;
        let submissions = self.engine.intake(at_once).await?;
        Ok(Box::new(Submissions { submissions, senders: Arc::clone(&self.senders) }))
    }

    fn is_damaged(&self) -> bool {
        *self.damaged.borrow()
    }

    fn is_available(&self) -> bool {
        *self.there.borrow()
    }

    async fn close(&self) {
        // As a broker, it outlives the server that uses it.
    }
}
