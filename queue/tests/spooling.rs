//! What an ingress on RabbitMQ holds keeps the contract too: an engine with a spool beside it. That the engine is the
//! embedded one here makes no difference to what is passed on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod directory;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use proto::PoolName;
use queue::{Queue, SpoolSettings, Spooling, contract::Maker};
use tempfile::TempDir;

use crate::directory::Directory;

/// An engine's directory, and spools that are empty: nothing waits there while the engine takes everything.
struct WithSpool {
    engine: Directory,
    spools: TempDir,
}

impl WithSpool {
    fn new() -> WithSpool {
        WithSpool { engine: Directory::new(), spools: TempDir::new().unwrap() }
    }
}

#[async_trait]
impl Maker for WithSpool {
    async fn open(&self) -> Arc<dyn Queue> {
        let spool = self.spools.path().join(uuid::Uuid::now_v7().to_string());
        Spooling::open(self.engine.open_engine(), &spool, SpoolSettings::default()).await.unwrap()
    }

    async fn open_beside(&self) -> Option<Arc<dyn Queue>> {
        self.engine.open_beside().await
    }

    async fn crash(&self) {
        self.engine.crash().await;
    }

    fn shortest_delay(&self) -> Duration {
        self.engine.shortest_delay()
    }

    fn settles_for_good(&self) -> bool {
        self.engine.settles_for_good()
    }

    async fn publish_body(&self, pool: &PoolName, body: Bytes) {
        self.engine.publish_body(pool, body).await;
    }
}

queue::contract_tests!(WithSpool::new());
