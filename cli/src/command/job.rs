//! `longshore job`: one deploy.

use proto::{
    JobId,
    api::{Accepted, Discarded, JobName, Shown},
};

use crate::{
    arguments::{Approve, Cancel, Job, Reach, Replay},
    command::deploy::{self, Progress, Wait},
    exit::Exit,
    failure::Failure,
    output::{Output, dead, line, story},
    typed,
};

pub(crate) async fn run(job: Job, output: Output) -> Result<Exit, Failure> {
    match job {
        Job::Show { id, reach } => show(id, &reach, output).await,
        Job::Approve(approve) => let_go(approve, output).await,
        Job::Replay(replay) => carry_out_again(replay, output).await,
        Job::Discard { id, force, reach } => {
            let discarded = super::client(&reach)?.discard(id, force).await?;
            output.document(&discarded, || told(&discarded));
            Ok(Exit::Succeeded)
        }
        Job::Cancel(cancel) => call_off(cancel, output).await,
    }
}

async fn show(id: JobName, reach: &Reach, output: Output) -> Result<Exit, Failure> {
    let shown = super::client(reach)?.job(id).await?;
    output.document(&shown, || match &shown {
        Shown::Job(status) => story(status, &typed::reach(reach)),
        Shown::Letter(status) => dead::unreadable(status, &typed::reach(reach)),
    });
    Ok(Exit::Succeeded)
}

async fn let_go(approve: Approve, output: Output) -> Result<Exit, Failure> {
    let client = super::client(&approve.reach)?;
    let accepted = client.approve(approve.id, approve.force).await?;
    let reach = typed::reach(&approve.reach);
    deploy::outcome(&client, &accepted, Wait::of(&approve.following), (output, &reach)).await
}

async fn carry_out_again(replay: Replay, output: Output) -> Result<Exit, Failure> {
    let client = super::client(&replay.reach)?;
    let accepted = client.replay(replay.id, replay.force).await?;
    let reach = typed::reach(&replay.reach);
    deploy::outcome(&client, &accepted, Wait::of(&replay.following), (output, &reach)).await
}

fn told(discarded: &Discarded) -> String {
    format!("discarded {}: it waits no more", discarded.id)
}

/// Asks that a job be called off, and tells what came of it: the job that asks ends when that is known.
async fn call_off(cancel: Cancel, output: Output) -> Result<Exit, Failure> {
    let client = super::client(&cancel.reach)?;
    let accepted = client.cancel(cancel.id).await?;
    let asks = asking(&accepted)?;
    let mut progress = Progress::lines(output);
    let end = deploy::follow(&client, asks, &mut progress);
    let end = tokio::select! {
        end = end => Some(end?),
        () = deploy::passed(cancel.timeout) => None,
        () = config::process::shutdown_signal() => None,
    };
    let Some(exit) = end else {
        let follow = typed::watch(asks, &typed::reach(&cancel.reach));
        eprintln!("it is still asked for; follow it: {follow}");
        return Ok(Exit::WaitEnded);
    };
    if !output.is_json() {
        let (id, is_off) = (cancel.id, exit == Exit::Succeeded);
        line(&if is_off { format!("called off {id}") } else { format!("{id} was not called off") });
    }
    Ok(exit)
}

fn asking(accepted: &Accepted) -> Result<JobId, Failure> {
    let job = accepted.jobs.first();
    job.map(|job| job.id).ok_or_else(|| Failure::Process { text: "Longshore made no job of it".to_owned() })
}
