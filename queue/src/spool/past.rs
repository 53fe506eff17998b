//! What the directory's own history knows, from the time when its queue was the embedded one: which of the jobs that
//! wait have ended, and which of its events the broker was not told of.

use std::collections::{HashMap, HashSet};

use proto::{Event, EventId, JobId, State};
use serde::Deserialize;

use crate::{
    QueueError,
    embedded::{Embedded, Note, Told},
};

/// Events that are told to the broker at once, unless a single job has more.
const PAGE_EVENTS: usize = 256;

/// The history in the directory, read once.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Every utterance in it.
    pub(super) known: HashSet<EventId>,
    /// The ends of jobs that wait all the same, and where they are told: a worker that died between saying the end and
    /// settling the job, or a job that was ended by others while it waited.
    pub(super) ends: HashMap<JobId, (State, u64)>,
    /// The highest id in it.
    pub(super) highest: Option<JobId>,
    /// What the broker was not told of.
    pub(super) untold: Untold,
}

/// What was said here and nowhere else.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// Where it stands, job by job.
    jobs: Vec<Vec<u64>>,
    place_of: HashMap<JobId, usize>,
    /// Where the last of it stands.
    last: u64,
}

/// All that is looked at of an event.
#[derive(Deserialize)]
struct Said {
    id: EventId,
    data: SaidData,
}

#[derive(Deserialize)]
struct SaidData {
    job: Name,
    state: State,
    #[serde(default)]
    by: Option<JobId>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    Id(JobId),
    Job { id: JobId },
}

impl Past {
    /// Reads the history; of ends, those of jobs that wait.
    pub(super) async fn read(disk: &Embedded, waiting: HashSet<JobId>) -> Result<Past, QueueError> {
        let told = disk.noted(Note::Told).await?.unwrap_or(0);
        disk.look_back(Past::default(), move |past, entry| past.take_in(entry, told, &waiting)).await
    }

    fn take_in(&mut self, entry: Told<'_>, told: u64, waiting: &HashSet<JobId>) {
        // What only a newer version can read, nobody here could tell either.
        let Ok(Said { id, data }) = serde_json::from_slice(entry.body) else { return };
        let job = match data.job {
            Name::Id(job) | Name::Job { id: job } => job,
        };
        self.known.insert(id);
        for seen in data.by.into_iter().chain([job]) {
            if seen.leaves_room() {
                self.highest = self.highest.max(Some(seen));
            }
        }
        if data.state.is_end() && waiting.contains(&job) {
            self.ends.entry(job).or_insert((data.state, entry.position));
        }
        if entry.here && entry.position > told {
            self.untold.add(job, entry.position);
        }
    }
}

impl Untold {
    fn add(&mut self, job: JobId, place: u64) {
        let next = self.jobs.len();
        let index = *self.place_of.entry(job).or_insert(next);
        if index == next {
            self.jobs.push(Vec::new());
        }
        if let Some(places) = self.jobs.get_mut(index) {
            places.push(place);
        }
        self.last = place;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Where the last of it stands.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// What is told at once: all of a job together, so that nobody who reads meanwhile finds one begun whose end is
    /// still to come, and takes it for abandoned.
    pub(super) fn pages(&self) -> Vec<Vec<u64>> {
        let mut pages: Vec<Vec<u64>> = Vec::new();
        for places in &self.jobs {
            match pages.last_mut() {
                Some(page) if page.len() + places.len() <= PAGE_EVENTS => page.extend(places),
                Some(_) | None => pages.push(places.clone()),
            }
        }
        pages
    }
}

/// Why a job is dead, as its event tells.
pub(super) fn death_of(event: &Event) -> (u32, proto::Reason) {
    let unknown = || proto::Reason::new(proto::reason::INTERRUPTED, "its event `dead` gives no reason");
    (event.data.attempt, event.data.reason.clone().unwrap_or_else(unknown))
}
