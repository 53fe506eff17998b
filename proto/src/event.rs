//! What became of a job, as CloudEvents 1.0.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};
use uuid::Uuid;

use crate::{ImageRef, Job, JobId, Reason, TargetName, reason};

/// `source` of every event: subscribers drop repeats by (`source`, `id`), and a repeat may come from
/// another process than the first.
pub const SOURCE: &str = "/longshore";

const TYPE_PREFIX: &str = "longshore.job.";

/// A state a job reached, in the structured JSON form of CloudEvents 1.0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Always `1.0`.
    pub specversion: String,
    /// The same for a resend, another for another utterance.
    pub id: EventId,
    /// Always [`SOURCE`].
    pub source: String,
    /// `longshore.job.<state>`.
    #[serde(rename = "type")]
    pub type_name: TypeName,
    /// The target.
    pub subject: TargetName,
    /// When it was said.
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// W3C trace context of the request that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What is said.
    pub data: EventData,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventData {
    /// The whole job in `accepted`, `held`, `started`, `dead`; elsewhere its id.
    pub job: JobOrId,
    /// The state it reached.
    pub state: State,
    /// Which attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Why, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The job that superseded, approved or cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<JobId>,
    /// The image before and the image wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageChange>,
    /// How many tasks run the wanted image, and how many should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Tasks>,
    /// What the system said, line by line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// In an end: the images that are on hold since, because they did not hold. They are not deployed there again until
    /// somebody releases them, whatever becomes of what the target itself remembers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub put_on_hold: Vec<PutOnHold>,
    /// Milliseconds since the job was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// In `retrying`: whether this attempt counts against the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<bool>,
    /// In `retrying`: not before which it is looked at again, by the clock of whoever says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_at: Option<Timestamp>,
    /// In `started`: the worker does nothing else meanwhile, since the job was there when workers crashed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// In a `started` that is said a second time: what a later attempt at the job has to know, and the target will not be
    /// able to tell, since nothing of it may be left then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
    /// In what comes after a `started`: which one. One that nothing comes after was cut off by a crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<EventId>,
}

/// The job, or only its name.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum JobOrId {
    /// All of it.
    Job(Box<Job>),
    /// Its name.
    Id(JobId),
}

/// By the form that it has: tried one after the other, each event would be taken to pieces first and then read from those.
impl<'de> Deserialize<'de> for JobOrId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JobOrId, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = JobOrId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a job, or the id of one")
            }

            fn visit_str<E: de::Error>(self, id: &str) -> Result<JobOrId, E> {
                JobId::deserialize(id.into_deserializer()).map(JobOrId::Id)
            }

            fn visit_map<A: MapAccess<'de>>(self, job: A) -> Result<JobOrId, A::Error> {
                let job = Job::deserialize(MapAccessDeserializer::new(job))?;
                Ok(JobOrId::Job(Box::new(job)))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// The image before and the image wanted, with digests where they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageChange {
    /// What ran before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<ImageRef>,
    /// What is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<ImageRef>,
}

/// An image that is on hold on a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PutOnHold {
    /// The image, with its digest.
    pub image: ImageRef,
    /// The part of the target where it is, as the target calls it; none where the target has no parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
}

/// How far a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tasks {
    /// Tasks that run the wanted image.
    pub running: u64,
    /// Tasks that should.
    pub wanted: u64,
}

/// A name for one utterance: a UUIDv5 of job, state, attempt and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct EventId(Uuid);

/// Where a job is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Taken, and durable.
    Accepted,
    /// Waits for a time, an approval, or a release.
    Held,
    /// A worker began.
    Started,
    /// Goes on; live only, not in the history.
    Progress,
    /// Comes back later.
    Retrying,
    /// The target runs what was wished, and stayed up.
    Succeeded,
    /// The target is back on what it ran before.
    RolledBack,
    /// The target took it and it did not hold, or refused it on its merits.
    Failed,
    /// Could not be carried out; waits among the dead letters.
    Dead,
    /// A newer wish took its place.
    Superseded,
    /// Refused before it touched the target.
    Rejected,
    /// Called off before it touched the target.
    Cancelled,
}

impl State {
    /// Every state, in the order of a life.
    pub const ALL: [State; 12] = [
        State::Accepted,
        State::Held,
        State::Started,
        State::Progress,
        State::Retrying,
        State::Succeeded,
        State::RolledBack,
        State::Failed,
        State::Dead,
        State::Superseded,
        State::Rejected,
        State::Cancelled,
    ];

