//! What an operation would change on a rehearsed target, and which image it means.

use proto::{
    ImageRef, Operation,
    ask::{Change, Plan},
};
use serde_json::json;

use super::{Rehearsal, mark::Mark};
use crate::target::{Target, TargetError};

/// The image that an operation means which names none.
pub(super) fn meant(mark: Option<&Mark>, operation: &Operation) -> Result<Option<ImageRef>, TargetError> {
    match operation {
        Operation::Rollback { image: None, .. } => {
            let before = mark.and_then(|mark| mark.before.clone());
            before.map(Some).ok_or_else(|| refused("no image is known that ran before".to_owned()))
        }
        Operation::Redeploy => Ok(mark.and_then(Mark::runs)),
        Operation::SetImage { .. }
        | Operation::DeployStack(_)
        | Operation::RemoveStack { .. }
        | Operation::Rollback { image: Some(_), .. }
        | Operation::Start
        | Operation::Stop
        | Operation::Restart
        | Operation::DeployGit(_)
        | Operation::Migrate { .. }
        | Operation::PruneImages { .. }
        | Operation::Hold { .. }
        | Operation::Release { .. }
        | Operation::Cancel { .. } => Ok(None),
    }
}

fn refused(answer: String) -> TargetError {
    TargetError::Refused { system: "the rehearsed system".to_owned(), attempted: "do that", answer }
}

impl Rehearsal {
    pub(super) fn planned(&self, operation: &Operation) -> Result<Plan, TargetError> {
        self.accepts(operation).map_err(refused)?;
        let mark = self.file.load()?;
        let image = match operation.image() {
            Some(image) => Some(image.clone()),
            None => meant(mark.as_ref(), operation)?,
        };
        let now = mark.unwrap_or_default();
        let mut plan = Plan::default();
        let mut change = |field: &str, from: serde_json::Value, to: serde_json::Value| {
            if from != to {
                let (of, field) = ("rehearsal".to_owned(), field.to_owned());
                plan.changes.push(Change { of, field, from: Some(from), to: Some(to) });
            }
        };
        if let Some(image) = image {
            change("image", json!(now.runs()), json!(image));
        }
        match operation {
            Operation::Stop => change("running", json!(now.running), json!(false)),
            Operation::Start => change("running", json!(now.running), json!(true)),
            Operation::Restart => {
                change("running", json!(now.running), json!(true));
                change("restarts", json!(now.restarts), json!(now.restarts + 1));
            }
            Operation::SetImage { .. }
            | Operation::DeployStack(_)
            | Operation::RemoveStack { .. }
            | Operation::Redeploy
            | Operation::Rollback { .. }
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => {}
        }
        Ok(plan)
    }
}
