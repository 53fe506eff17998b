//! A worker on the embedded queue of a folder, with one job, for tests that kill it: it ends when the job has.
//!
//! The folder holds `longshore.yaml` and `job.json`; `accepted` is put there once the job is in the queue.

use std::{env, fs, path::Path, sync::Arc};

use anyhow::{Context, Result, bail};
use config::{Document, Faults};
use proto::{Event, Job, State};
use queue::{Chronicle, Entry, Queue, Settings as QueueSettings, Since};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = env::args().nth(1).context("which folder?")?;
    let folder = Path::new(&folder);
    let job = Job::decode(&fs::read(folder.join("job.json"))?)?;
    let queue = queue::open(&QueueSettings::default(), &folder.join("queue")).await?;
    let (change, mut ended) = watch::channel(false);
    let id = job.id;
    let _chronicle = Chronicle::follow(Arc::clone(&queue), Since::Start, move |recorded| {
        if let Entry::Event(event) = &recorded.entry
            && event.job_id() == id
            && (event.state().is_end() || event.state() == State::Held)
        {
            change.send_replace(true);
        }
    });
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker::run(settings(folder)?, Arc::clone(&queue), stop.clone()));
    let accepted = folder.join("accepted");
    if !accepted.exists() {
        publish(&*queue, &job).await;
        fs::write(accepted, "")?;
        queue.emit(&Event::of(&job, State::Accepted, 0, 0)).await?;
    }
    ended.wait_for(|ended| *ended).await?;
    // What is left of the job is done with before the worker has stopped.
    stop.cancel();
    running.await??;
    Ok(())
}

/// The pool is there from the worker's first look at it on.
async fn publish(queue: &dyn Queue, job: &Job) {
    while queue.publish(job).await.is_err() {
        tokio::task::yield_now().await;
    }
}

fn settings(folder: &Path) -> Result<worker::Settings> {
    let text = fs::read_to_string(folder.join("longshore.yaml"))?;
    let document = Document::parse("longshore.yaml", &text).map_err(|faults| anyhow::anyhow!("{faults}"))?;
    let mut faults = Faults::new();
    let Some(settings) = worker::Settings::read(&document, &mut faults) else { bail!("{faults}") };
    Ok(settings.with_data(folder))
}
