//! `longshore target`: one target.

use proto::{Operation, api::TargetStatus, ask::PortainerStackShown};
use serde::Serialize;

use super::deploy::{self, Wait};
use crate::{arguments::Target, client::Client, exit::Exit, failure::Failure, output::Output, typed};

pub(crate) async fn run(target: Target, output: Output) -> Result<Exit, Failure> {
    match target {
        Target::Show { name, reach } => {
            let client = super::client(&reach)?;
            let status = client.target(&name).await?;
            let shown = Shown { stack: stack_of(&client, &status).await, status };
            output.document(&shown, || format!("{}{}", told(&shown.status), variables(&shown)));
            Ok(Exit::Succeeded)
        }
        Target::Release(release) => {
            let client = super::client(&release.reach)?;
            let accepted = client.release(&release.name).await?;
            let reach = typed::reach(&release.reach);
            deploy::outcome(&client, &accepted, Wait::of(&release.following), (output, &reach)).await
        }
        Target::Start(of) => super::operate::run_state((of, Operation::Start), output).await,
        Target::Stop(of) => super::operate::run_state((of, Operation::Stop), output).await,
        Target::Restart(of) => super::operate::run_state((of, Operation::Restart), output).await,
        Target::Hold(hold) => super::operate::hold(hold, output).await,
        Target::Rollback(rollback) => super::operate::roll_back(rollback, output).await,
    }
}

/// A target with what its system tells of it beside.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    status: TargetStatus,
    /// Of a stack of a Portainer: its numbers, its repository, its variables, what its `variables.json` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<PortainerStackShown>,
}

/// How Portainer shows the stack; what cannot be told is left out.
async fn stack_of(client: &Client, status: &TargetStatus) -> Option<PortainerStackShown> {
    if status.now.kind != "portainer-stack" {
        return None;
    }
    let list = client.stacks().await.ok()?;
    list.stacks.into_iter().find(|stack| stack.target.as_ref() == Some(&status.target.target))
}

fn variables(shown: &Shown) -> String {
    let Some(stack) = &shown.stack else { return String::new() };
    let number = format!("{}/{}", stack.number.environment, stack.number.stack);
    let mut lines = vec![("number", number), ("state", stack.state.clone())];
    lines.extend(stack.repository.clone().map(|url| ("git", url)));
    lines.extend(stack.env.iter().map(|(name, value)| ("variable", format!("{name}={value}"))));
    lines.extend(stack.variables.iter().map(|(name, value)| ("about", format!("{name}: {}", plain(value)))));
    lines.iter().map(|(name, value)| format!("{name:<9} {value}\n")).collect()
}

/// A text without its quotes; the rest as JSON has it.
fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn told(status: &TargetStatus) -> String {
    let (target, now) = (&status.target, &status.now);
    let mut lines = vec![
        ("target", target.target.to_string()),
        ("at", target.system.clone()),
        ("kind", now.kind.clone()),
        ("running", if now.running { "yes" } else { "no, stopped" }.to_owned()),
    ];
    lines.extend(now.images.iter().map(|image| ("image", image.familiar())));
    lines.extend(now.tasks.map(|tasks| ("tasks", format!("{} of {} run", tasks.running, tasks.wanted))));
    lines.extend(now.last_job.map(|job| ("last job", job.to_string())));
    let release = |by| format!("by {by}; `longshore target release {}`", target.target);
    lines.extend(now.on_hold.map(|by| ("on hold", release(by))));
    lines.extend(super::targets::gates(target).into_iter().map(|gate| ("waits for", gate)));
    let text = now
        .deployed
        .as_ref()
        .map(|deployed| format!("deployed by {}; `longshore stack show {}`", deployed.by, target.target));
    lines.extend(text.map(|text| ("text", text)));
    let notes = now.deployed.iter().flat_map(|deployed| &deployed.notes);
    lines.extend(notes.map(|note| ("note", note.clone())));
    lines.extend(target.follows.iter().map(|follow| ("follows", follow.to_string())));
    let faults = status.faults.iter();
    lines.extend(faults.flat_map(|fault| {
        [("mind", format!("{}: {}", fault.thing, fault.text)), ("hint", fault.hint.clone())]
    }));
    lines.iter().map(|(name, value)| format!("{name:<9} {value}\n")).collect()
}
