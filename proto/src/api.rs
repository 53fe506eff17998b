//! Bodies of the HTTP API.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ChainId, Event, FaultKind, Follow, ImageRef, Job, JobId, Operation, PoolName, Reason, State, TargetGates,
    TargetName,
    ask::{Plan, PortainerStackNumber, PortainerStackShown, TargetNow},
};

mod letter;

pub use letter::{
    DeadJob, Discarded, JobName, JobNameError, Letter, LetterBody, LetterName, Shown, UnreadableLetter,
    UnreadableStatus,
};

/// Answer to a hook or a call that made jobs (202).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// Shared by the jobs below.
    pub chain: ChainId,
    /// One for each target.
    pub jobs: Vec<AcceptedJob>,
    /// Targets that follow the image and yet got no job, beside others that did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
    /// What the push waits for besides: targets that workers have not told of yet may follow it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// A target that got no job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// Its name.
    pub target: TargetName,
    /// Why it got none.
    pub why: String,
}

/// One job that was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcceptedJob {
    /// Its name.
    pub id: JobId,
    /// Its target.
    pub target: TargetName,
    /// Where its state can be asked for.
    pub status_url: String,
    /// With `?wait=`, once all ended: how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// What it waits for as long as that stays so, where no worker of its pool is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Reason>,
}

impl AcceptedJob {
    /// The answer for `job` from the server at `base_url`, which has no slash at its end.
    #[must_use]
    pub fn of(job: &Job, base_url: &str) -> AcceptedJob {
        let status_url = format!("{base_url}/v1/jobs/{}", job.id);
        AcceptedJob { id: job.id, target: job.target.clone(), status_url, state: None, waits: None }
    }
}

/// Answer to an authenticated event that deploys nothing (200).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ignored {
    /// Always empty.
    pub jobs: Vec<AcceptedJob>,
    /// Why nothing came of it.
    pub ignored: String,
}

/// Answer to a push that cannot be matched yet (202): it is kept, and matched once a worker has told of its targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// Always empty.
    pub jobs: Vec<AcceptedJob>,
    /// What it waits for.
    pub kept: String,
}

/// A wish as a caller of `POST /v1/jobs` writes it: an operation, or just an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Wish {
    /// A job without the parts that an ingress adds.
    Operation {
        /// Which target.
        target: TargetName,
        /// What is wished.
        operation: Operation,
        /// Not to be carried out before this time, at most seven days ahead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<Timestamp>,
        /// Given up after this time, at most 24 hours after it may run: what its target says by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Timestamp>,
        /// Version of these words, as a job says it: 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u32>,
        /// Whatever the target's window and minimum age say; an approval is needed all the same.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        now: bool,
    },
    /// Short for `set-image`.
    Image {
        /// Which target.
        target: TargetName,
        /// The image to run.
        image: ImageRef,
        /// The service within the target.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
        /// Not to be carried out before this time, at most seven days ahead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<Timestamp>,
        /// Given up after this time, at most 24 hours after it may run: what its target says by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Timestamp>,
        /// Version of these words, as a job says it: 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u32>,
        /// Whatever the target's window and minimum age say; an approval is needed all the same.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        now: bool,
    },
}

/// A job with what became of it (`GET /v1/jobs/{id}`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobStatus {
    /// The job.
    #[serde(flatten)]
    pub job: Job,
    /// The state it reached last.
    pub state: State,
    /// Everything the history says of it, oldest first; empty while it says nothing yet.
    pub events: Vec<Event>,
    /// Of a held job: why it is, as things stand. What its events say was so when they were said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Reason>,
    /// Of a job that waits to be carried out while no worker of its pool is running: that it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Reason>,
    /// Of a dead job: what is kept of it until somebody replays or discards it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter: Option<Letter>,
}

/// A job as a list shows it: without its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobSummary {
    /// The job.
    #[serde(flatten)]
    pub job: Job,
    /// The state it reached last.
    pub state: State,
    /// Of a held job: why it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Reason>,
    /// Of a job that names no image, as a rollback: the one that it brought, as far as its end tells of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageRef>,
}

/// A page of what could not be carried out, the newest death first (`GET /v1/jobs?state=dead`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadPage {
    /// The jobs of this page.
    pub jobs: Vec<DeadJob>,
    /// The letters of this page in which no job can be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableLetter>,
    /// `before` of the next page, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<LetterName>,
}

/// A page of jobs, newest first (`GET /v1/jobs`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobPage {
    /// The jobs of this page.
    pub jobs: Vec<JobSummary>,
    /// `before` of the next page, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<JobId>,
}

/// What can be deployed (`GET /v1/targets`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetList {
    /// By name.
    pub targets: Vec<Target>,
    /// What was meant to be a target and is none, and what else does not work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<TargetFault>,
}

/// Something on a system that cannot be a target, or does not work, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetFault {
    /// The pool whose workers found it.
    pub pool: PoolName,
    /// The system, as the configuration calls it.
    pub system: String,
    /// What it is, as in ``service `web` ``.
    pub thing: String,
    /// What is wrong.
    pub text: String,
    /// How to mend it.
    pub hint: String,
    /// What it keeps from working.
    #[serde(default)]
    pub kind: FaultKind,
    /// The targets that are concerned, where it is not the system as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetName>,
}

/// A target and what it follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Its name.
    pub target: TargetName,
    /// The system it runs on, as the configuration calls it.
    pub system: String,
    /// The pushed images it takes.
    pub follows: Vec<Follow>,
    /// How long a job for it may take, as in `1h30m`.
    pub deadline: String,
    /// What stands between a push and its deploy.
    #[serde(default, skip_serializing_if = "TargetGates::is_open")]
    pub gates: TargetGates,
    /// Found on its system by its labels; else the configuration declares it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub discovered: bool,
}

/// A target and how it stands now (`GET /v1/targets/{pool}/{name}`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetStatus {
    /// What is declared of it.
    #[serde(flatten)]
    pub target: Target,
    /// What a worker just saw.
    pub now: TargetNow,
    /// What does not work: of its system, or of looking for what it follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<TargetFault>,
}

/// What an operation would change (`POST /v1/targets/{pool}/{name}/plan`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetPlan {
    /// The target.
    pub target: TargetName,
    /// What was asked about.
    pub operation: Operation,
    /// What a worker found.
    #[serde(flatten)]
    pub plan: Plan,
}

/// Every stack of every Portainer, be it a target or not (`GET /v1/stacks`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StackList {
    /// By pool, system and name.
    pub stacks: Vec<PortainerStackShown>,
    /// What could not be looked at, in sentences for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// What `POST /v1/targets/find` takes: stacks of a Portainer, of which somebody knows no more than their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StacksSought {
    /// The Portainer's address.
    pub portainer: String,
    /// At most 100 of its stacks.
    pub stacks: Vec<PortainerStackNumber>,
}

/// Which targets they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StacksFound {
    /// Whether some worker has a system at that address.
    pub known: bool,
    /// The target of each, in the order in which they were asked for; none where it is no target.
    pub targets: Vec<Option<TargetName>>,
}

/// What `POST /v1/targets/{pool}/{name}/rollback` takes; an empty body rolls everything back to what ran well last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackWish {
    /// The job whose image is to run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The service within the target, where the target is a stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// What `POST /v1/targets/{pool}/{name}/hold` takes; an empty body puts the whole target on hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldWish {
    /// The image that is not to be deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageRef>,
}

/// What went wrong with a request (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `/problems/<slug>`.
    #[serde(rename = "type")]
    pub type_url: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong with this request.
    pub detail: String,
    /// How to mend it.
    pub hint: String,
}
