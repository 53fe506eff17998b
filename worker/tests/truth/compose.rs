//! Compose texts as the cases write them.

use std::collections::BTreeMap;

use proto::{Given, StackText};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{case::merge, images::Images};

/// A text, and what goes with it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    /// What each service has beyond the usual; an image is called by its name here.
    services: BTreeMap<String, Value>,
    #[serde(default)]
    configs: Map<String, Value>,
    #[serde(default)]
    volumes: Map<String, Value>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    adopt: bool,
}

impl Text {
    pub(crate) fn whole(&self, images: &Images) -> StackText {
        let whole = |(name, more): (&String, &Value)| (name.clone(), service(more, images));
        let services: Map<String, Value> = self.services.iter().map(whole).collect();
        let networks = json!({"outside": {"external": true, "name": "host"}});
        let compose = json!({
            "services": services, "networks": networks, "configs": self.configs, "volumes": self.volumes,
        });
        let mut text = StackText::of(compose.to_string());
        let given = |(path, content): (&String, &String)| (path.clone(), Given::Value(content.clone()));
        text.files = self.files.iter().map(given).collect();
        text.adopt = self.adopt;
        text
    }
}

/// One task on the host's network, five monitored seconds, paused on failure; `more` changes that.
fn service(more: &Value, images: &Images) -> Value {
    let mut service = json!({
        "image": "good-1", "init": true, "stop_grace_period": "0s", "networks": ["outside"],
        "deploy": {
            "replicas": 1, "restart_policy": {"condition": "any", "delay": "200ms"},
            "update_config": {"monitor": "5s", "failure_action": "pause", "order": "stop-first"},
        },
    });
    merge(&mut service, more);
    let image = images.named(service["image"].as_str().unwrap());
    service["image"] = json!(image.to_string());
    service
}
