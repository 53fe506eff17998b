//! How an attempt leaves the worker: what is said of it, and how its delivery is settled.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proto::{Event, EventId, ImageChange, Job, JobId, PutOnHold, Reason, State, Tasks, Timestamp, reason};
use queue::Lock;

use crate::{
    quarantine::Company,
    target::{End, Outcome},
};

/// What keeps others away from a target while a job is carried out there; a mere look has no company.
pub(crate) type Held = (Lock, Option<Company>);

/// One attempt at a job.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) job: Job,
    /// Which one, from 1.
    pub(crate) number: u32,
    /// Whether another worker may have had it before.
    pub(crate) came_back: bool,
    /// The `started` it said, once it did: whoever ends the attempt answers it.
    pub(crate) started: OnceLock<EventId>,
    /// Held until its outcome is said: whoever comes next must find it in the history.
    held: Mutex<Option<Held>>,
    /// Held while the target is written.
    pen: tokio::sync::Mutex<()>,
    /// Whether what it wished stands on the target, and is watched.
    watches: AtomicBool,
    /// Noted where another attempt might still write when this one began to look: how much later the target is looked at
    /// again. Asked only afterwards, one that wrote and was answered for in between would be overlooked.
    pub(crate) guard: OnceLock<Duration>,
    /// Whether the target may have been written for the job, by this attempt or one before: what is refused then is not
    /// refused before anything was touched.
    touched: AtomicBool,
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Conclusion {
    /// The job's life ends here.
    End(Box<Telling>),
    /// It comes again.
    Again {
        /// At least this much later.
        after: Duration,
        /// Whether the attempt counts.
        counted: bool,
        /// Why.
        reason: Reason,
    },
    /// It may not run yet, and is looked at again.
    Held {
        /// At least this much later.
        after: Duration,
        /// What it waits for; said once.
        reason: Reason,
        /// The image it brings, where that is what keeps it, or what it waits with.
        image: Option<Box<ImageChange>>,
        /// Whether that was said before.
        told: bool,
    },
    /// It ended, but an attempt at it may still write: its target is looked at again.
    Guarded {
        /// At least this much later.
        after: Duration,
    },
    /// It goes back at once, for another worker: this one stops.
    Release(Reason),
    /// It ended so before; this is a copy, or its worker died before it could settle.
    Copy(State),
    /// It is not ours any more, or nothing can be said: left as it is, it comes again.
    Left(Reason),
}

/// An end, with what there is to tell of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Telling {
    pub(crate) state: State,
    pub(crate) reason: Option<Reason>,
    pub(crate) by: Option<JobId>,
    pub(crate) image: Option<ImageChange>,
    pub(crate) tasks: Option<Tasks>,
    pub(crate) output: Vec<String>,
    pub(crate) put_on_hold: Vec<PutOnHold>,
    /// How much oftener it was begun than the number of the attempt tells: crashes are not counted in that.
    pub(crate) uncounted: u32,
}

impl Telling {
    pub(crate) fn new(state: State) -> Telling {
        Telling {
            state,
            reason: None,
            by: None,
            image: None,
            tasks: None,
            output: Vec::new(),
            put_on_hold: Vec::new(),
            uncounted: 0,
        }
    }

    pub(crate) fn reason(mut self, reason: Reason) -> Telling {
        self.reason = Some(reason);
        self
    }

    pub(crate) fn by(mut self, by: Option<JobId>) -> Telling {
        self.by = by;
        self
    }

    pub(crate) fn image(mut self, image: ImageChange) -> Telling {
        self.image = Some(image);
        self
    }

    pub(crate) fn uncounted(mut self, attempts: u32) -> Telling {
        self.uncounted = attempts;
        self
    }

    /// The conclusion that tells it.
    pub(crate) fn conclude(self) -> Conclusion {
        Conclusion::End(Box::new(self))
    }

    /// The event that says so. Its name is the same whoever says it.
    pub(crate) fn event(self, attempt: &Attempt) -> Event {
        let mut event = attempt.event(self.state, 0);
        event.data.reason = self.reason;
        event.data.by = self.by;
        event.data.image = self.image;
        event.data.tasks = self.tasks;
        event.data.output = self.output;
        event.data.put_on_hold = self.put_on_hold;
        event.data.attempt = event.data.attempt.saturating_add(self.uncounted);
        event
    }
}

