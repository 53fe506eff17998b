//! What is wished of a target, and what each wish overwrites.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GitStack, ImageRef, JobId, StackText, stack_text::is_false};

/// What a job asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Operation {
    /// Run this image. One with a digest runs that digest; one with a tag alone runs what the tag points to
    /// when the job is carried out.
    SetImage {
        /// The image to run.
        image: ImageRef,
        /// The service within the target, where the target is a stack; without it every service that runs
        /// the image's repository.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
    },
    /// Make a stack what this text says. What a newer job changed of it stays.
    DeployStack(StackText),
    /// Remove a stack: its services, networks, configs and secrets. Volumes stay.
    RemoveStack {
        /// Also where something else deployed it.
        #[serde(default, skip_serializing_if = "is_false")]
        force: bool,
    },
    /// Make a stack what a git repository says, now or whenever somebody pushes there.
    DeployGit(Box<GitStack>),
    /// Move a stack to another environment of its system: it runs there, and no longer where it was. Its target has to
    /// be declared there afterwards.
    Migrate {
        /// The environment, by its name or its number.
        environment: String,
        /// Its name there; the same without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Run what was stopped.
    Start,
    /// Run nothing, and remember what ran.
    Stop,
    /// Run the same again, from the beginning.
    Restart,
    /// Look the image's tag up again and run what it points to now, from the beginning.
    Redeploy,
    /// Run again what ran well before.
    Rollback {
        /// The service within the target, where the target is a stack; without it every service that ran
        /// something well before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
        /// The job whose image is to run again; without it the last image that ran well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<JobId>,
        /// That job's image. The ingress looks it up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<ImageRef>,
    },
    /// Remove images that nothing uses from the engine that runs the target.
    PruneImages {
        /// Only those made longer ago than this, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        older_than_s: Option<u64>,
        /// Only those with all these labels: `name`, or `name=value`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        labels: Vec<String>,
    },
    /// Let nothing else be deployed until a release: every later job that brings an image waits. With an image, that
    /// one alone is not deployed any more.
    Hold {
        /// The image that is not to be deployed; without it none is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<ImageRef>,
    },
    /// Let what was put on hold be deployed again.
    Release {
        /// The image that may be deployed again; without it the target itself is no longer on hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<ImageRef>,
    },
    /// Call off a job that has not touched its target yet.
    Cancel {
        /// Which job.
        job: JobId,
    },
}

/// What an operation overwrites on its target. Two jobs compete only in one slot: there the newer
/// supersedes the older.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Slot(String);

impl Operation {
    /// Every `type` this version knows; a job with another is from a newer one.
    pub const TYPES: &[&str] = &[
        "set-image",
        "deploy-stack",
        "remove-stack",
        "deploy-git",
        "migrate",
        "start",
        "stop",
        "restart",
        "redeploy",
        "rollback",
        "prune-images",
        "hold",
        "release",
        "cancel",
    ];

    /// The `type` on the wire.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Operation::SetImage { .. } => "set-image",
            Operation::DeployStack(_) => "deploy-stack",
            Operation::RemoveStack { .. } => "remove-stack",
            Operation::DeployGit(_) => "deploy-git",
            Operation::Migrate { .. } => "migrate",
            Operation::Start => "start",
            Operation::Stop => "stop",
            Operation::Restart => "restart",
            Operation::Redeploy => "redeploy",
            Operation::Rollback { .. } => "rollback",
            Operation::PruneImages { .. } => "prune-images",
            Operation::Hold { .. } => "hold",
            Operation::Release { .. } => "release",
            Operation::Cancel { .. } => "cancel",
        }
    }

    /// The slots it overwrites.
    #[must_use]
    pub fn slots(&self) -> Vec<Slot> {
        match self {
            Operation::SetImage { service: Some(service), .. }
            | Operation::Rollback { service: Some(service), .. } => vec![Slot(format!("image:{service}"))],
            Operation::SetImage { image, service: None }
            | Operation::Rollback { image: Some(image), service: None, .. } => {
                vec![Slot(format!("image:{}", image.repository()))]
            }
            Operation::Rollback { image: None, service: None, .. } => vec![Slot("image:*".to_owned())],
            // Every slot of the target.
            Operation::DeployStack(_)
            | Operation::RemoveStack { .. }
            | Operation::DeployGit(_)
            | Operation::Migrate { .. } => vec![Slot("*".to_owned())],
            // One slot for all three: what is wished last of whether it runs is what holds.
            Operation::Start | Operation::Stop | Operation::Restart => vec![Slot("running".to_owned())],
            // It wishes no other image than the one that stands there: it takes no image's place.
            Operation::Redeploy => vec![Slot("redeploy".to_owned())],
            Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => Vec::new(),
        }
    }

    /// The names of the workers' secrets that it asks for.
    #[must_use]
    pub fn secrets(&self) -> Vec<&str> {
        match self {
            Operation::DeployStack(text) => text.secrets().collect(),
            Operation::DeployGit(git) => git.secrets().collect(),
            Operation::SetImage { .. }
            | Operation::RemoveStack { .. }
            | Operation::Migrate { .. }
            | Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::Redeploy
            | Operation::Rollback { .. }
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => Vec::new(),
        }
    }

    /// The image it brings, where it brings one.
    #[must_use]
    pub fn image(&self) -> Option<&ImageRef> {
        match self {
            Operation::SetImage { image, .. } => Some(image),
            Operation::Rollback { image, .. } => image.as_ref(),
            Operation::DeployStack(_)
            | Operation::RemoveStack { .. }
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::Redeploy
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => None,
        }
    }
}

