//! What is noted on a swarm while a stack is being removed: whoever takes the removal up again has to know that it
//! began, and when by the engine's clock. What somebody deployed since is theirs.

use base64::{Engine, engine::general_purpose::STANDARD};
use proto::{JobId, Timestamp};
use serde_json::{Value, json};

use super::super::{Swarm, fence};
use crate::target::TargetError;

/// The stack that is being removed.
const REMOVING: &str = "longshore.removing";

/// A removal that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Removing {
    id: String,
    pub(super) by: JobId,
    /// None where the engine's word makes no sense.
    pub(super) since: Option<Timestamp>,
}

impl Swarm {
    /// The removals of a stack that were begun and came to no end.
    pub(super) async fn removals(&self, stack: &str) -> Result<Vec<Removing>, TargetError> {
        let objects = self.client.labelled("configs", &format!("{REMOVING}={stack}")).await?;
        Ok(objects.iter().filter_map(Removing::read).collect())
    }

    /// Notes that a removal begins. Done again, nothing changes.
    pub(super) async fn note_removal(&self, stack: &str, by: JobId) -> Result<(), TargetError> {
        self.client.create_config(&object(stack, by)).await
    }

    /// Removes all such notes of a stack.
    pub(super) async fn forget_removals(&self, stack: &str) -> Result<(), TargetError> {
        for removing in self.removals(stack).await? {
            self.client.remove_config(&removing.id).await?;
        }
        Ok(())
    }
}

/// Engines take no empty object.
fn object(stack: &str, by: JobId) -> Value {
    json!({
        "Name": format!("longshore-removing-{by}"),
        "Labels": {REMOVING: stack, fence::JOB: by.to_string()},
        "Data": STANDARD.encode(stack),
    })
}

impl Removing {
    fn read(object: &Value) -> Option<Removing> {
        Some(Removing {
            id: object["ID"].as_str()?.to_owned(),
            by: object["Spec"]["Labels"][fence::JOB].as_str()?.parse().ok()?,
            since: object["CreatedAt"].as_str().and_then(|at| at.parse().ok()),
        })
    }
}
