//! Which operations there are for a stack of Portainer.

use proto::Operation;

/// Whether `operation` can be carried out at all.
pub(super) fn accepts(operation: &Operation) -> Result<(), String> {
    match operation {
        Operation::Rollback { job: Some(job), image: None, .. } => {
            Err(format!("the job does not say which image the job {job} brought"))
        }
        Operation::DeployStack(text) if !text.files.is_empty() => Err(
            "Portainer takes the text of a stack alone, no files beside it; put what they hold into variables".to_owned(),
        ),
        Operation::PruneImages { .. } | Operation::Hold { .. } | Operation::Release { .. } | Operation::Cancel { .. } => {
            Err(format!("`{}` is not carried out on stacks of Portainer", operation.type_name()))
        }
        Operation::SetImage { .. }
        | Operation::Rollback { .. }
        | Operation::DeployStack(_)
        | Operation::RemoveStack { .. }
        | Operation::DeployGit(_)
        | Operation::Migrate { .. }
        | Operation::Start
        | Operation::Stop
        | Operation::Restart
        | Operation::Redeploy => Ok(()),
    }
}

/// An operation as errors tell of it.
pub(super) fn attempted(operation: &Operation) -> &'static str {
    match operation {
        Operation::SetImage { .. } => "update the stack",
        Operation::DeployStack(_) => "deploy the stack",
        Operation::RemoveStack { .. } => "remove the stack",
        Operation::Start => "start the stack",
        Operation::Stop => "stop the stack",
        Operation::Restart => "restart the stack",
        Operation::Redeploy => "redeploy the stack",
        Operation::Rollback { .. } => "roll the stack back",
        Operation::DeployGit(_) => "deploy the stack from git",
        Operation::Migrate { .. } => "move the stack",
        Operation::PruneImages { .. } => "remove unused images",
        Operation::Hold { .. } => "put the stack on hold",
        Operation::Release { .. } => "release the stack",
        Operation::Cancel { .. } => "call the job off",
    }
}
