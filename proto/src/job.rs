//! One wish for one target.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ChainId, ImageRef, JobId, Operation, Slot, TargetName, Window};

/// One wish for one target, as it travels from an ingress to a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Version of these words: [`Job::VERSION`].
    pub version: u32,
    /// Its name and its place in the order of wishes.
    pub id: JobId,
    /// Shared by all jobs of one cause.
    pub chain: ChainId,
    /// Which target.
    pub target: TargetName,
    /// What is wished.
    pub operation: Operation,
    /// What it overwrites, so that readers who do not know the operation can still order it.
    pub slots: Vec<Slot>,
    /// Who or what asked.
    pub cause: Cause,
    /// When the ingress took it.
    pub accepted_at: Timestamp,
    /// Not to be carried out before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// To be given up after this time.
    pub deadline: Timestamp,
    /// What must be true before it may run.
    #[serde(default, skip_serializing_if = "Gates::is_open")]
    pub gates: Gates,
    /// The job it replays, or the held one it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replays: Option<JobId>,
    /// W3C trace context of the request that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// What must be true before a job may run; its `not_before` comes on top. A worker that meets one it does not
/// know leaves the job to a newer worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gates {
    /// Somebody has to approve it. An approval makes a new job without this gate; this one never runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approve: bool,
    /// Until when it waits for the approval or the window; [`Job::LONGEST_HOLD`] after it was accepted when it is
    /// not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_until: Option<Timestamp>,
    /// It may be carried out while this is open. Where it is closed when the job's turn comes, it waits for the next
    /// opening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Box<Window>>,
    /// Its image must not be a lower version than the one that its target runs: it came by a rule for versions that
    /// go upward only. It holds nothing; a job that does not pass is rejected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub upward: bool,
}

impl Gates {
    /// Whether nothing stands in the way.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Gates::default()
    }
}

/// What keeps a job from running for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It may run from this time on.
    Until(Timestamp),
    /// It waits to be approved, and is given up at this time.
    ForApproval(Timestamp),
    /// It waits for its window.
    ForWindow {
        /// When that opens, unless it is given up before.
        opens: Option<Timestamp>,
        /// When it is given up.
        until: Timestamp,
    },
}

impl Hold {
    /// When the hold ends by itself.
    #[must_use]
    pub fn ends(self) -> Timestamp {
        match self {
            Hold::Until(at) | Hold::ForApproval(at) => at,
            Hold::ForWindow { opens, until } => opens.unwrap_or(until),
        }
    }
}

/// Who or what asked for a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// The way it came.
    pub kind: CauseKind,
    /// The configured source, for a hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The person or token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The sender's own name for the delivery: an idempotency key, never order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
}

/// The way a job came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CauseKind {
    /// A webhook.
    Hook,
    /// A call of the HTTP API.
    Api,
    /// The command line.
    Cli,
    /// A message on the intake.
    Amqp,
    /// A look at the registry.
    Poll,
    /// A dead job replayed.
    Replay,
    /// A held job approved.
    Approve,
    /// A held job released.
    Release,
}