    /// The state as it stands on the wire and in routing keys.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::Accepted => "accepted",
            State::Held => "held",
            State::Started => "started",
            State::Progress => "progress",
            State::Retrying => "retrying",
            State::Succeeded => "succeeded",
            State::RolledBack => "rolled-back",
            State::Failed => "failed",
            State::Dead => "dead",
            State::Superseded => "superseded",
            State::Rejected => "rejected",
            State::Cancelled => "cancelled",
        }
    }

    /// Whether a job's life ends here. The first end in the history counts; later ones are void.
    #[must_use]
    pub fn is_end(self) -> bool {
        match self {
            State::Accepted | State::Held | State::Started | State::Progress | State::Retrying => false,
            State::Succeeded
            | State::RolledBack
            | State::Failed
            | State::Dead
            | State::Superseded
            | State::Rejected
            | State::Cancelled => true,
        }
    }

    /// Whether the event carries the whole job.
    fn carries_job(self) -> bool {
        matches!(self, State::Accepted | State::Held | State::Started | State::Dead)
    }
}

impl EventId {
    /// The name of the utterance numbered `n` that `job` reached `state` in `attempt`.
    #[must_use]
    pub fn of(job: JobId, state: State, attempt: u32, n: u64) -> EventId {
        EventId(Uuid::new_v5(job.as_uuid(), format!("{state}/{attempt}/{n}").as_bytes()))
    }
}

impl Event {
    /// Says that `job` reached `state` in `attempt`. `n` numbers the utterance: 0 for `accepted` and the ends,
    /// so that a repeat by another process has the same name; drawn afresh elsewhere.
    #[must_use]
    pub fn of(job: &Job, state: State, attempt: u32, n: u64) -> Event {
        let mut event = Event::of_name(job.id, &job.target, (state, attempt, n));
        event.traceparent.clone_from(&job.traceparent);
        if state.carries_job() {
            event.data.job = JobOrId::Job(Box::new(job.clone()));
        }
        event
    }

    /// The same of a job of which no more than this is known: its body cannot be read here.
    #[must_use]
    pub fn of_name(job: JobId, target: &TargetName, (state, attempt, n): (State, u32, u64)) -> Event {
        Event {
            specversion: "1.0".to_owned(),
            id: EventId::of(job, state, attempt, n),
            source: SOURCE.to_owned(),
            type_name: TypeName(state),
            subject: target.clone(),
            time: Timestamp::now(),
            datacontenttype: "application/json".to_owned(),
            traceparent: None,
            data: EventData {
                job: JobOrId::Id(job),
                state,
                attempt,
                reason: None,
                by: None,
                image: None,
                tasks: None,
                output: Vec::new(),
                put_on_hold: Vec::new(),
                took_ms: None,
                counted: None,
                again_at: None,
                alone: false,
                memo: None,
                started: None,
            },
        }
    }

    /// The job it speaks of.
    #[must_use]
    pub fn job_id(&self) -> JobId {
        match &self.data.job {
            JobOrId::Job(job) => job.id,
            JobOrId::Id(id) => *id,
        }
    }

    /// The whole job, where the event carries it.
    #[must_use]
    pub fn job(&self) -> Option<&Job> {
        match &self.data.job {
            JobOrId::Job(job) => Some(job),
            JobOrId::Id(_) => None,
        }
    }

    /// The state it says.
    #[must_use]
    pub fn state(&self) -> State {
        self.data.state
    }

    /// The image, by its content, that the job waits with for its approval or its time: what is approved, or comes of
    /// age, is this one, wherever its tag points to by then. The first that the history tells of a job counts.
    #[must_use]
    pub fn awaited_image(&self) -> Option<&ImageRef> {
        let code = self.data.reason.as_ref()?.code.as_ref();
        let waits = matches!(code, reason::NEEDS_APPROVAL | reason::NOT_BEFORE | reason::WINDOW);
        let image = self.data.image.as_ref()?.to.as_ref()?;
        (self.data.state == State::Held && waits && image.digest().is_some()).then_some(image)
    }

    /// The event as a message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Infallible: string keys only, and no type here has a failing Serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads an event from a message.
    ///
    /// # Errors
    /// When it is not JSON or not one of our events.
    pub fn decode(body: &[u8]) -> Result<Event, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

/// `longshore.job.<state>`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct TypeName(State);

/// An event type that is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no job event")]
pub struct UnknownType(String);

impl FromStr for State {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        State::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| UnknownType(text.to_owned()))
    }
}

impl TryFrom<String> for TypeName {
    type Error = UnknownType;

    fn try_from(text: String) -> Result<Self, UnknownType> {
        let state = text.strip_prefix(TYPE_PREFIX).ok_or_else(|| UnknownType(text.clone()))?;
        Ok(TypeName(state.parse().map_err(|_| UnknownType(text.clone()))?))
    }
}

impl From<TypeName> for String {
    fn from(name: TypeName) -> String {
        format!("{TYPE_PREFIX}{}", name.0)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
