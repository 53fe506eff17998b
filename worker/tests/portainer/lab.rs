//! A stack on a fake Portainer, and a worker that deploys to it.

use std::time::Duration;

use proto::Job;
use serde_json::{Value, json};

use crate::{
    fake_portainer::{API_KEY, COMPOSE, FakePortainer, Family, SWARM},
    stage::{Stage, job},
};

pub(crate) const ROLLOUT: Duration = Duration::from_millis(400);

/// As people write one: comments, an anchor, quotes that matter.
pub(crate) const FILE: &str = "# by hand; do not reformat   \n\
                               x-deploy: &deploy {replicas: 2}\n\
                               services:\n\
                               \x20 web:   # the front\n\
                               \x20   image: acme/web:1   # the one line\n\
                               \x20   deploy: *deploy\n\
                               \x20   environment: {FEATURE: \"yes\", COLOR: \"${COLOR}\"}\n\
                               \x20 db: {image: 'postgres:16'}\n";

pub(crate) fn env() -> Value {
    json!([{"name": "COLOR", "value": "red"}, {"name": "PASSWORD", "value": "sup3rs3cret"}])
}

pub(crate) struct Lab {
    pub(crate) portainer: FakePortainer,
    pub(crate) stack: u64,
    pub(crate) environment: u64,
}

impl Lab {
    /// A stack `shop` with this file in a swarm.
    pub(crate) fn swarm(file: &str) -> Lab {
        Lab::of(Family::Synchronous, SWARM, file)
    }

    /// The same on a machine with Compose alone.
    pub(crate) fn compose(file: &str) -> Lab {
        Lab::of(Family::Synchronous, COMPOSE, file)
    }

    pub(crate) fn of(family: Family, environment: u64, file: &str) -> Lab {
        let portainer = FakePortainer::start(family, ROLLOUT).unwrap();
        let stack = portainer.add_stack(environment, "shop", file, env());
        Lab { portainer, stack, environment }
    }

    /// A worker's configuration: the target `demo` is that stack.
    pub(crate) fn configuration(&self, more: &str) -> String {
        let environment = if self.environment == COMPOSE { "office" } else { "production" };
        self.configured(&format!("api_key: {API_KEY}, environment: {environment}"), more)
    }

    pub(crate) fn configured(&self, access: &str, more: &str) -> String {
        format!(
            "worker: {{takeover_after: 300ms, grace: 100ms}}\n\
             systems:\n  docks: {{kind: portainer, url: '{}', longest_deploy: 30s, {access}}}\n\
             targets:\n  demo: {{at: docks, stack: shop, stable: 200ms{more}}}\n",
            self.portainer.url()
        )
    }

    pub(crate) async fn stage(&self, more: &str) -> Stage {
        Stage::new(&self.configuration(more)).await
    }

    pub(crate) fn image(&self, service: &str) -> String {
        self.portainer.image(self.environment, "shop", service)
    }

    /// The file less what is noted at its head.
    pub(crate) fn bare_file(&self) -> String {
        let file = self.portainer.file(self.stack);
        file.split_inclusive('\n').filter(|line| !line.starts_with("# longshore.")).collect()
    }

    /// How many writes named the image.
    pub(crate) fn writes_of(&self, image: &str) -> usize {
        self.portainer.puts().iter().filter(|put| put.text.contains(image)).count()
    }
}

pub(crate) fn set(image: &str) -> Job {
    job("demo", image)
}
