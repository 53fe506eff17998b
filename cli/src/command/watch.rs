//! `longshore watch`: events as they happen.

use crate::{
    arguments::Watch,
    command::deploy::{Progress, passed},
    exit::Exit,
    failure::Failure,
    follow::Following,
    output::Output,
};

pub(crate) async fn run(watch: Watch, output: Output) -> Result<Exit, Failure> {
    let timeout = watch.timeout;
    tokio::select! {
        watched = to_the_end(watch, output) => watched,
        () = passed(timeout) => Ok(Exit::WaitEnded),
    }
}

async fn to_the_end(watch: Watch, output: Output) -> Result<Exit, Failure> {
    let client = super::client(&watch.reach)?;
    let mut events = match watch.job {
        Some(id) => Following::job(&client, id),
        None => Following::all(&client),
    };
    let mut progress = match watch.job {
        Some(_) => Progress::new(output),
        None => Progress::lines(output),
    };
    loop {
        let event = events.next().await?;
        let is_read = progress.tell(&event);
        if watch.job.is_none() && !is_read {
            return Ok(Exit::Succeeded);
        }
        if watch.job.is_some() && event.state().is_end() {
            progress.finish();
            return Ok(Exit::after(&event));
        }
    }
}