impl Attempt {
    pub(crate) fn new(job: Job, number: u32, came_back: bool) -> Attempt {
        Attempt {
            job,
            number,
            came_back,
            started: OnceLock::new(),
            held: Mutex::default(),
            pen: tokio::sync::Mutex::default(),
            watches: AtomicBool::default(),
            guard: OnceLock::new(),
            touched: AtomicBool::new(false),
        }
    }

    /// Writes the target, where nobody holds the pen.
    pub(crate) async fn write<T>(&self, write: impl Future<Output = T>) -> T {
        let _pen = self.pen().await;
        write.await
    }

    /// Notes that the target may have been written for the job.
    pub(crate) fn note_touched(&self) {
        self.touched.store(true, Ordering::Relaxed);
    }

    /// Whether the target may have been written for the job.
    pub(crate) fn has_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    /// Waits until nothing is written for this attempt; from then on nothing is, until it is let go.
    pub(crate) async fn pen(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.pen.lock().await
    }

    /// Notes that the target has what was wished, and that its rollout is watched.
    pub(crate) fn note_watching(&self) {
        self.watches.store(true, Ordering::Relaxed);
    }

    /// Whether it came so far.
    pub(crate) fn watches(&self) -> bool {
        self.watches.load(Ordering::Relaxed)
    }

    /// Keeps others away until [`Attempt::release`].
    pub(crate) fn hold(&self, held: Held) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
    }

    /// Whether others are still kept away: not after the connection that held the lock was lost.
    pub(crate) fn keeps_others_away(&self) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().is_some_and(|(lock, _)| lock.is_held())
    }

    /// Lets others in, and waits until they can come: the next to take a job that goes back must not find its
    /// target locked.
    pub(crate) async fn release(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((lock, company)) = held {
            drop(company);
            lock.free().await;
        }
    }

    /// The event that the job comes again.
    pub(crate) fn retrying(&self, counted: bool, reason: Reason) -> Event {
        let mut event = self.event(State::Retrying, fresh());
        event.data.counted = Some(counted);
        event.data.reason = Some(reason);
        event
    }

    /// The event that the job may not run yet: no attempt has begun, or none that touched the target.
    pub(crate) fn held_back(&self, reason: Reason, image: Option<Box<ImageChange>>) -> Event {
        let mut event = Event::of(&self.job, State::Held, 0, fresh());
        event.data.reason = Some(reason);
        event.data.image = image.map(|image| *image);
        event.data.started = self.started.get().copied();
        event.data.took_ms = Some(took_ms(&self.job));
        event
    }

    /// An event of this attempt, with the time it took so far.
    pub(crate) fn event(&self, state: State, n: u64) -> Event {
        let mut event = Event::of(&self.job, state, self.number, n);
        event.data.took_ms = Some(took_ms(&self.job));
        if state != State::Started && state != State::Progress {
            event.data.started = self.started.get().copied();
        }
        event
    }
}

/// The end that a watch came to.
pub(crate) fn tell(outcome: Outcome, change: ImageChange) -> Telling {
    let (telling, reason) = match outcome.end {
        End::Converged => {
            (Telling::new(State::Succeeded), noted(&outcome.notes).or_else(|| unchanged(&change)))
        }
        End::RolledBack(reason) => (Telling::new(State::RolledBack), Some(reason)),
        End::Failed(reason) => (Telling::new(State::Failed), Some(reason)),
        End::Superseded { by, reason } => (Telling::new(State::Superseded).by(by), Some(reason)),
    };
    let Outcome { tasks, output, put_on_hold, .. } = outcome;
    Telling { reason, tasks, output, put_on_hold, ..telling.image(change) }
}

/// What one has to know beside a success, as one reason.
fn noted(notes: &[Reason]) -> Option<Reason> {
    let first = notes.first()?;
    let text: Vec<&str> = notes.iter().map(|note| note.text.as_str()).collect();
    Some(Reason { text: text.join("; "), ..first.clone() })
}

fn unchanged(change: &ImageChange) -> Option<Reason> {
    let (from, to) = (change.from.as_ref()?, change.to.as_ref()?);
    from.same_content(to).then(|| Reason::new(reason::UNCHANGED, "the target ran this image before"))
}

/// Milliseconds since the job was accepted.
fn took_ms(job: &Job) -> u64 {
    u64::try_from(Timestamp::now().duration_since(job.accepted_at).as_millis()).unwrap_or(0)
}

/// A number for an utterance that is not an end: two workers never draw the same.
pub(crate) fn fresh() -> u64 {
    uuid::Uuid::now_v7().as_u64_pair().1
}
