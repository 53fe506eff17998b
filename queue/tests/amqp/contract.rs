//! The engine keeps the contract.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use lapin::types::FieldTable;
use proto::PoolName;
use queue::{AmqpSettings, Queue, contract::Maker};

use crate::{
    proxy::Proxy,
    support::{Look, SHORT, open, settings},
};

/// Engines with the same names on one broker, each on a line of its own.
struct Broker {
    settings: AmqpSettings,
    lines: Mutex<Vec<Proxy>>,
}

impl Broker {
    fn new() -> Broker {
        let settings = AmqpSettings { rungs: vec![SHORT, Duration::from_secs(5)], ..settings() };
        Broker { settings, lines: Mutex::default() }
    }
}

#[async_trait]
impl Maker for Broker {
    async fn open(&self) -> Arc<dyn Queue> {
        let line = Proxy::open().await;
        let settings = AmqpSettings { hosts: vec![line.address.to_string()], ..self.settings.clone() };
        self.lines.lock().unwrap().push(line);
        open(&settings).await
    }

    async fn open_beside(&self) -> Option<Arc<dyn Queue>> {
        Some(self.open().await)
    }

    /// What a broker sees of a killed process: its connections break. They stay so, whatever the handles try.
    async fn crash(&self) {
        self.lines.lock().unwrap().iter().for_each(Proxy::close);
    }

    fn shortest_delay(&self) -> Duration {
        SHORT
    }

    /// A broker confirms what is published, and no acknowledgement.
    fn settles_for_good(&self) -> bool {
        false
    }

    async fn publish_body(&self, pool: &PoolName, body: Bytes) {
        let (jobs, key) = (format!("{}.jobs", self.settings.prefix), format!("{}.web", pool.as_str()));
        Look::open().await.send(&jobs, &key, &body, FieldTable::default()).await;
    }
}

queue::contract_tests!(Broker::new());
