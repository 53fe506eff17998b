//! What Portainer was asked for, and of which nobody knows yet what became. An attempt at a job is let go of sooner than a
//! deploy may take: the next one looks on for the rest of that time, and asks for nothing a second time before.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use proto::JobId;
use tokio::time::Instant;

use super::{PortainerStack, objects::Stack, place::Where, write::Waits};
use crate::target::TargetError;

/// What one worker asked of one Portainer.
#[derive(Default)]
pub(super) struct Asked {
    questions: Mutex<HashMap<About, Question>>,
    /// By stack, the file that was written last.
    writes: Mutex<HashMap<u64, Write>>,
}

/// What a question is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum About {
    /// A stack of this name that is to be made in an environment.
    Making(u64, String),
    /// A stack that is to be deployed as it is, started, stopped or moved.
    Stack(u64),
    /// A stack of this name that is to be removed from an environment.
    Removing(u64, String),
}

/// A deploy that was asked for, and that no file tells of.
#[derive(Debug, Clone)]
pub(super) struct Question {
    job: JobId,
    /// The record as it was; none where there was none.
    before: Option<Stack>,
    /// For how long Portainer may be at work on it.
    until: Instant,
    /// It is done, and its job is not at its end yet.
    is_done: bool,
}

/// A file that was written.
#[derive(Debug, Clone)]
struct Write {
    text: String,
    begun: Begun,
    /// Whether Portainer is known not to be at work on it any more, well or not.
    is_over: bool,
}

/// When a write began, and the date that its record had then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    pub(super) at: Instant,
    pub(super) updated_at: i64,
}

impl Question {
    /// Whether the record says that it was carried out, or is being.
    fn is_carried_out(&self, now: &Stack) -> bool {
        let told = |stack: &Stack| (stack.updated_at, stack.status, stack.environment);
        self.before.as_ref().is_none_or(|before| told(before) != told(now))
    }

    fn has_time(&self) -> bool {
        !self.is_done && Instant::now() < self.until
    }
}

impl Asked {
    /// Notes a question right before it is asked.
    pub(super) fn note(&self, about: About, job: JobId, before: Option<Stack>, longest: Duration) {
        let mut questions = locked(&self.questions);
        questions.retain(|_, known| known.is_done || known.has_time());
        questions.insert(about, Question { job, before, until: Instant::now() + longest, is_done: false });
    }

    /// Notes which record a job is about to remove, until the job ends: once it is gone, its number alone tells it from one
    /// that is not to be seen.
    fn note_removal(&self, about: About, job: JobId, stack: &Stack) {
        let question = Question { job, before: Some(stack.clone()), until: Instant::now(), is_done: true };
        locked(&self.questions).insert(about, question);
    }

    /// What became of it is known, or nobody waits for it any more. What is done is kept until its job ends: an attempt
    /// that is let go of while it watches is followed by one that finds nothing of it written anywhere.
    pub(super) fn settle(&self, about: &About, is_done: bool) {
        let mut questions = locked(&self.questions);
        match questions.get_mut(about) {
            Some(question) if is_done => question.is_done = true,
            Some(_) | None => _ = questions.remove(about),
        }
    }

    /// The job is at its end, or what it asked for is to be asked for anew.
    pub(super) fn forget(&self, job: JobId) {
        locked(&self.questions).retain(|_, question| question.job != job);
    }

    fn question(&self, about: &About) -> Option<Question> {
        locked(&self.questions).get(about).cloned()
    }

    /// Notes a write right before it is begun.
    pub(super) fn note_write(&self, stack: &Stack, text: &str) {
        let begun = Begun { at: Instant::now(), updated_at: stack.updated_at };
        let write = Write { text: text.to_owned(), begun, is_over: false };
        locked(&self.writes).insert(stack.id, write);
    }

    /// When this text was written, as far as this worker knows. Another one may have written it: then it counts from the
    /// first look at it.
    pub(super) fn write_begun(&self, stack: &Stack, text: &str) -> Begun {
        let known = |write: &&Write| write.text == text && !write.is_over;
        let begun = locked(&self.writes).get(&stack.id).filter(known).map(|write| write.begun);
        begun.unwrap_or_else(|| {
            self.note_write(stack, text);
            Begun { at: Instant::now(), updated_at: stack.updated_at }
        })
    }

