//! One durable state of the embedded engine, for all test programs that play the contract on it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use proto::PoolName;
use queue::{Queue, QueueError, contract::Maker, embedded::Embedded};
use tempfile::TempDir;

/// Handles on one directory, one after the other.
pub(crate) struct Directory {
    dir: TempDir,
    crashes: AtomicU32,
    open: Mutex<Weak<Embedded>>,
}

impl Directory {
    pub(crate) fn new() -> Directory {
        Directory { dir: TempDir::new().unwrap(), crashes: AtomicU32::new(0), open: Mutex::default() }
    }

    /// Where the next handle finds the queue.
    fn path(&self) -> PathBuf {
        self.dir.path().join(format!("queue-{}", self.crashes.load(Ordering::SeqCst)))
    }

    /// Opens the engine.
    pub(crate) fn open_engine(&self) -> Arc<Embedded> {
        let engine = Arc::new(Embedded::open(&self.path()).unwrap());
        *self.open.lock().unwrap() = Arc::downgrade(&engine);
        engine
    }
}

#[async_trait]
impl Maker for Directory {
    async fn open(&self) -> Arc<dyn Queue> {
        self.open_engine()
    }

    async fn open_beside(&self) -> Option<Arc<dyn Queue>> {
        let refused = Embedded::open(&self.path()).err();
        assert!(matches!(refused, Some(QueueError::InUse(_))), "{refused:?}");
        None
    }

    /// The files as they lie there at this instant are what a kill would leave. The handle never gets to put anything
    /// away there, whatever it does later.
    async fn crash(&self) {
        let killed = self.path();
        self.crashes.fetch_add(1, Ordering::SeqCst);
        copy(&killed, &self.path());
    }

    fn shortest_delay(&self) -> Duration {
        Duration::from_millis(150)
    }

    fn settles_for_good(&self) -> bool {
        true
    }

    async fn publish_body(&self, pool: &PoolName, body: Bytes) {
        let queue = self.open.lock().unwrap().upgrade().unwrap();
        queue.publish_body(pool, body).await.unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
