//! What a fake engine answers to each request.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use proto::Timestamp;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::service::{NODE, Service};
use super::{Engine, MISSING};

/// A request as it was read.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) url: Url,
    pub(super) body: Vec<u8>,
    /// Whether a key to the registry came with it.
    pub(super) with_key: bool,
}

pub(super) enum Answer {
    Json(u16, Value),
    Events(Events),
}

/// What is told of one service, or of all, without an end.
pub(super) struct Events {
    pub(super) past: Vec<Arc<Value>>,
    pub(super) to_come: broadcast::Receiver<Arc<Value>>,
    /// Empty: of all.
    pub(super) service: String,
}

impl Request {
    pub(super) fn writes(&self) -> bool {
        self.method == "POST"
    }

    fn parameter(&self, name: &str) -> Option<String> {
        self.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The first value of a filter.
    fn filter(&self, name: &str) -> Option<String> {
        self.filters(name).into_iter().next()
    }

    /// Every value of a filter.
    fn filters(&self, name: &str) -> Vec<String> {
        let filters = self.parameter("filters").and_then(|filters| serde_json::from_str(&filters).ok());
        let filters: Value = filters.unwrap_or_default();
        let values = filters[name].as_array().into_iter().flatten().filter_map(Value::as_str);
        values.map(str::to_owned).collect()
    }
}

impl Engine {
    pub(super) fn answer(self: &Arc<Self>, request: &Request) -> Answer {
        let path: Vec<&str> = request.url.path_segments().map(Iterator::collect).unwrap_or_default();
        let path = match path.split_first() {
            // With a version before it or without.
            Some((first, rest)) if first.starts_with("v1.") => rest,
            Some(_) | None => &path[..],
        };
        match (&*request.method, path) {
            (_, ["_ping"]) => Answer::Json(200, json!("OK")),
            ("GET", ["version"]) => Answer::Json(200, json!({"ApiVersion": "1.41", "Version": "20.10.24"})),
            ("GET", ["info"]) => Answer::Json(200, json!({"Name": NODE, "Swarm": {"NodeID": NODE}})),
            ("GET", ["nodes"]) => Answer::Json(200, json!([node()])),
            ("GET", ["services"]) => self.list(request.filter("label").as_deref()),
            ("GET", ["services", name]) => self.show(name),
            ("POST", ["services", id, "update"]) => self.update(id, request),
            ("GET", ["tasks"]) => self.tasks(request),
            ("GET", ["containers", container, "top"]) => self.top(container),
            ("GET", ["distribution", image @ .., "json"]) => {
                let image = image.join("/");
                match image.split('@').next().is_some_and(|tagged| tagged.ends_with(MISSING)) {
                    true => Answer::Json(404, json!({"message": "manifest unknown"})),
                    false => Answer::Json(200, distribution(&image, self.services().pushes)),
                }
            }
            ("GET", ["events"]) => self.events(request),
            (method, path) => not_found(&format!("page {method} /{}", path.join("/"))),
        }
    }

    fn list(&self, label: Option<&str>) -> Answer {
        let is_asked_for = |service: &&Service| {
            label.is_none_or(|label| match label.split_once('=') {
                Some((name, value)) => service.label(name).as_deref() == Some(value),
                None => service.label(label).is_some(),
            })
        };
        let services = self.services();
        Answer::Json(200, services.all().filter(is_asked_for).map(Service::to_json).collect())
    }

    fn show(&self, name: &str) -> Answer {
        match self.services().find(name) {
            Some(service) => Answer::Json(200, service.to_json()),
            None => not_found(&format!("service {name}")),
        }
    }

    fn update(self: &Arc<Self>, id: &str, request: &Request) -> Answer {
        let version = request.parameter("version").and_then(|version| version.parse().ok());
        let (Some(version), Ok(spec)) = (version, serde_json::from_slice(&request.body)) else {
            return Answer::Json(400, json!({"message": "invalid service version or spec"}));
        };
        match self.write(id, version, (spec, request.with_key)) {
            Ok(()) => Answer::Json(200, json!({"Warnings": null})),
            Err((status, message)) => Answer::Json(status, json!({"message": message})),
        }
    }

    fn tasks(&self, request: &Request) -> Answer {
        let names = request.filters("service");
        let only_current = request.filter("_up-to-date").is_some();
        let services = self.services();
        // Of several that are named one that is gone spoils the answer for all.
        if let Some(gone) = names.iter().find(|name| services.find(name).is_none()) {
            return not_found(&format!("service {gone}"));
        }
        let is_named = |service: &&Service| {
            names.is_empty() || names.iter().any(|name| *name == service.id || *name == service.name)
        };
        let tasks = services.all().filter(is_named).flat_map(|service| {
            let tasks = service.tasks.iter().filter(|task| !only_current || service.is_current(task));
            tasks.map(|task| task.to_json(&service.id))
        });
        Answer::Json(200, tasks.collect())
    }

    fn top(&self, container: &str) -> Answer {
        let mut services = self.services();
        services.record.looked_at += 1;
        let runs = services
            .all()
            .flat_map(|service| &service.tasks)
            .any(|task| task.state == "running" && container == task.container());
        match runs {
            true => Answer::Json(200, json!({"Titles": ["PID", "CMD"], "Processes": [["1", "app"]]})),
            false => Answer::Json(409, json!({"message": format!("Container {container} is not running")})),
        }
    }

    fn events(&self, request: &Request) -> Answer {
        let service = request.filter("service").unwrap_or_default();
        let since = request.parameter("since").and_then(|since| read_time(&since));
        // Both while nothing can change, so that nothing is told twice or never.
        let services = self.services();
        let past = since.map(|since| services.past_of(&service, since)).unwrap_or_default();
        Answer::Events(Events { past, to_come: self.events.subscribe(), service })
    }
}

fn not_found(what: &str) -> Answer {
    Answer::Json(404, json!({"message": format!("{what} not found")}))
}

fn node() -> Value {
    json!({"ID": NODE, "Description": {"Hostname": NODE}, "Status": {"State": "ready"}})
}

/// What a registry says of an image: a digest that its name decides, and how often it was pushed again.
fn distribution(image: &str, pushes: u64) -> Value {
    let parts = (0..4).map(|part| 4 * pushes + part);
    let digest = match image.split_once('@') {
        Some((_, digest)) => digest.to_owned(),
        None => format!("sha256:{}", parts.map(|part| hash_of(image, part)).collect::<String>()),
    };
    json!({
        "Descriptor": {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": 1},
        "Platforms": [{"architecture": "amd64", "os": "linux"}],
    })
}

fn hash_of(image: &str, part: u64) -> String {
    let mut hasher = DefaultHasher::new();
    (image, part).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Seconds since 1970, with or without a part of one.
fn read_time(text: &str) -> Option<Timestamp> {
    let (seconds, nanos) = text.split_once('.').unwrap_or((text, "0"));
    Timestamp::new(seconds.parse().ok()?, nanos.parse().ok()?).ok()
}
