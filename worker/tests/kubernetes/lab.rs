//! A workload on a fake cluster, a registry that knows its images, and a worker that deploys to it.

use std::{sync::Arc, time::Duration};

use proto::Job;
use serde_json::Value;

use crate::{
    fake_http::{Answer, FakeServer, Request, Service},
    fake_kubernetes::{Cluster, FakeKubernetes, TOKEN, workload},
    stage::{Stage, job},
};

pub(crate) const ROLLOUT: Duration = Duration::from_millis(400);

pub(crate) struct Lab {
    pub(crate) kubernetes: FakeKubernetes,
    registry: FakeServer,
    pub(crate) plural: &'static str,
}

/// Knows every tag but those that end in `-gone`.
struct Registry;

impl Service for Registry {
    fn answer(&self, request: &Request) -> Answer {
        if request.path.ends_with("-gone") {
            return Answer::text(404, "");
        }
        Answer::text(200, "").with("Docker-Content-Digest", &digest(&request.path))
    }
}

fn digest(path: &str) -> String {
    let sum: u64 = path.bytes().map(u64::from).sum();
    format!("sha256:{}", format!("{:04x}", sum & 0xffff).repeat(16))
}

impl Lab {
    /// A workload `web` with three pods that runs `acme/web:1`.
    pub(crate) fn of(plural: &'static str) -> Lab {
        Lab::with(plural, |_, _| {})
    }

    /// The same with something else about it, for as long as it has been there.
    pub(crate) fn with(plural: &'static str, change: impl FnOnce(&Lab, &mut Value)) -> Lab {
        let kubernetes = FakeKubernetes::start(ROLLOUT).unwrap();
        let registry = FakeServer::start(Arc::new(Registry)).unwrap();
        let lab = Lab { kubernetes, registry, plural };
        let mut object = workload(plural, "web", 3, &lab.image("1"));
        change(&lab, &mut object);
        lab.cluster().add(plural, "shop", object);
        lab
    }

    pub(crate) fn deployment() -> Lab {
        Lab::of("deployments")
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        self.kubernetes.cluster()
    }

    /// An image of the registry.
    pub(crate) fn image(&self, tag: &str) -> String {
        format!("{}/acme/web:{tag}", self.registry.url().trim_start_matches("http://"))
    }

    /// What the registry says that a tag points to.
    pub(crate) fn digest(&self, tag: &str) -> String {
        digest(&format!("/v2/acme/web/manifests/{tag}"))
    }

    /// A worker's configuration: the target `demo` is that workload.
    pub(crate) fn configuration(&self, more: &str) -> String {
        let kind = self.plural.trim_end_matches('s');
        self.configured(&format!("workload: shop/{kind}/web"), TOKEN, more)
    }

    pub(crate) fn configured(&self, workload: &str, token: &str, more: &str) -> String {
        format!(
            "worker: {{takeover_after: 300ms, grace: 100ms}}\n\
             systems:\n  docks: {{kind: kubernetes, url: '{}', token: {token}}}\n\
             targets:\n  demo: {{at: docks, {workload}, stable: 300ms{more}}}\n",
            self.kubernetes.server().url()
        )
    }

    pub(crate) async fn stage(&self, more: &str) -> Stage {
        Stage::new(&self.configuration(more)).await
    }

    /// What stands there.
    pub(crate) fn object(&self) -> Value {
        self.cluster().object(self.plural, "shop", "web")
    }

    /// The image that stands there.
    pub(crate) fn stands(&self) -> String {
        self.cluster().image(self.plural, "web", "web")
    }

    pub(crate) fn set(&self, tag: &str) -> Job {
        job("demo", &self.image(tag))
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Value)) {
        self.cluster().change(self.plural, "web", change);
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<String> {
        self.object()["metadata"]["annotations"][name].as_str().map(str::to_owned)
    }

    /// How many writes were carried out that brought the image.
    pub(crate) fn writes_of(&self, tag: &str) -> usize {
        // In a mark it stands without a quote before it.
        self.cluster().writes_of(&format!("\"image\":\"{}", self.image(tag)))
    }
}
