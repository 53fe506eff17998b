//! The names of the files, which a power cut may take as it takes what is in them.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use tempfile::TempDir;

use super::{
    super::{directory::sync_directory, files::JOURNAL_NAME, store::Store},
    *,
};

/// A disk that syncs so many directories, and fails then; which they were.
fn disk(most: usize) -> (Disk, Arc<Mutex<Vec<PathBuf>>>) {
    let synced: Arc<Mutex<Vec<PathBuf>>> = Arc::default();
    let noted = Arc::clone(&synced);
    let names = Arc::new(move |dir: &Path| {
        let mut synced = synced.lock().unwrap();
        if synced.len() == most {
            return Err(io::Error::other("the power is gone"));
        }
        synced.push(dir.to_owned());
        sync_directory(dir)
    });
    (Disk { names, ..Disk::default() }, noted)
}

#[tokio::test]
async fn every_directory_that_was_made_lasts() {
    let root = TempDir::new().unwrap();
    let (data, dir) = (root.path().join("data"), root.path().join("data/queue"));
    let (disk, synced) = disk(usize::MAX);
    drop(Store::open(&dir, disk).unwrap());
    let synced = synced.lock().unwrap();
    for wanted in [root.path(), &data, &dir] {
        assert!(synced.iter().any(|found| found == wanted), "{}: {synced:?}", wanted.display());
    }
}

#[tokio::test]
async fn a_power_cut_before_the_names_last_has_nothing_to_take() {
    let mut cuts = 0;
    loop {
        let root = TempDir::new().unwrap();
        let dir = root.path().join("queue");
        let (disk, synced) = disk(cuts);
        let opened = Store::open(&dir, disk);
        if opened.is_ok() {
            break;
        }
        let was_synced = synced.lock().unwrap().iter().filter(|found| **found == dir).count();
        let journal = dir.join(JOURNAL_NAME);
        assert!(was_synced > 0 || !journal.exists(), "it may be there without its file");
        // Its name was not synced.
        let _ = std::fs::remove_file(&journal);
        let queue = Embedded::open(&dir).unwrap();
        drop(queue.take(&pool(), 1).await.unwrap());
        queue.publish_body(&pool(), body(1)).await.unwrap();
        queue.close().await;
        cuts += 1;
    }
    assert!(cuts >= 3, "{cuts}");
}
