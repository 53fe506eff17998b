//! What is known of one job.

use std::sync::Arc;

use proto::{
    Digest, Event, EventId, ImageChange, Job, Operation, Reason, StackText, State, Timestamp, reason,
};
use queue::Position;

/// What is known of one job.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) job: Arc<Job>,
    pub(super) started: bool,
    /// Where in the history it was begun first.
    pub(super) began: Option<Position>,
    /// The latest deadline that a `started` told of.
    pub(super) deadline_said: Option<Timestamp>,
    /// Every `started` that nothing came after, and whether its worker did nothing else.
    pub(super) unanswered: Vec<(EventId, bool)>,
    /// Waits at the lock of its target.
    pub(super) waits: bool,
    /// It was said last that it waits, for nothing that counts, and why; and when that was.
    pub(super) waits_for: Option<(Box<Reason>, Timestamp)>,
    /// It was said that it is held, and why.
    pub(super) held: Option<Box<Reason>>,
    /// When the history first told which content its tag points to, for a job that waits: since then it is that image.
    pub(super) seen_at: Option<Timestamp>,
    /// It was started, and is not held since.
    pub(super) under_way: bool,
    /// What an attempt noted for the ones after it.
    pub(super) memo: Option<String>,
    /// What it was to change, where it is held because its image was rolled back.
    pub(super) held_image: Option<ImageChange>,
    /// Where in the history it was said last that it is held.
    pub(super) held_at: Option<Position>,
    pub(super) end: Option<(State, Timestamp)>,
    /// Where in the history its end was said.
    pub(super) ended: Option<Position>,
    /// Its letter was written before its end was said.
    pub(super) laid_aside: bool,
}

pub(super) fn code(event: &Event) -> Option<&str> {
    event.data.reason.as_ref().map(|reason| reason.code.as_ref())
}

/// An ingress that gives a job up writes its letter first.
fn is_of_an_ingress(reason: &Reason) -> bool {
    reason.code == reason::NO_WORKER || reason.code == reason::NO_END
}

impl Record {
    pub(super) fn of(job: &Job) -> Record {
        let job = Arc::new(job.clone());
        Record {
            job,
            started: false,
            began: None,
            deadline_said: None,
            unanswered: Vec::new(),
            waits: false,
            waits_for: None,
            held: None,
            seen_at: None,
            under_way: false,
            memo: None,
            held_image: None,
            held_at: None,
            end: None,
            ended: None,
            laid_aside: false,
        }
    }

    /// The content that it is held for.
    pub(super) fn held_digest(&self) -> Option<&Digest> {
        self.held_image.as_ref()?.to.as_ref()?.digest()
    }

    /// Whether what was said last of it is that it is held.
    pub(super) fn is_said_to_be_held(&self) -> bool {
        self.held.is_some() && !self.waits && self.waits_for.is_none()
    }

    /// Of a job that ended its text is not asked any more: only the newest that succeeded may have to be carried
    /// out again, and is kept whole with the wishes.
    pub(super) fn lighten(&mut self) {
        if let Operation::DeployStack(_) = self.job.operation {
            let operation = Operation::DeployStack(StackText::of(""));
            self.job = Arc::new(Job { operation, ..(*self.job).clone() });
        }
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> Option<&str> {
        if let Operation::DeployStack(text) = &self.job.operation { Some(&text.compose) } else { None }
    }

    /// The first that was told counts: every worker, and every ingress, goes by the same.
    fn note_image(&mut self, held: &Event) {
        if let (Some(image), None) = (held.awaited_image(), self.seen_at) {
            self.job = Arc::new(Job::clone(&self.job).pinned_to(image));
            self.seen_at = Some(held.time);
        }
    }

    /// Notes what an event says of the job.
    pub(super) fn read(&mut self, event: &Event, position: Position) {
        if let Some(answered) = event.data.started {
            self.unanswered.retain(|(id, _)| *id != answered);
        }
        let state = event.state();
        if state.is_end() {
            // The first end in the history counts; later ones are void.
            if self.end.is_none() {
                self.end = Some((state, event.time));
                self.ended = Some(position);
                self.laid_aside = event.data.reason.as_ref().is_some_and(is_of_an_ingress);
            }
        } else if state == State::Started {
            self.started = true;
            self.began = Some(self.began.map_or(position, |first| first.min(position)));
            self.deadline_said = self.deadline_said.max(event.job().map(|job| job.deadline));
            self.under_way = true;
            self.memo = event.data.memo.clone().or(self.memo.take());
            self.held = None;
            self.waits = false;
            self.waits_for = None;
            self.held_image = None;
            if !self.unanswered.iter().any(|(id, _)| *id == event.id) {
                self.unanswered.push((event.id, event.data.alone));
            }
        } else if state == State::Held {
            self.note_image(event);
            self.held = event.data.reason.clone().map(Box::new);
            self.held_at = self.held_at.max(Some(position));
            self.under_way = false;
            self.waits = false;
            self.waits_for = None;
            self.held_image = event.data.image.clone().filter(|_| code(event) == Some(reason::BAD_IMAGE));
        } else if state == State::Retrying {
            self.waits = code(event) == Some(reason::BUSY);
            let counts = event.data.counted.unwrap_or(true);
            let why = event.data.reason.clone().filter(|_| !counts);
            self.waits_for = why.map(|why| (Box::new(why), event.time));
        }
    }
}
