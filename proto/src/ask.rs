//! What is asked of a pool's workers, and what they answer: only they can look at the targets.

use serde::{Deserialize, Serialize};

use crate::{ImageRef, JobId, Reason, TargetName, Tasks};

/// A question to any worker of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Question {
    /// How does it stand with this target now?
    Target {
        /// Which.
        target: TargetName,
    },
}

/// A worker's answer. It holds no address and no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// How it stands.
    Target(TargetNow),
    /// The worker's configuration has no such target.
    UnknownTarget,
    /// The target could not be looked at.
    Failed {
        /// Why.
        reason: Reason,
    },
    /// The worker is of an older version and does not know the question.
    UnknownQuestion,
}

/// What stands on a target now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TargetNow {
    /// What kind of thing it is, as in `swarm-service`.
    pub kind: String,
    /// The images it is meant to run.
    pub images: Vec<ImageRef>,
    /// Whether it is meant to run at all.
    pub running: bool,
    /// How many tasks run that image, and how many should; none where nothing can be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Tasks>,
    /// The job that was applied last, where the target remembers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_job: Option<JobId>,
}

impl Question {
    /// The question as a message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Infallible: string keys only, and no type here has a failing Serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a question from a message.
    ///
    /// # Errors
    /// When it is none that this version knows.
    pub fn decode(body: &[u8]) -> Result<Question, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

impl Answer {
    /// The answer as a message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Infallible: string keys only, and no type here has a failing Serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads an answer from a message.
    ///
    /// # Errors
    /// When it is none that this version knows.
    pub fn decode(body: &[u8]) -> Result<Answer, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_come_back_as_they_went() {
        let question = Question::Target { target: "office/web".parse().unwrap() };
        assert_eq!(Question::decode(&question.encode()).unwrap(), question);
        assert_eq!(question.encode(), br#"{"ask":"target","target":"office/web"}"#);
        let now = TargetNow {
            kind: "rehearsal".to_owned(),
            images: vec!["acme/web:2".parse().unwrap()],
            running: true,
            tasks: Some(Tasks { running: 1, wanted: 2 }),
            last_job: None,
        };
        let reason = Reason::new(crate::reason::UNREACHABLE, "cannot reach it");
        let answers =
            [Answer::Target(now), Answer::UnknownTarget, Answer::Failed { reason }, Answer::UnknownQuestion];
        for answer in answers {
            assert_eq!(Answer::decode(&answer.encode()).unwrap(), answer);
        }
        assert!(Question::decode(br#"{"ask":"plan"}"#).is_err());
    }
}
