//! Why something ended or went on as it did: a code for machines, a sentence for people, a next step.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a job is in the state its event says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// Stable, kebab-case; one of the constants of this module, or a newer one.
    pub code: Cow<'static, str>,
    /// A sentence for a person, with the words of the system that said it.
    pub text: String,
    /// What to do next, where there is something to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Reason {
    /// A reason without a next step.
    #[must_use]
    pub fn new(code: &'static str, text: impl Into<String>) -> Reason {
        Reason { code: Cow::Borrowed(code), text: text.into(), hint: None }
    }

    /// The same with a next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Reason {
        self.hint = Some(hint.into());
        self
    }
}

/// A newer wish for the same thing was accepted or has run.
pub const NEWER_WISH: &str = "newer-wish";
/// Somebody else's job is at work on the target.
pub const BUSY: &str = "busy";
/// Nothing was heard of it though workers were free: its message was taken for lost, and published once more.
pub const UNHEARD: &str = "unheard";
/// The system has as much to do at once as it may.
pub const SYSTEM_BUSY: &str = "system-busy";
/// The worker was asked to stop, or lost its broker, before the job ended.
pub const INTERRUPTED: &str = "interrupted";
/// The system that runs the target could not be reached.
pub const UNREACHABLE: &str = "unreachable";
/// Nobody that the worker trusts vouches for the system's certificate.
pub const UNTRUSTED: &str = "certificate-untrusted";
/// The system answered that it cannot serve now.
pub const UNAVAILABLE: &str = "unavailable";
/// The system refused the credentials.
pub const CREDENTIALS_REFUSED: &str = "credentials-refused";
/// The target is not in any configuration of its pool's workers.
pub const UNKNOWN_TARGET: &str = "unknown-target";
/// The target's service, stack or workload is not on its system.
pub const NOT_FOUND: &str = "not-found";
/// The registry does not have the image.
pub const IMAGE_NOT_FOUND: &str = "image-not-found";
/// The new tasks did not come up or did not stay up.
pub const ROLLOUT_FAILED: &str = "rollout-failed";
/// No node takes the new tasks.
pub const NO_SUITABLE_NODE: &str = "no-suitable-node";
/// The system went back to the image before.
pub const ROLLED_BACK: &str = "rolled-back";
/// Somebody else changed the target during the rollout.
pub const CHANGED_ELSEWHERE: &str = "changed-elsewhere";
/// The system took the request apart and refused it.
pub const REFUSED: &str = "refused";
/// The deadline passed.
pub const DEADLINE: &str = "deadline";
/// It was called off.
pub const CANCELLED: &str = "cancelled";
/// Its time has not come yet.
pub const NOT_BEFORE: &str = "not-before";
/// The window in which its target may be deployed is closed.
pub const WINDOW: &str = "window";
/// A higher version than the one wished runs on a target that takes higher ones alone.
pub const DOWNGRADE: &str = "downgrade";
/// Somebody has to approve it first.
pub const NEEDS_APPROVAL: &str = "needs-approval";
/// Nobody approved it in time.
pub const HOLD_EXPIRED: &str = "hold-expired";
/// It came too late to call the other job off.
pub const TOO_LATE: &str = "too-late";
/// The image was rolled back when it was deployed before, and nobody released it since.
pub const BAD_IMAGE: &str = "bad-image";
/// Somebody put the target on hold.
pub const ON_HOLD: &str = "on-hold";
/// An earlier job for the very same image is held already.
pub const HELD_ALREADY: &str = "held-already";
/// Whoever asked may not have it.
pub const NOT_ALLOWED: &str = "not-allowed";
/// A message of the same id asked for something else before.
pub const KEY_REUSED: &str = "key-reused";
/// The job could not be read.
pub const UNDECODABLE: &str = "undecodable";
/// The job asks for something no worker here knows.
pub const UNKNOWN_WORDS: &str = "unknown-words";
/// The worker itself failed (a bug): the text says how.
pub const INTERNAL: &str = "internal";
/// The worker crashed at this job, twice while it did nothing else.
pub const POISON: &str = "poison";
/// The broker put the job among the dead letters itself, or somebody did without saying why.
pub const GIVEN_UP: &str = "given-up";
/// Workers crashed while the job was under way: it waits for its turn to be carried out alone.
pub const QUARANTINED: &str = "quarantined";
/// An older job's late write was undone: what the newest successful job wished stands again.
pub const PUT_BACK: &str = "put-back";
/// The target already ran the wanted image.
pub const UNCHANGED: &str = "unchanged";
/// What was wished stands there, but the target is stopped: nothing was started.
pub const STOPPED: &str = "stopped";
/// The tag was deployed as it is: nobody told the worker what it points to.
pub const NOT_PINNED: &str = "not-pinned";
/// Part of the target stays as it was, since its own settings say so.
pub const PARTITION: &str = "partition";
/// The system stored another image than the one that was written.
pub const REWRITTEN: &str = "image-rewritten";
/// Part of the target was left as newer jobs made it.
pub const NEWER_KEPT: &str = "newer-kept";
/// Part of the target was left as it is: what was asked for cannot be done there, or was not meant for it.
pub const LEFT_ALONE: &str = "left-alone";
/// What the target, or its parts, were rolled back to, where that is not what one would expect.
pub const WENT_BACK: &str = "went-back";
/// Variables of the compose text were not given: nothing stands in their place.
pub const UNSET_VARIABLES: &str = "unset-variables";
/// No worker ever served the pool of the job's target, or none was there to begin with the job in its time.
pub const NO_WORKER: &str = "no-worker";
/// The job was begun, its time is over, and nobody said how it ended.
pub const NO_END: &str = "no-end";