impl Slot {
    /// The slot as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what overwrites this slot overwrites `other` too: `image:*` is every image of a target, `*` everything of it.
    #[must_use]
    pub fn covers(&self, other: &Slot) -> bool {
        let begins = |kind: &str| other.0.starts_with(kind);
        self == other || self.0.strip_suffix('*').is_some_and(begins)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_known_by_its_wire_name() {
        let set = Operation::SetImage { image: "a:1".parse().unwrap(), service: None };
        assert_eq!(set.slots()[0].as_str(), "image:docker.io/library/a");
        let job = JobId::mint(jiff::Timestamp::now(), None);
        let rollback = Operation::Rollback { service: None, job: Some(job), image: None };
        let prune = Operation::PruneImages { older_than_s: Some(60), labels: vec!["a=b".into()] };
        let all = [
            set,
            Operation::DeployStack(StackText::of("services: {}")),
            Operation::RemoveStack { force: true },
            Operation::DeployGit(Box::new(GitStack::of("https://git.example/shop.git"))),
            Operation::Migrate { environment: "office".to_owned(), name: None },
            Operation::Start,
            Operation::Stop,
            Operation::Restart,
            Operation::Redeploy,
            rollback,
            prune,
            Operation::Hold { image: Some("a:1".parse().unwrap()) },
            Operation::Release { image: None },
            Operation::Cancel { job },
        ];
        assert_eq!(all.each_ref().map(Operation::type_name), *Operation::TYPES);
        for operation in all {
            let json = serde_json::to_value(&operation).unwrap();
            assert_eq!(json["type"], operation.type_name());
            assert_eq!(serde_json::from_value::<Operation>(json).unwrap(), operation);
        }
    }

    #[test]
    fn a_rollback_of_everything_covers_every_image_and_nothing_else() {
        let rollback = |service: Option<&str>, image: Option<&str>| Operation::Rollback {
            service: service.map(str::to_owned),
            job: None,
            image: image.map(|image| image.parse().unwrap()),
        };
        let set = |service: Option<&str>| Operation::SetImage {
            image: "a:1".parse().unwrap(),
            service: service.map(str::to_owned),
        };
        let (all, web) = (&rollback(None, None).slots()[0], &set(Some("web")).slots()[0]);
        assert!(all.covers(web) && all.covers(&set(None).slots()[0]) && all.covers(all));
        assert!(!web.covers(all) && !all.covers(&Operation::Stop.slots()[0]));
        assert_eq!(&rollback(Some("web"), Some("b:1")).slots()[0], web);
        assert_eq!(rollback(None, Some("a:2")).slots(), set(None).slots());
        let stack = &Operation::DeployStack(StackText::of("a")).slots()[0];
        for covered in [all, web, &Operation::Stop.slots()[0], &Operation::Redeploy.slots()[0], stack] {
            assert!(stack.covers(covered), "{covered}");
            assert!(covered == stack || !covered.covers(stack), "{covered}");
        }
        assert_eq!(&Operation::RemoveStack { force: false }.slots()[0], stack);
    }
}
