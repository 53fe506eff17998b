//! `longshore stack list`: the compose files that are kept.

use futures::{StreamExt, stream};
use proto::{JobId, TargetName};
use serde::Serialize;

use crate::{arguments::ListStacks, exit::Exit, failure::Failure, output::Output};

/// So many targets are asked at a time: each is a question to a worker.
const AT_ONCE: usize = 8;

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
    // What cannot be looked at now has no text that could be shown.
    let looks = targets.into_iter().map(|target| {
        let client = &client;
        async move {
            let deployed = client.target(&target.target).await.ok()?.now.deployed?;
            let before = deployed.before.map(|before| before.by);
            Some(Listed { target: target.target, by: deployed.by, before })
        }
    });
    let listed: Vec<Listed> =
        stream::iter(looks).buffered(AT_ONCE).filter_map(|listed| async { listed }).collect().await;
    output.document(&listed, || told(&listed));
    Ok(Exit::Succeeded)
}

fn told(listed: &[Listed]) -> String {
    if listed.is_empty() {
        return "no compose file is kept of any target".to_owned();
    }
    let line = |one: &Listed| {
        let before = one.before.map(|job| format!(", before that by {job}")).unwrap_or_default();
        format!("{}  deployed by {}{before}", one.target, one.by)
    };
    listed.iter().map(line).collect::<Vec<_>>().join("\n")
}
