//! What a worker can change, one module for each kind of system.

mod certificates;
mod difference;
mod error;
pub(crate) mod findings;
pub mod kubernetes;
mod pinned;
pub mod portainer;
pub mod rancher;
pub mod rehearsal;
pub(crate) mod retry_after;
mod rolled_back;
pub mod swarm;
pub(crate) mod web;
mod wire;
mod wrong;

pub use web::holds_certificates;

use std::time::Duration;

use async_trait::async_trait;
use proto::{
    ImageRef, Job, JobId, Operation, PutOnHold, Reason, Tasks,
    ask::{Plan, TargetNow},
};
use tokio::sync::mpsc;

pub use error::TargetError;

/// One target on its system, cut to what carrying out a job needs: resolve → read → apply → watch.
///
/// Every call ends within a time of its own. Whatever it did, it may be called again.
#[async_trait]
pub trait Target: Send + Sync {
    /// The image as its system is to pull it: some registries have another address for the systems beside them.
    fn pulled_as(&self, image: &ImageRef) -> ImageRef {
        image.clone()
    }

    /// The image pinned to what its tag points to now; one that has a digest is only looked up.
    ///
    /// # Errors
    /// [`TargetError::ImageNotFound`] when the registry does not have it.
    async fn resolve(&self, image: &ImageRef) -> Result<ImageRef, TargetError>;

    /// What stands on the target now, for this job.
    ///
    /// # Errors
    /// [`TargetError::NotFound`] when the target is not on its system.
    async fn read(&self, job: &Job) -> Result<Box<dyn Found>, TargetError>;

    /// How it stands with the target now, for whoever asks.
    ///
    /// # Errors
    /// [`TargetError::NotFound`] when the target is not on its system.
    async fn look(&self) -> Result<TargetNow, TargetError>;

    /// The images that it is meant to run now: what a look tells too, without counting what runs.
    ///
    /// # Errors
    /// [`TargetError::NotFound`] when the target is not on its system.
    async fn images(&self) -> Result<Vec<ImageRef>, TargetError> {
        Ok(self.look().await?.images)
    }

    /// Notes again what the history knows to be on hold here, where the target does not remember it any more: whoever
    /// deploys there with another tool wipes it, and has released nothing. Replaces nothing that runs, and leaves alone
    /// what is being changed just now. Whether anything was noted.
    ///
    /// # Errors
    /// [`TargetError::Conflict`] when somebody changed the target meanwhile.
    async fn remind(&self, _on_hold: &OnHold) -> Result<bool, TargetError> {
        Ok(false)
    }

    /// What `operation` would change if it were carried out now; nothing is changed.
    ///
    /// # Errors
    /// [`TargetError::Refused`] where it would be refused.
    async fn plan(&self, operation: &Operation) -> Result<Plan, TargetError> {
        Err(TargetError::Refused {
            system: "the target".to_owned(),
            attempted: "say what would change",
            answer: format!("nothing can be told of `{}` here", operation.type_name()),
        })
    }

    /// Whether the target can carry out `operation` at all; where it cannot, why. Asked before anything is
    /// touched.
    ///
    /// # Errors
    /// A sentence for people.
    fn accepts(&self, operation: &Operation) -> Result<(), String>;

    /// Whether a write on stale ground is refused ([`TargetError::Conflict`]) by the system itself. Where it is
    /// not, a worker that was paused may overwrite a newer job, and undoes that afterwards.
    fn refuses_stale_writes(&self, _operation: &Operation) -> bool {
        true
    }

    /// Whether a write sends the whole target, so that one on stale ground takes back what others brought to its other
    /// parts meanwhile.
    fn writes_as_a_whole(&self, _operation: &Operation) -> bool {
        false
    }

    /// Whether what a job writes is not one write but several, so that it may end with only some of them done: see
    /// [`Found::stands_in_part`].
    fn writes_in_parts(&self, operation: &Operation) -> bool {
        !self.refuses_stale_writes(operation)
    }

    /// Watches until the end of what `wanted` began is known, and tells how far it is on the way. What a
    /// former worker applied is watched just the same.
    ///
    /// # Errors
    /// When the system cannot be asked any more.
    async fn watch(&self, wanted: &Wanted, progress: &mpsc::Sender<Progress>)
    -> Result<Outcome, TargetError>;

    /// What the deadline, passing while `wanted` was watched, brings it to: `reason`, with what the system has to
    /// say, or the end that it has come to meanwhile.
    ///
    /// # Errors
    /// When the system cannot be asked any more.
    async fn give_up(
        &self,
        _wanted: &Wanted,
        reason: Reason,
        _progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        Ok(Outcome::failed(reason))
    }

    /// What becomes of that part of `wanted` which was written, where the rest of it never will be, for `reason`: see
    /// [`Found::stands_in_part`].
    ///
    /// # Errors
    /// When the system cannot be asked any more.
    async fn end_half_way(
        &self,
        _wanted: &Wanted,
        reason: Reason,
        _progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        Ok(Outcome::failed(reason))
    }
}

/// What was read of a target: the ground of a decision, and of one conditional write.
#[async_trait]
pub trait Found: Send + Sync {
    /// Where `id` stands against what was last applied.
    fn standing(&self, id: JobId) -> Standing;

