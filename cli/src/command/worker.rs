//! `longshore worker`: a process that carries deploys out.

use std::sync::Arc;

use config::process::Hangups;
use tokio::sync::mpsc;

use crate::{
    arguments::Worker,
    configuration::Reading,
    directory::Directory,
    exit::Exit,
    failure::{Failure, with_causes},
    process::{self, Parts, Started},
    reload::{Fixed, Reload, WorkerSide},
};

pub(crate) async fn run(arguments: Worker) -> Result<Exit, Failure> {
    config::process::init_logging(false);
    process::run(start(arguments)).await
}

async fn start(arguments: Worker) -> Result<Started<impl FnOnce()>, Failure> {
    let hangups = Hangups::listen();
    let mut reading = Reading::of(&arguments.files.config)?;
    let read = reading.common().zip(reading.worker());
    let (common, settings) = reading.finish(read)?;
    process::require_broker(&common.queue)?;
    let directory = Directory::prepare(arguments.data.as_deref().unwrap_or(&common.data))?;
    let queue = process::open_queue(&common.queue, directory.path()).await?;
    process::require_pools(&*queue, settings.pools()).await?;
    let settings = settings.with_data(directory.path());
    let first =
        worker::Prepared::new(&settings).map_err(|error| Failure::Process { text: with_causes(&error) })?;
    let (prepared, changes) = mpsc::channel(1);
    let mut parts = Parts::new();
    let stop = parts.stop_with_grace(settings.grace());
    let working = Arc::clone(&queue);
    parts.start_worker(async move { worker::run_following(first, changes, working, stop).await });
    let side = WorkerSide { prepared, settings, grace: parts.grace(), queue: Arc::clone(&queue) };
    let fixed = Fixed::of(&common, arguments.data.as_deref());
    let reload = Reload { files: arguments.files.config, fixed, ingress: None, worker: Some(side) };
    parts.start_beside(reload.follow(hangups));
    // The log says when it is to end.
    Ok(Started { parts, queue, asked: || {} })
}