/// Why a body is no job that can be carried out here.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    /// Never was a job, and no other worker can make one of it.
    #[error("the message is not a job")]
    NotAJob(#[source] serde_json::Error),
    /// A later version of these words: a newer worker may take it.
    #[error("the job is of version {0}, this worker knows {known}", known = Job::VERSION)]
    NewerVersion(u64),
    /// An operation of a newer version.
    #[error("the job asks for `{0}`, which this worker does not know")]
    UnknownOperation(String),
    /// A gate of a newer version.
    #[error("the job waits for something this worker does not know")]
    UnknownGate(#[source] serde_json::Error),
}

impl Undecodable {
    /// Whether a newer worker may be able to read it.
    #[must_use]
    pub fn is_from_a_newer_version(&self) -> bool {
        match self {
            Undecodable::NotAJob(_) => false,
            Undecodable::NewerVersion(_) | Undecodable::UnknownOperation(_) | Undecodable::UnknownGate(_) => {
                true
            }
        }
    }
}

impl Job {
    /// The version of these words.
    pub const VERSION: u32 = 1;

    /// How long a job is held at most when nobody says otherwise.
    pub const LONGEST_HOLD: SignedDuration = SignedDuration::from_hours(7 * 24);

    /// Whether it may be held: then it is no wish that others give way to before it was started.
    #[must_use]
    pub fn is_gated(&self) -> bool {
        self.gates.approve
            || self.gates.window.is_some()
            || self.not_before.is_some_and(|at| at > self.accepted_at)
    }

    /// Whether it is for a lower version than `other`, and must not take its place: it goes upward only.
    #[must_use]
    pub fn is_below(&self, other: &Job) -> bool {
        let images = || Some((self.operation.image()?, other.operation.image()?));
        self.gates.upward && images().is_some_and(|(own, others)| own.is_lower_version_than(others))
    }

    /// The image that it waits with for an approval or a time. Who approves means that image, and it is that image
    /// which comes of age: none of what its tag may point to later.
    #[must_use]
    pub fn image_that_waits(&self) -> Option<&ImageRef> {
        let waits = self.gates.approve || self.not_before.is_some_and(|at| at > self.accepted_at);
        if let (Operation::SetImage { image, .. }, true) = (&self.operation, waits) {
            Some(image)
        } else {
            None
        }
    }

    /// The same job for the content of `image`, where that is what its tag was found to point to.
    #[must_use]
    pub fn pinned_to(mut self, image: &ImageRef) -> Job {
        if let Operation::SetImage { image: wished, .. } = &mut self.operation
            && wished.digest().is_none()
            && *wished == image.by_tag()
        {
            wished.clone_from(image);
        }
        self
    }

    /// What keeps it from running at `now`; none once it may run. Its deadline is not looked at: a hold does
    /// not use that up.
    #[must_use]
    pub fn hold(&self, now: Timestamp) -> Option<Hold> {
        let until = self.held_until();
        if self.gates.approve {
            return Some(Hold::ForApproval(until));
        }
        if let Some(at) = self.not_before.filter(|at| *at > now) {
            return Some(Hold::Until(at));
        }
        let closed = self.gates.window.as_ref().filter(|window| !window.is_open(now))?;
        let opens = closed.opens(now).filter(|opens| *opens < until);
        Some(Hold::ForWindow { opens, until })
    }

    /// When it is given up where it waits for an approval or a window.
    #[must_use]
    pub fn held_until(&self) -> Timestamp {
        let longest = self.accepted_at.checked_add(Job::LONGEST_HOLD).unwrap_or(Timestamp::MAX);
        self.gates.hold_until.unwrap_or(longest)
    }

    /// When it may run first as far as that is known beforehand: its time has come and its window is open. Its
    /// deadline is counted from there. One whose window does not open before it is given up never may.
    #[must_use]
    pub fn may_run_from(&self) -> Timestamp {
        let from = self.not_before.map_or(self.accepted_at, |at| at.max(self.accepted_at));
        match &self.gates.window {
            Some(window) => window.opens(from).unwrap_or_else(|| self.held_until().max(from)),
            None => from,
        }
    }

    /// The same job with `lasts` to be carried out in, from when it may run.
    #[must_use]
    pub fn lasting(mut self, lasts: Duration) -> Job {
        self.deadline = self.may_run_from().checked_add(lasts).unwrap_or(Timestamp::MAX);
        self
    }

    /// When it may run since, at `now`: the last opening of its window that has come, or its first one.
    #[must_use]
    pub fn may_run_since(&self, now: Timestamp) -> Timestamp {
        let first = self.may_run_from();
        let last = self.gates.window.as_ref().and_then(|window| window.open_since(first, now));
        last.unwrap_or(first)
    }

    /// Its deadline at `now`. It is counted anew from each opening of its window: the time in between is a hold.
    #[must_use]
    pub fn deadline_at(&self, now: Timestamp) -> Timestamp {
        let lasts = self.deadline.duration_since(self.may_run_from());
        let again = self.may_run_since(now).checked_add(lasts).unwrap_or(Timestamp::MAX);
        self.deadline.max(again)
    }

    /// Reads a job from a message.
    ///
    /// # Errors
    /// Tells a body that never was a job from one of a newer version, which is left to a newer worker.
    pub fn decode(body: &[u8]) -> Result<Job, Undecodable> {
        let value: serde_json::Value = serde_json::from_slice(body).map_err(Undecodable::NotAJob)?;
        if let Some(version) = value["version"].as_u64().filter(|v| *v > u64::from(Job::VERSION)) {
            return Err(Undecodable::NewerVersion(version));
        }
        if let Some(kind) =
            value["operation"]["type"].as_str().filter(|kind| !Operation::TYPES.contains(kind))
        {
            return Err(Undecodable::UnknownOperation(kind.to_owned()));
        }
        if let Some(gates) = value.get("gates") {
            serde_json::from_value::<Gates>(gates.clone()).map_err(Undecodable::UnknownGate)?;
        }
        serde_json::from_value(value).map_err(Undecodable::NotAJob)
    }

    /// The message that carries the job.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Infallible: string keys only, and no type here has a failing Serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }
}