    /// Whether something of the target stands as `id` made it, be it all that it wished or not. Asked where a write
    /// is no single one.
    fn stands_in_part(&self, _id: JobId) -> bool {
        false
    }

    /// The image the target is meant to run now.
    fn image(&self) -> Option<ImageRef>;

    /// The images that it, or its parts, are meant to run, as far as a job that was for all of it may have brought them.
    fn images(&self) -> Vec<ImageRef> {
        self.image().into_iter().collect()
    }

    /// What the target ran well before what it is meant to run now, where it remembers.
    fn before(&self) -> Option<ImageRef>;

    /// The image that `id` was about to bring, where the target remembers.
    fn tried(&self, _id: JobId) -> Option<ImageRef> {
        None
    }

    /// The job that put the target on hold, while it is.
    fn on_hold(&self) -> Option<JobId> {
        None
    }

    /// Heeds what the history knows to be on hold here, whatever the target remembers itself.
    fn heed(&mut self, _on_hold: &[PutOnHold]) {}

    /// Whether any image is known to have been rolled back here.
    fn remembers_bad(&self) -> bool {
        false
    }

    /// Whether the image was rolled back here before, and is not what the target is meant to run by now.
    fn is_bad(&self, _image: &ImageRef) -> bool {
        false
    }

    /// What a text would bring to parts of the target that is on hold there, as far as the job `id` has yet to write it.
    ///
    /// # Errors
    /// When the registry cannot be asked what the tags of such a part point to.
    async fn bad_parts(&self, _id: JobId) -> Result<Vec<BadPart>, TargetError> {
        Ok(Vec::new())
    }

    /// The image that `operation` means on this target, where it names none itself: a redeploy means the one that
    /// stands there, a rollback the one before. None where the operation brings no image, or each part of the
    /// target its own.
    ///
    /// # Errors
    /// [`TargetError::Refused`] when there is none.
    fn meant(&self, operation: &Operation) -> Result<Option<ImageRef>, TargetError> {
        let _ = operation;
        Ok(None)
    }

    /// Whether the target has no note of any job, though it may keep some: somebody wiped them, or there was none.
    fn has_no_marks(&self) -> bool {
        false
    }

    /// The job that brought what `operation` goes back to, where the target does not tell whether that held, with what
    /// is to be said where it did not.
    fn in_question(&self, _operation: &Operation) -> Option<(JobId, TargetError)> {
        None
    }

    /// Whether `wanted` could be written as things stand; nothing is. Asked of a wish that waits for its turn.
    ///
    /// # Errors
    /// What keeps it from being written.
    async fn would_take(&self, _wanted: &Wanted) -> Result<(), TargetError> {
        Ok(())
    }

    /// Writes what is wanted, on the condition that nothing changed since it was read.
    ///
    /// # Errors
    /// [`TargetError::Conflict`] when something did: read and decide again.
    async fn apply(self: Box<Self>, wanted: &Wanted) -> Result<(), TargetError>;
}

/// What is on hold on a target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnHold {
    /// The job that put all of it on hold, while it is.
    pub target: Option<JobId>,
    /// The images that are not to be deployed there.
    pub images: Vec<PutOnHold>,
}

/// An image that is on hold on a part of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPart {
    /// The part, as the text calls it.
    pub part: String,
    /// The image, pinned to a digest.
    pub image: ImageRef,
}

/// A job with what was resolved for it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The job.
    pub job: Job,
    /// The image it brings, pinned to a digest; none when it brings none.
    pub image: Option<ImageRef>,
}

/// Where a job stands against the mark that the last one left on the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// An older job, or none, was applied last: apply.
    Open,
    /// This very job was applied: a worker crashed after it, go on watching.
    Applied,
    /// This very job was tried, and the system rolled it back.
    RolledBack,
    /// A newer job was applied: this one is superseded by it.
    Newer(JobId),
}

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Tasks that run the wanted image.
    pub tasks: Tasks,
    /// A line for people, in the words of the system.
    pub line: String,
}

/// How a rollout ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What it came to.
    pub end: End,
    /// The tasks at the end.
    pub tasks: Option<Tasks>,
    /// What the system said, line by line.
    pub output: Vec<String>,
    /// What whoever reads of a success has to know beside it.
    pub notes: Vec<Reason>,
    /// The images that did not hold, and are noted on the target as such.
    pub put_on_hold: Vec<PutOnHold>,
}

impl Outcome {
    /// A failure of which nothing else is known.
    pub(crate) fn failed(reason: Reason) -> Outcome {
        Outcome::of(End::Failed(reason))
    }

    /// An end of which nothing else is known.
    pub(crate) fn of(end: End) -> Outcome {
        Outcome { end, tasks: None, output: Vec::new(), notes: Vec::new(), put_on_hold: Vec::new() }
    }
}

/// What a rollout came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The target runs what was wanted, and it stayed up.
    Converged,
    /// The system went back to what ran before.
    RolledBack(Reason),
    /// The new image did not hold, or the system refused it on its merits.
    Failed(Reason),
    /// Somebody else changed the target meanwhile; the job whose mark stands there, if any.
    Superseded {
        /// The newer job.
        by: Option<JobId>,
        /// What was seen.
        reason: Reason,
    },
}

/// Longest wait for one answer of a system.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
