//! `longshore target`: one target.

use proto::api::TargetStatus;

use super::deploy::{self, Wait};
use crate::{arguments::Target, exit::Exit, failure::Failure, output::Output, typed};

pub(crate) async fn run(target: Target, output: Output) -> Result<Exit, Failure> {
    match target {
        Target::Show { name, reach } => {
            let status = super::client(&reach)?.target(&name).await?;
            output.document(&status, || told(&status));
            Ok(Exit::Succeeded)
        }
        Target::Release(release) => {
            let client = super::client(&release.reach)?;
            let accepted = client.release(&release.name).await?;
            let reach = typed::reach(&release.reach);
            deploy::outcome(&client, &accepted, Wait::of(&release.following), (output, &reach)).await
        }
        Target::Rollback(rollback) => super::operate::roll_back(rollback, output).await,
    }
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
    lines.extend(super::targets::gates(target).into_iter().map(|gate| ("waits for", gate)));
    let text = now
        .deployed
        .as_ref()
        .map(|deployed| format!("deployed by {}; `longshore stack show {}`", deployed.by, target.target));
    lines.extend(text.map(|text| ("text", text)));
    let notes = now.deployed.iter().flat_map(|deployed| &deployed.notes);
    lines.extend(notes.map(|note| ("note", note.clone())));
    lines.extend(target.follows.iter().map(|follow| ("follows", follow.to_string())));
    lines.iter().map(|(name, value)| format!("{name:<9} {value}\n")).collect()
}
