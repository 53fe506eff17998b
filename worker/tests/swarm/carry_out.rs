//! Any operation, carried out as a worker does it: accept → read → look the image up → write → watch.

use std::time::Instant;

use proto::{Job, Operation};
use tokio::sync::mpsc;
use worker::target::{Outcome, Standing, Target, TargetError, Wanted};

use crate::lab::{PATIENCE, job};

/// A wish for `operation`, newer than every one before it.
pub(crate) fn job_to(operation: Operation) -> Job {
    let mut job = job(&"any:1".parse().unwrap());
    job.slots = operation.slots();
    job.operation = operation;
    job
}

/// Everything that `job` asks of `target`, to its end.
pub(crate) async fn carry_out(target: &dyn Target, job: &Job) -> Result<Outcome, TargetError> {
    let deadline = Instant::now() + PATIENCE;
    let wanted = loop {
        match write(target, job).await {
            // The engine changes a service by itself, as after an update's end.
            Err(TargetError::Conflict) if Instant::now() < deadline => {}
            written => break written?,
        }
    };
    watch_any(target, &wanted).await
}

/// Up to and with the write.
pub(crate) async fn write(target: &dyn Target, job: &Job) -> Result<Wanted, TargetError> {
    target.accepts(&job.operation).unwrap();
    let found = target.read(job).await?;
    assert_eq!(found.standing(job.id), Standing::Open);
    let named = match job.operation.image() {
        Some(image) => Some(image.clone()),
        None => found.meant(&job.operation)?,
    };
    let image = match named {
        Some(image) => Some(target.resolve(&image).await?),
        None => None,
    };
    let wanted = Wanted { job: job.clone(), image };
    found.apply(&wanted).await?;
    Ok(wanted)
}

pub(crate) async fn watch_any(target: &dyn Target, wanted: &Wanted) -> Result<Outcome, TargetError> {
    let (sender, _progress) = mpsc::channel(1000);
    tokio::time::timeout(PATIENCE, target.watch(wanted, &sender)).await.unwrap()
}
