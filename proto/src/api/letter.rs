//! What could not be carried out, as the API tells of it.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{JobStatus, JobSummary};
use crate::{Event, JobId, PoolName, Reason, Timestamp};

const LETTER: &str = "letter-";

/// The name of a dead letter: `letter-17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^letter-[0-9]+$"))]
pub struct LetterName(pub u64);

/// What a path or a command names: a job, or a dead letter in which no job can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum JobName {
    /// A job by its id.
    Job(JobId),
    /// A dead letter by its own name.
    Letter(LetterName),
}

/// Why a text is no name of a job or dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a UUID, as the id of a job is, nor the name of a dead letter, as in letter-17")]
pub struct JobNameError(String);

/// A dead letter: what died, kept until somebody replays or discards it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Letter {
    /// Its own name.
    pub name: LetterName,
    /// The pool it waited in; none where nobody can tell any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// Which attempt was its last, from 1; 0 where nobody ever took it.
    pub attempts: u32,
    /// Why it died.
    pub reason: Reason,
    /// When it died.
    pub died_at: Timestamp,
    /// The broker's user who left it, where it reads like a job and that user is none of `queue: {user, logins}`: where
    /// a process of Longshore logs in so, that name belongs there, and the job can be replayed then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_by: Option<String>,
    /// The body as it came; left out in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<LetterBody>,
}

/// The body of a dead letter, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LetterBody {
    /// As text, where it is text.
    Text(String),
    /// In Base64, where it is not.
    Base64(String),
}

/// A dead letter in which no job can be read, in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnreadableLetter {
    /// The id that stands in it, where one can be made out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<JobId>,
    /// The letter.
    pub letter: Letter,
}

/// A dead letter in which no job can be read, with what the history says of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnreadableStatus {
    /// The letter, and the id that stands in it.
    #[serde(flatten)]
    pub unreadable: UnreadableLetter,
    /// Everything the history says of that id, oldest first.
    pub events: Vec<Event>,
}

/// Answer of `GET /v1/jobs/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Shown {
    /// A job.
    Job(Box<JobStatus>),
    /// A dead letter in which no job can be read.
    Letter(Box<UnreadableStatus>),
}

/// What a list of dead letters adds to a job of a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadJob {
    /// The job.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// What is kept of it.
    pub letter: Letter,
}

/// Answer of `POST /v1/jobs/{id}/discard`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Discarded {
    /// What was discarded, as it was named.
    pub id: JobName,
    /// Its dead letters, listed no more.
    pub letters: Vec<LetterName>,
}

impl LetterBody {
    /// The bytes as text where they are, else by `base64`.
    #[must_use]
    pub fn of(body: &[u8], base64: impl FnOnce(&[u8]) -> String) -> LetterBody {
        match std::str::from_utf8(body) {
            Ok(text) => LetterBody::Text(text.to_owned()),
            Err(_) => LetterBody::Base64(base64(body)),
        }
    }
}

impl fmt::Display for LetterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LETTER}{}", self.0)
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobName::Job(id) => id.fmt(f),
            JobName::Letter(name) => name.fmt(f),
        }
    }
}

impl FromStr for LetterName {
    type Err = JobNameError;

    fn from_str(text: &str) -> Result<LetterName, JobNameError> {
        let digits = text.strip_prefix(LETTER).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok());
        number.map(LetterName).ok_or_else(|| JobNameError(text.to_owned()))
    }
}

impl FromStr for JobName {
    type Err = JobNameError;

    fn from_str(text: &str) -> Result<JobName, JobNameError> {
        match text.parse() {
            Ok(id) => Ok(JobName::Job(id)),
            Err(_) => text.parse().map(JobName::Letter),
        }
    }
}

impl TryFrom<String> for LetterName {
    type Error = JobNameError;

    fn try_from(text: String) -> Result<LetterName, JobNameError> {
        text.parse()
    }
}

impl TryFrom<String> for JobName {
    type Error = JobNameError;

    fn try_from(text: String) -> Result<JobName, JobNameError> {
        text.parse()
    }
}

impl From<LetterName> for String {
    fn from(name: LetterName) -> String {
        name.to_string()
    }
}

impl From<JobName> for String {
    fn from(name: JobName) -> String {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_and_letters_are_told_apart_by_their_names() {
        let id = "0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42";
        for (text, is_letter) in [(id, false), ("letter-0", true), ("letter-17", true)] {
            let name: JobName = text.parse().unwrap();
            assert_eq!(matches!(name, JobName::Letter(_)), is_letter, "{text}");
            assert_eq!(name.to_string(), text);
        }
        for bad in ["", "17", "letter-", "letter-+1", "letter-x", "letter-99999999999999999999", "Letter-1"] {
            assert!(bad.parse::<JobName>().is_err(), "{bad}");
        }
    }
}
