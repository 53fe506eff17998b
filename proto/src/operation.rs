//! What is wished of a target, and what each wish overwrites.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ImageRef, JobId};

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
    /// Run what was stopped.
    Start,
    /// Run nothing, and remember what ran.
    Stop,
    /// Run the same again, from the beginning.
    Restart,
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
    pub const TYPES: &[&str] = &["set-image", "start", "stop", "restart", "cancel"];

    /// The `type` on the wire.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Operation::SetImage { .. } => "set-image",
            Operation::Start => "start",
            Operation::Stop => "stop",
            Operation::Restart => "restart",
            Operation::Cancel { .. } => "cancel",
        }
    }

    /// The slots it overwrites.
    #[must_use]
    pub fn slots(&self) -> Vec<Slot> {
        match self {
            Operation::SetImage { service: Some(service), .. } => vec![Slot(format!("image:{service}"))],
            // One slot for all three: what is wished last of whether it runs is what holds.
            Operation::Start | Operation::Stop | Operation::Restart => vec![Slot("running".to_owned())],
            Operation::Cancel { .. } => Vec::new(),
            Operation::SetImage { image, service: None } => {
                vec![Slot(format!("image:{}", image.repository()))]
            }
        }
    }

    /// The image it brings, where it brings one.
    #[must_use]
    pub fn image(&self) -> Option<&ImageRef> {
        match self {
            Operation::SetImage { image, .. } => Some(image),
            Operation::Start | Operation::Stop | Operation::Restart | Operation::Cancel { .. } => None,
        }
    }
}

impl Slot {
    /// The slot as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
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
        let all = [set, Operation::Start, Operation::Stop, Operation::Restart, Operation::Cancel { job }];
        assert_eq!(all.each_ref().map(Operation::type_name), *Operation::TYPES);
        for operation in all {
            let json = serde_json::to_value(&operation).unwrap();
            assert_eq!(json["type"], operation.type_name());
            assert_eq!(serde_json::from_value::<Operation>(json).unwrap(), operation);
        }
    }
}
