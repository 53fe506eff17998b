//! What can go wrong between a worker and a system, by meaning.

use std::time::Duration;

use proto::ImageRef;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a system did not do what was asked, the same words for every kind of system. Each system's
/// `client.rs` turns its own answers into these; `verdict.rs` alone decides what follows.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No connection to the system: nothing was done.
    #[error("cannot reach {system}")]
    Unreachable {
        /// Which.
        system: String,
        /// Why.
        #[source]
        source: Source,
    },
    /// No connection to the system for as long as there was to wait for one: nothing was done.
    #[error("cannot reach {system}: {why}")]
    GivenUp {
        /// Which.
        system: String,
        /// What it was tried for, and for how long.
        why: String,
    },
    /// Nobody we trust vouches for its certificate: nothing was sent.
    #[error("the certificate of {system} is not trusted: {why}")]
    Untrusted {
        /// Which.
        system: String,
        /// What is wrong with it.
        why: String,
    },
    /// The connection broke, or no answer came in time: nobody knows whether it was done.
    #[error("{system} did not answer when asked to {attempted}")]
    NoAnswer {
        /// Which.
        system: String,
        /// What was asked.
        attempted: &'static str,
    },
    /// The system says that it cannot serve now.
    #[error("{system} cannot serve now: {answer}")]
    Unavailable {
        /// Which.
        system: String,
        /// Its words.
        answer: String,
        /// When to come back, where it said so.
        retry_after: Option<Duration>,
    },
    /// As many calls as the system may have at once are under way, and none ended in time. Nothing was done.
    #[error("{system} is busy with other jobs")]
    Busy {
        /// Which.
        system: String,
    },
    /// The system or registry refuses our key.
    #[error("{system} refuses the credentials: {answer}")]
    CredentialsRefused {
        /// Which.
        system: String,
        /// Its words.
        answer: String,
    },
    /// The service, stack or workload is not there.
    #[error("{system} has no {what}")]
    NotFound {
        /// Which system.
        system: String,
        /// What was looked for.
        what: String,
    },
    /// The target is there, and nothing of it is what was named.
    #[error("{system} has no {what}")]
    NoPart {
        /// Which system.
        system: String,
        /// What was looked for, and what there is.
        what: String,
    },
    /// The registry does not have the image.
    #[error("the registry has no {image}: {answer}")]
    ImageNotFound {
        /// Which.
        image: ImageRef,
        /// The registry's words.
        answer: String,
    },
    /// Somebody changed the target between our reading and our writing.
    #[error("the target changed while it was written")]
    Conflict,
    /// The system took the request apart and refuses it on its merits.
    #[error("{system} refuses to {attempted}: {answer}")]
    Refused {
        /// Which.
        system: String,
        /// What was asked.
        attempted: &'static str,
        /// Its words.
        answer: String,
    },
    /// What answered is not the system: a web page, as of what stands before it. Nothing was done.
    #[error("{system} refuses to {attempted}: {answer}")]
    OtherServer {
        /// Which.
        system: String,
        /// What was asked.
        attempted: &'static str,
        /// What came back, and what to look at.
        answer: String,
    },
    /// It was written, and the system stored something else in its place.
    #[error(
        "`{wanted}` was written, and something in {system} put `{stored}` in its place: that rolls out now, and was not \
         watched"
    )]
    Rewritten {
        /// Which system.
        system: String,
        /// The image that was written.
        wanted: String,
        /// What stands there.
        stored: String,
    },
    /// We do not do it, though the system might: by this, nothing was touched.
    #[error("Longshore refuses to {attempted} on {system}: {why}")]
    Declined {
        /// Which system.
        system: String,
        /// What was asked.
        attempted: &'static str,
        /// Why, and what to do about it.
        why: String,
    },
    /// The system's answer makes no sense to us.
    #[error("cannot understand the answer of {system} when asked to {attempted}: {answer}")]
    BadAnswer {
        /// Which.
        system: String,
        /// What was asked.
        attempted: &'static str,
        /// What it said, cut short.
        answer: String,
    },
}

impl TargetError {
    /// The same after something was written: what was begun is looked at again later, and is not over because somebody
    /// else answers for the system meanwhile.
    #[must_use]
    pub(in crate::target) fn of_what_was_begun(self) -> TargetError {
        if let TargetError::OtherServer { system, answer, .. } = self {
            TargetError::Unavailable { system, answer, retry_after: None }
        } else {
            self
        }
    }
}
