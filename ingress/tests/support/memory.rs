//! A queue in memory that fails when told to.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use proto::{Event, Job, PoolName, State, TargetName};
use queue::{Deliveries, Entry, History, Live, Lock, Position, Queue, QueueError, Recorded, Since};
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

pub struct Memory {
    inside: Mutex<Inside>,
    /// How many entries the history has.
    length: watch::Sender<usize>,
    /// Whether the history can be read and written.
    pub there: watch::Sender<bool>,
    progress: broadcast::Sender<Event>,
}

#[derive(Default)]
struct Inside {
    pools: HashSet<PoolName>,
    published: Vec<Job>,
    entries: Vec<Recorded>,
    refusals: VecDeque<QueueError>,
    /// `accepted` is taken and never shown.
    swallows_accepted: bool,
}

impl Memory {
    pub fn serving(pools: &[&str]) -> Memory {
        let pools = pools.iter().map(|pool| pool.parse().unwrap()).collect();
        Memory {
            inside: Mutex::new(Inside { pools, ..Inside::default() }),
            length: watch::Sender::new(0),
            there: watch::Sender::new(true),
            progress: broadcast::channel(64).0,
        }
    }

    /// Refuses the next publishings so, one by one.
    pub fn refuse(&self, errors: impl IntoIterator<Item = QueueError>) {
        self.inside.lock().unwrap().refusals.extend(errors);
    }

    pub fn swallow_accepted(&self) {
        self.inside.lock().unwrap().swallows_accepted = true;
    }

    pub fn published(&self) -> Vec<Job> {
        self.inside.lock().unwrap().published.clone()
    }

    /// The states the history tells of a job.
    pub fn told(&self, job: &Job) -> Vec<State> {
        let inside = self.inside.lock().unwrap();
        let events = inside.entries.iter().filter_map(|recorded| match &recorded.entry {
            Entry::Event(event) => Some(event),
            Entry::Marker(_) | Entry::Unreadable(_) => None,
        });
        events.filter(|event| event.job_id() == job.id).map(|event| event.state()).collect()
    }

    fn record(&self, entry: Entry) {
        let mut inside = self.inside.lock().unwrap();
        // With gaps, as engines have them.
        let position = Position(inside.entries.last().map_or(0, |last| last.position.0 + 3));
        inside.entries.push(Recorded { position, entry });
        self.length.send_replace(inside.entries.len());
    }

    fn check_there(&self) -> Result<(), QueueError> {
        match *self.there.borrow() {
            true => Ok(()),
            false => Err(QueueError::Unavailable { attempted: "reach it", source: "away".into() }),
        }
    }
}

#[async_trait]
impl Queue for Memory {
    async fn publish(&self, job: &Job) -> Result<(), QueueError> {
        self.check_there()?;
        let mut inside = self.inside.lock().unwrap();
        if let Some(error) = inside.refusals.pop_front() {
            return Err(error);
        }
        if !inside.pools.contains(job.target.pool()) {
            return Err(QueueError::NoPool(job.target.pool().clone()));
        }
        inside.published.push(job.clone());
        Ok(())
    }

    async fn take(&self, _: &PoolName, _: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        Err(QueueError::Closed)
    }

    async fn lock(&self, _: &TargetName) -> Result<Option<Lock>, QueueError> {
        Err(QueueError::Closed)
    }

    async fn emit(&self, event: &Event) -> Result<(), QueueError> {
        self.check_there()?;
        if event.state() == State::Progress {
            let _ = self.progress.send(event.clone());
        } else if event.state() != State::Accepted || !self.inside.lock().unwrap().swallows_accepted {
            self.record(Entry::Event(Box::new(event.clone())));
        }
        Ok(())
    }

    async fn mark(&self, marker: Uuid) -> Result<(), QueueError> {
        self.check_there()?;
        self.record(Entry::Marker(marker));
        Ok(())
    }

    async fn history(&self, since: Since) -> Result<Box<dyn History>, QueueError> {
        self.check_there()?;
        let inside = self.inside.lock().unwrap();
        let is_before = |recorded: &Recorded| match (since, &recorded.entry) {
            (Since::Start, _) => false,
            (Since::Time(time), Entry::Event(event)) => event.time < time,
            (Since::Time(_), _) => false,
            (Since::After(last), _) => recorded.position <= last,
        };
        let next = inside.entries.iter().take_while(|recorded| is_before(recorded)).count();
        let entries = inside.entries.clone();
        Ok(Box::new(Reader { entries, next, length: self.length.subscribe() }))
    }

    async fn live(&self) -> Result<Box<dyn Live>, QueueError> {
        Ok(Box::new(Listener(self.progress.subscribe())))
    }

    fn is_available(&self) -> bool {
        *self.there.borrow()
    }

    async fn close(&self) {}
}

struct Reader {
    entries: Vec<Recorded>,
    next: usize,
    length: watch::Receiver<usize>,
}
