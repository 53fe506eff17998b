//! The baseline of the embedded engine: a file that is synced after each write.

use std::{fs::File, io::Write, path::Path, time::Instant};

use anyhow::{Context, Result};

use crate::job;

/// Bodies written and synced a second, each before the next.
pub(crate) async fn write_and_sync(folder: &Path, count: usize) -> Result<f64> {
    let (path, body) = (folder.join("baseline"), job()?.encode());
    tokio::task::spawn_blocking(move || {
        let mut file = File::create(path).context("make a file")?;
        let began = Instant::now();
        for _ in 0..count {
            file.write_all(&body).context("write a file")?;
            file.sync_all().context("sync a file")?;
        }
        Ok(count as f64 / began.elapsed().as_secs_f64())
    })
    .await?
}
