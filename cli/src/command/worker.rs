//! `longshore worker`: a process that carries deploys out.

use std::sync::Arc;

use crate::{
    arguments::Worker,
    configuration::Reading,
    directory::Directory,
    exit::Exit,
    failure::Failure,
    process::{self, Parts},
};

pub(crate) async fn run(arguments: Worker) -> Result<Exit, Failure> {
    config::process::init_logging(false);
    let mut reading = Reading::of(&arguments.files.config)?;
    let read = reading.common().zip(reading.worker());
    let (common, settings) = reading.finish(read)?;
    process::require_broker(&common.queue)?;
    let directory = Directory::prepare(arguments.data.as_deref().unwrap_or(&common.data))?;
    let queue = process::open_queue(&common.queue, directory.path()).await?;
    let mut parts = Parts::new();
    let stop = parts.stop_with_grace(settings.grace());
    parts.start(worker::run(settings.with_data(directory.path()), Arc::clone(&queue), stop));
    // The log says it.
    parts.run(queue, || {}).await
}
