//! What an ingress on RabbitMQ holds keeps the contract too: an engine with a spool beside it. That the engine is the
//! embedded one here makes no difference to what is passed on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use proto::PoolName;
use queue::{Queue, QueueError, SpoolSettings, Spooling, contract::Maker, embedded::Embedded};
use tempfile::TempDir;

/// Handles on one directory, one after the other.
struct Directory {
    dir: TempDir,
    crashes: AtomicU32,
    open: Mutex<Weak<Embedded>>,
    handles: AtomicU32,
}

impl Directory {
    fn new() -> Directory {
        Directory {
            dir: TempDir::new().unwrap(),
            crashes: AtomicU32::new(0),
            open: Mutex::default(),
            handles: AtomicU32::new(0),
        }
    }

    /// Where the next handle finds the queue.
    fn path(&self) -> PathBuf {
        self.dir.path().join(format!("queue-{}", self.crashes.load(Ordering::SeqCst)))
    }
}

#[async_trait]
impl Maker for Directory {
    async fn open(&self) -> Arc<dyn Queue> {
        let engine = Arc::new(Embedded::open(&self.path()).unwrap());
        *self.open.lock().unwrap() = Arc::downgrade(&engine);
        // Each handle has a spool of its own: nothing waits there while the engine takes everything.
        let spool = self.dir.path().join(format!("spool-{}", self.handles.fetch_add(1, Ordering::SeqCst)));
        Spooling::open(engine, &spool, SpoolSettings::default()).await.unwrap()
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
        std::fs::create_dir(self.path()).unwrap();
        for file in std::fs::read_dir(killed).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), self.path().join(file.file_name())).unwrap();
        }
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

queue::contract_tests!(Directory::new());
