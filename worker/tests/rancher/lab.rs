//! A workload behind a fake Rancher, and a worker that deploys to it.

use std::{sync::Arc, time::Duration};

use proto::Job;
use serde_json::Value;

use crate::{
    fake_kubernetes::{Cluster, workload},
    fake_rancher::{CLUSTER, FakeRancher, KEY, PROJECT},
    stage::{DEADLINE, Stage, job},
};

pub(crate) const ROLLOUT: Duration = Duration::from_millis(400);

/// An image of a registry that nobody asks.
pub(crate) fn image(tag: &str) -> String {
    // As content does, digests differ.
    let digest = tag.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(byte.into()));
    format!("{REPOSITORY}:{tag}@sha256:{digest:064x}")
}

pub(crate) const REPOSITORY: &str = "registry.lan/acme/web";

pub(crate) struct Lab {
    pub(crate) rancher: FakeRancher,
}

impl Lab {
    /// A deployment `web` in the namespace `shop` of the cluster `office`.
    pub(crate) fn new() -> Lab {
        Lab::of("deployments")
    }

    /// The same as another kind.
    pub(crate) fn of(plural: &str) -> Lab {
        Lab::with(plural, |_| {})
    }

    /// The same with something else about it, for as long as it has been there.
    pub(crate) fn with(plural: &str, change: impl FnOnce(&mut Value)) -> Lab {
        let mut object = workload(plural, "web", 2, &image("1"));
        change(&mut object);
        let cluster = Arc::new(Cluster::new(ROLLOUT));
        cluster.add(plural, "shop", object);
        Lab { rancher: FakeRancher::start(cluster).unwrap() }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        self.rancher.cluster()
    }

    /// A worker's configuration: the target `demo` is that deployment.
    pub(crate) fn configuration(&self) -> String {
        self.configured(&format!("token: '{KEY}'"), &self.short())
    }

    pub(crate) fn short(&self) -> String {
        format!("workload: '{CLUSTER}:{PROJECT}/deployment:shop:web'")
    }

    /// The same with another key, or another name.
    pub(crate) fn configured(&self, access: &str, workload: &str) -> String {
        configured(&self.rancher.url(), access, workload)
    }

    /// A worker that has asked about its key already: what it asks from now on, it asks for a job.
    pub(crate) async fn stage(&self) -> Stage {
        self.stage_of(&self.configuration()).await
    }

    pub(crate) async fn stage_of(&self, configuration: &str) -> Stage {
        let stage = Stage::new(configuration).await;
        let asked = async {
            while !self.rancher.server().requests().iter().any(|line| line.starts_with("GET /v3/tokens/")) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, asked).await.expect("nobody asked about the key");
        stage
    }

    /// The image that the deployment is meant to run, less its digest.
    pub(crate) fn image(&self) -> String {
        let image = self.cluster().image("deployments", "web", "web");
        image.split('@').next().unwrap_or_default().to_owned()
    }

    pub(crate) fn deployment(&self) -> Value {
        self.cluster().object("deployments", "shop", "web")
    }

    /// How many writes that were carried out named the tag.
    pub(crate) fn writes_of(&self, tag: &str) -> usize {
        self.cluster().writes_of(&image(tag))
    }
}

pub(crate) fn configured(url: &str, access: &str, workload: &str) -> String {
    format!(
        "worker: {{takeover_after: 300ms, grace: 100ms}}\n\
         systems:\n  docks: {{kind: rancher, url: '{url}', {access}}}\n\
         targets:\n  demo: {{at: docks, {workload}, stable: 200ms}}\n"
    )
}

pub(crate) fn set(tag: &str) -> Job {
    job("demo", &image(tag))
}
