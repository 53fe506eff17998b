//! The engine keeps the contract.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use lapin::types::FieldTable;
use proto::PoolName;
use queue::{AmqpSettings, Queue, contract::Maker};

use crate::support::{Look, SHORT, open, settings};

/// Engines with the same names on one broker.
struct Broker {
    settings: AmqpSettings,
}

impl Broker {
    fn new() -> Broker {
        Broker { settings: AmqpSettings { rungs: vec![SHORT, Duration::from_secs(5)], ..settings() } }
    }
}

#[async_trait]
impl Maker for Broker {
    async fn open(&self) -> Arc<dyn Queue> {
        open(&self.settings).await
    }

    async fn open_beside(&self) -> Option<Arc<dyn Queue>> {
        Some(open(&self.settings).await)
    }

    fn shortest_delay(&self) -> Duration {
        SHORT
    }

    async fn publish_body(&self, pool: &PoolName, body: Bytes) {
        let (jobs, key) = (format!("{}.jobs", self.settings.prefix), format!("{}.web", pool.as_str()));
        Look::open().await.send(&jobs, &key, &body, FieldTable::default()).await;
    }
}

queue::contract_tests!(Broker::new());
