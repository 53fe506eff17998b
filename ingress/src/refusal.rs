//! Why what people decide is not carried out.

use jiff::Timestamp;
use proto::{
    JobId, State, TargetName,
    api::{JobName, LetterName},
};
use queue::QueueError;

use crate::timeline::TimelineError;

/// Why a decision is not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The history has not been read yet.
    #[error("the history has not been read yet")]
    Starting,
    /// The broker is away: nothing can be known of what it keeps.
    #[error("the broker is away")]
    Away,
    /// Nobody knows the name.
    #[error("`{0}` is not known")]
    Unknown(JobName),
    /// The job is alive, or ended otherwise.
    #[error("the job {id} is `{state}`")]
    NotDead {
        /// Which.
        id: JobId,
        /// As it is.
        state: State,
    },
    /// The job died, and its letter is not there yet.
    #[error("the job {0} has died just now")]
    JustDied(JobId),
    /// Somebody decided before.
    #[error("the dead job {id} was replayed or discarded before")]
    Closed {
        /// Which.
        id: JobId,
        /// The job that stands for it.
        by: Option<JobId>,
    },
    /// A newer job of the same thing was applied, or is going to be.
    #[error("the newer job {newer} is `{state}`")]
    NewerApplied {
        /// The newer one.
        newer: JobId,
        /// How it stands.
        state: State,
    },
    /// There is no job in the letter that this version could carry out.
    #[error("no job can be read in `{0}`")]
    Unreadable(LetterName),
    /// Whoever left the letter is none of the names that the fleet is known to log in under.
    #[error("`{letter}` was left by `{user}`")]
    LeftBy {
        /// Which.
        letter: LetterName,
        /// The broker's user.
        user: String,
    },
    /// The same, of a letter that is to be discarded, and might be replayed.
    #[error("`{letter}`, which was left by `{user}`, might be replayed")]
    Replayable {
        /// Which.
        letter: LetterName,
        /// The broker's user.
        user: String,
    },
    /// The job has ended.
    #[error("the job {id} has ended `{state}`")]
    Ended {
        /// Which.
        id: JobId,
        /// How.
        state: State,
    },
    /// The job runs without an approval.
    #[error("the job {id} needs no approval, it is `{state}`")]
    NeedsNoApproval {
        /// Which.
        id: JobId,
        /// As it is.
        state: State,
    },
    /// Another job stands for it since it was approved.
    #[error("the job {id} was approved, {made} stands for it")]
    Approved {
        /// Which.
        id: JobId,
        /// The one made of it.
        made: JobId,
    },
    /// The job is being called off.
    #[error("the job {id} is being called off by {cancel}")]
    CalledOff {
        /// Which.
        id: JobId,
        /// The cancel that has not ended yet.
        cancel: JobId,
    },
    /// Nobody approved the job in time.
    #[error("the job {id} could be approved until {until}")]
    ApprovalExpired {
        /// Which.
        id: JobId,
        /// When that was over.
        until: Timestamp,
    },
    /// A cancel is not called off.
    #[error("the job {0} is a cancel itself")]
    IsCancel(JobId),
    /// Nothing waits on the target to be released.
    #[error("nothing is held on `{0}`")]
    NothingHeld(TargetName),
    /// Nothing is known to wait there, and no worker told what the target itself remembers.
    #[error("nothing is known to be held on `{0}`, and no worker tells of it")]
    NotTold(TargetName),
    /// The queue did not do it.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The history could not be read.
    #[error(transparent)]
    History(#[from] TimelineError),
    /// It could not be read whether anything newer stands in the way.
    #[error("it is not known whether a newer job was applied since")]
    Unweighed(#[source] TimelineError),
}