    /// Notes that Portainer is not at work on this text any more.
    pub(super) fn note_over(&self, stack: u64, text: &str) {
        let mut writes = locked(&self.writes);
        if let Some(write) = writes.get_mut(&stack).filter(|write| write.text == text) {
            write.is_over = true;
        }
    }

    /// Whether this worker knows that Portainer is done with this text.
    pub(super) fn is_over(&self, stack: u64, text: &str) -> bool {
        locked(&self.writes).get(&stack).is_some_and(|write| write.text == text && write.is_over)
    }

    /// Whether this worker wrote this text, and does not know what became of it.
    pub(super) fn is_in_doubt(&self, stack: u64, text: &str) -> bool {
        locked(&self.writes).get(&stack).is_some_and(|write| write.text == text && !write.is_over)
    }
}

impl PortainerStack {
    /// What a question about the making of this stack is kept under.
    pub(super) fn making_in(&self, environment: u64) -> About {
        About::Making(environment, super::objects::normalized(&self.name))
    }

    /// Notes that Portainer is asked now.
    pub(super) fn note_asked(&self, about: About, job: JobId, before: Option<&Stack>) {
        let portainer = &self.portainer;
        portainer.asked.note(about, job, before.cloned(), portainer.client.longest_deploy());
    }

    /// Looks on at what was asked of a stack before, and whose attempt was let go of. Whether `job` has what it wants by
    /// that: else it is to be asked for.
    ///
    /// # Errors
    /// [`TargetError::Conflict`] where it was another job's and is done: what was read before is old.
    pub(super) async fn has_been_asked(&self, stack: &Stack, job: JobId) -> Result<bool, TargetError> {
        let about = About::Stack(stack.id);
        let Some(question) = self.portainer.asked.question(&about) else { return Ok(false) };
        if question.is_done {
            return Ok(question.job == job);
        }
        let mut waits = Waits::new(&self.name);
        let is_done = loop {
            match self.portainer.client.stack(stack.id, &self.name).await {
                Ok(now) if question.is_carried_out(&now) => break true,
                Ok(_) if !question.has_time() => break false,
                Err(error) if !question.has_time() => return Err(error),
                Ok(_) | Err(_) => waits.go_on().await,
            }
        };
        self.portainer.asked.settle(&about, is_done);
        if is_done && question.job != job { Err(TargetError::Conflict) } else { Ok(is_done) }
    }

    /// The same for a stack that is being made: the record comes after its first deploy.
    ///
    /// # Errors
    /// [`TargetError::Conflict`] once it is there.
    pub(super) async fn wait_while_it_is_made(&self, environment: u64) -> Result<(), TargetError> {
        let about = self.making_in(environment);
        let Some(question) = self.portainer.asked.question(&about).filter(|question| !question.is_done)
        else {
            return Ok(());
        };
        let mut waits = Waits::new(&self.name);
        loop {
            match self.find().await {
                // Who asked for it is kept: the next look finds it made, and knows for whom.
                Ok(Where::Here(_)) => return Err(TargetError::Conflict),
                Ok(Where::Nowhere(_)) if !question.has_time() => break,
                Err(error) if !question.has_time() => return Err(error),
                Ok(Where::Nowhere(_)) | Err(_) => waits.go_on().await,
            }
        }
        self.portainer.asked.settle(&about, false);
        Ok(())
    }

    /// Notes which stack this job has Portainer remove.
    pub(super) fn note_removal(&self, stack: &Stack, job: JobId) {
        self.portainer.asked.note_removal(self.removing_from(stack.environment), job, stack);
    }

    /// The number of the stack that an earlier attempt at this job had Portainer remove.
    pub(super) fn was_to_be_removed(&self, environment: u64, job: JobId) -> Option<u64> {
        let question = self.portainer.asked.question(&self.removing_from(environment));
        question.filter(|question| question.job == job)?.before.map(|stack| stack.id)
    }

    fn removing_from(&self, environment: u64) -> About {
        About::Removing(environment, super::objects::normalized(&self.name))
    }

    /// Whether a stack that is there now was made for this job, by an attempt that did not see it come.
    pub(super) fn was_made_for(&self, stack: &Stack, job: JobId) -> bool {
        let question = self.portainer.asked.question(&self.making_in(stack.environment));
        question.is_some_and(|question| question.job == job)
    }
}

/// What it guards is whole at every moment, also where a holder panicked.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
