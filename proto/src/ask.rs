//! What is asked of a pool's workers, and what they answer: only they can look at the targets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ImageRef, JobId, Operation, PutOnHold, Reason, StackText, TargetName, Tasks};

/// A question to any worker of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Question {
    /// How does it stand with this target now?
    Target {
        /// Which.
        target: TargetName,
    },
    /// What would this operation change, if it were carried out now? Nothing is changed.
    Plan {
        /// On which target.
        target: TargetName,
        /// What would be wished.
        operation: Operation,
    },
    /// Which stacks do the Portainers of the pool have?
    PortainerListing {
        /// Only the one that is this target; an older worker tells of all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<TargetName>,
    },
    /// Which targets are these stacks of a Portainer? Only a worker knows where its systems are.
    PortainerStacks {
        /// The Portainer's address.
        url: String,
        /// Its stacks, by number.
        stacks: Vec<PortainerStackNumber>,
    },
}

/// A stack of a Portainer, be it a target or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PortainerStackShown {
    /// The system, as the configuration calls it.
    pub system: String,
    /// The name of its environment.
    pub environment_name: String,
    /// Its numbers.
    #[serde(flatten)]
    pub number: PortainerStackNumber,
    /// Its name.
    pub name: String,
    /// `swarm`, `compose` or `kubernetes`.
    pub kind: String,
    /// What Portainer calls its state: `active`, `stopped`, `deploying`, `error`, or `unknown`.
    pub state: String,
    /// The repository that it is read from, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// What of the repository, where it says: a branch or a tag, as in `refs/heads/main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The target that it is, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
    /// The images that its services or containers were told to run.
    pub images: Vec<String>,
    /// The stack's variables, and those of its main container that it has not itself; what may be secret is hidden.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What the repository says of it in a `variables.json` beside the stack's file; what may be secret is hidden.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, serde_json::Value>,
}

/// A stack of a Portainer, as people find it in a browser's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PortainerStackNumber {
    /// The number of its environment, which older versions call an endpoint.
    pub environment: u64,
    /// Its own number.
    pub stack: u64,
}

/// A worker's answer. It holds no address and no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// How it stands.
    Target(Box<TargetNow>),
    /// What would change.
    Plan(Plan),
    /// All stacks of all Portainers.
    PortainerListing {
        /// By system and name.
        stacks: Vec<PortainerStackShown>,
        /// What could not be looked at, in sentences for people.
        missing: Vec<String>,
    },
    /// Which targets they are.
    PortainerStacks {
        /// Whether the worker has a system at that address.
        known: bool,
        /// The target of each, in the order in which they were asked for; none where it is no target.
        targets: Vec<Option<TargetName>>,
    },
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TargetNow {
    /// What kind of thing it is, as in `swarm-service`.
    pub kind: String,
    /// The images it is meant to run.
    pub images: Vec<ImageRef>,
    /// The same by the part that is meant to run it, as the target calls it: a service of a stack, a container of a
    /// workload. Empty where the target has no parts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, ImageRef>,
    /// Whether it is meant to run at all.
    pub running: bool,
    /// How many tasks run that image, and how many should; none where nothing can be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Tasks>,
    /// The job that was applied last, where the target remembers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_job: Option<JobId>,
    /// The job that put it on hold, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_hold: Option<JobId>,
    /// The images that are on hold there, as far as the target remembers; without tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_images: Vec<PutOnHold>,
    /// What keeps it from running as it is meant to, in sentences for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trouble: Vec<String>,
    /// The text that a stack was deployed from, where Longshore did that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed: Option<Deployed>,
}

/// The text that a stack runs as, as far as it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Deployed {
    /// The job that brought it.
    pub by: JobId,
    /// The text; secrets in it are named, never written out.
    pub text: StackText,
    /// In what the stack differs from it by what jobs did, in sentences for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The text before this one, where it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Former>,
}

/// A text that a stack was deployed from before the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Former {
    /// The job that brought it.
    pub by: JobId,
    /// The text; secrets in it are named, never written out.
    pub text: StackText,
}

/// What an operation would change on a target. What Longshore notes there for itself is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Plan {
    /// Field by field; empty when everything is already as wished.
    pub changes: Vec<Change>,
    /// What else there is to know, in sentences for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One field that would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Change {
    /// The thing it is of, as in `service blog_web`.
    pub of: String,
    /// The field, by its system's own names: `TaskTemplate.ContainerSpec.Image`.
    pub field: String,
    /// What it is now; none where it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<serde_json::Value>,
    /// What it would be; none where it would be taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<serde_json::Value>,
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
            parts: BTreeMap::new(),
            running: true,
            tasks: Some(Tasks { running: 1, wanted: 2 }),
            last_job: None,
            on_hold: None,
            held_images: Vec::new(),
            trouble: Vec::new(),
            deployed: None,
        };
        let reason = Reason::new(crate::reason::UNREACHABLE, "cannot reach it");
        let change =
            Change { of: "web".to_owned(), field: "Image".to_owned(), from: None, to: Some("b".into()) };
        let shown = PortainerStackShown {
            system: "docks".to_owned(),
            environment_name: "production".to_owned(),
            number: PortainerStackNumber { environment: 1, stack: 5 },
            name: "shop".to_owned(),
            kind: "swarm".to_owned(),
            state: "active".to_owned(),
            repository: None,
            reference: None,
            target: Some("shop".parse().unwrap()),
            images: vec!["acme/web:1".to_owned()],
            env: BTreeMap::from([("COLOR".to_owned(), "red".to_owned())]),
            variables: BTreeMap::from([("name".to_owned(), "shop".into())]),
        };
        let answers = [
            Answer::Target(Box::new(now)),
            Answer::Plan(Plan { changes: vec![change], notes: vec!["2 tasks".to_owned()] }),
            Answer::PortainerStacks { known: true, targets: vec![Some("web".parse().unwrap()), None] },
            Answer::PortainerListing { stacks: vec![shown], missing: vec!["docks: away".to_owned()] },
            Answer::UnknownTarget,
            Answer::Failed { reason },
            Answer::UnknownQuestion,
        ];
        for answer in answers {
            assert_eq!(Answer::decode(&answer.encode()).unwrap(), answer);
        }
        let plan = Question::Plan { target: "web".parse().unwrap(), operation: Operation::Stop };
        assert_eq!(Question::decode(&plan.encode()).unwrap(), plan);
        assert_eq!(plan.encode(), br#"{"ask":"plan","target":"default/web","operation":{"type":"stop"}}"#);
        let all = Question::PortainerListing { target: None };
        assert_eq!(all.encode(), br#"{"ask":"portainer-listing"}"#);
        let one = Question::PortainerListing { target: Some("web".parse().unwrap()) };
        assert_eq!(Question::decode(&one.encode()).unwrap(), one);
        let stacks = vec![PortainerStackNumber { environment: 1, stack: 5 }];
        let which = Question::PortainerStacks { url: "https://p.lan".to_owned(), stacks };
        assert_eq!(Question::decode(&which.encode()).unwrap(), which);
        assert!(Question::decode(br#"{"ask":"plan"}"#).is_err());
    }
}
