//! The embedded engine keeps the contract.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use proto::PoolName;
use queue::{Queue, QueueError, contract::Maker, embedded::Embedded};
use tempfile::TempDir;

/// Handles on one directory, one after the other.
struct Directory {
    dir: TempDir,
    open: Mutex<Weak<Embedded>>,
}

impl Directory {
    fn new() -> Directory {
        Directory { dir: TempDir::new().unwrap(), open: Mutex::default() }
    }
}

#[async_trait]
impl Maker for Directory {
    async fn open(&self) -> Arc<dyn Queue> {
        let queue = Arc::new(Embedded::open(&self.dir.path().join("queue")).unwrap());
        *self.open.lock().unwrap() = Arc::downgrade(&queue);
        queue
    }

    async fn open_beside(&self) -> Option<Arc<dyn Queue>> {
        let refused = Embedded::open(&self.dir.path().join("queue")).err();
        assert!(matches!(refused, Some(QueueError::InUse(_))), "{refused:?}");
        None
    }

    fn shortest_delay(&self) -> Duration {
        Duration::from_millis(150)
    }

    async fn publish_body(&self, pool: &PoolName, body: Bytes) {
        let queue = self.open.lock().unwrap().upgrade().unwrap();
        queue.publish_body(pool, body).await.unwrap();
    }
}

queue::contract_tests!(Directory::new());
