//! `longshore stack list`: the compose files that are kept.

use futures::{StreamExt, stream};
use proto::{JobId, TargetName, api::TargetStatus};
use serde::Serialize;

use crate::{arguments::ListStacks, client::ClientError, exit::Exit, failure::Failure, output::Output};

/// So many targets are asked at a time: each is a question to a worker.
const AT_ONCE: usize = 8;

/// What is told of a stack that is not there, of which no text is kept either.
const NOT_DEPLOYED: &str = "/problems/not-deployed";

/// A stack of which a compose file is kept.
#[derive(Debug, Serialize)]
struct Listed {
    target: TargetName,
    /// The job that brought the last one.
    by: JobId,
    /// The job that brought the one before, where that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<JobId>,
}

pub(crate) async fn list(list: ListStacks, output: Output) -> Result<Exit, Failure> {
    let client = super::client(&list.reach)?;
    let targets = client.targets().await?.targets;
    let looks = targets.into_iter().map(|target| {
        let client = &client;
        async move {
            let looked = client.target(&target.target).await;
            looked.map(listed).map_err(|error| (target.target, error))
        }
    });
    let mut looks = stream::iter(looks).buffered(AT_ONCE);
    let (mut all, mut is_whole) = (Vec::new(), true);
    while let Some(looked) = looks.next().await {
        match looked {
            Ok(listed) => all.extend(listed),
            Err((_, ClientError::Refused(problem))) if problem.type_url == NOT_DEPLOYED => {}
            // A text may be kept of it all the same.
            Err((target, why)) => {
                eprintln!("note: `{target}` could not be looked at: {}", Failure::from(why));
                is_whole = false;
            }
        }
    }
    output.document(&all, || told(&all, is_whole));
    Ok(Exit::Succeeded)
}

fn listed(status: TargetStatus) -> Option<Listed> {
    let deployed = status.now.deployed?;
    let before = deployed.before.map(|before| before.by);
    Some(Listed { target: status.target.target, by: deployed.by, before })
}

/// `is_whole`: whether every target could be looked at.
fn told(listed: &[Listed], is_whole: bool) -> String {
    if listed.is_empty() {
        let of = if is_whole { "any target" } else { "those that could be looked at" };
        return format!("no compose file is kept of {of}");
    }
    let line = |one: &Listed| {
        let before = one.before.map(|job| format!(", before that by {job}")).unwrap_or_default();
        format!("{}  deployed by {}{before}", one.target, one.by)
    };
    listed.iter().map(line).collect::<Vec<_>>().join("\n")
}
