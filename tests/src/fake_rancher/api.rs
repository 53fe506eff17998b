//! Rancher's own API.

use serde_json::{Value, json};

use super::super::fake_http::{Answer, Request};
use super::{CLUSTER, CLUSTER_NAME, Key, Shared};

/// An error of its own API (recorded: "404 workload" and others).
pub(super) fn error(status: u16, code: &str, message: &str) -> Answer {
    let body =
        json!({"type": "error", "baseType": "error", "status": status, "code": code, "message": message});
    Answer::json(status, &body)
}

impl Shared {
    pub(super) fn own_api(&self, path: &[&str], key: &Key, request: &Request) -> Answer {
        match (request.method.as_str(), path) {
            // Whatever it is about (recorded: "405 PATCH").
            ("PATCH", _) => error(405, "MethodNotAllow", "Method PATCH not supported"),
            ("GET", ["settings", "server-version"]) => {
                let value = self.state().version;
                Answer::json(200, &json!({"id": "server-version", "type": "setting", "value": value}))
            }
            ("GET", ["tokens", name]) => self.token(name),
            ("GET", ["clusters"]) => self.clusters(request),
            (_, ["project" | "projects", place, rest @ ..]) => {
                let place = place.replace("%3A", ":").replace("%3a", ":");
                match place.split_once(':') {
                    Some((cluster, project)) => self.of_project((cluster, project), rest, key, request),
                    None => error(404, "NotFound", "failed to find schema"),
                }
            }
            _ => error(404, "NotFound", "failed to find schema"),
        }
    }

    fn token(&self, name: &str) -> Answer {
        let state = self.state();
        match state.keys.iter().find(|key| key.name == name) {
            Some(key) => Answer::json(
                200,
                &json!({
                    "id": key.name, "name": key.name, "type": "token", "baseType": "token", "clusterId": key.cluster,
                    "enabled": true, "expired": key.expired, "expiresAt": key.expires_at, "ttl": 0,
                    "userId": "u-abcde",
                }),
            ),
            None => error(404, "NotFound", &format!("tokens.management.cattle.io \"{name}\" not found")),
        }
    }

    /// A filter that is not known is overlooked, and everything comes (recorded with `?name_prefix=`).
    fn clusters(&self, request: &Request) -> Answer {
        let mut all = vec![(CLUSTER.to_owned(), CLUSTER_NAME.to_owned())];
        all.extend(self.state().others.clone());
        let overlooks = self.state().overlooks;
        let is_meant = |name: &str| request.parameter("name").is_none_or(|wanted| wanted == name);
        let listed: Vec<Value> = all
            .into_iter()
            .filter(|(_, name)| overlooks || is_meant(name))
            .map(|(id, name)| json!({"id": id, "name": name, "type": "cluster", "state": "active"}))
            .collect();
        if !overlooks {
            return Answer::json(200, &collection(listed));
        }
        let from = request.parameter("marker");
        let at = listed.iter().position(|one| one["id"].as_str() == from).unwrap_or_default();
        let mut page = collection(listed.get(at..=at).unwrap_or_default().to_vec());
        if let Some(next) = listed.get(at + 1) {
            let host = request.header("host").unwrap_or_default();
            let id = next["id"].as_str().unwrap_or_default();
            page["pagination"]["next"] = json!(format!("http://{host}/v3/clusters?marker={id}"));
        }
        Answer::json(200, &page)
    }

    fn of_project(
        &self,
        (cluster, project): (&str, &str),
        path: &[&str],
        key: &Key,
        request: &Request,
    ) -> Answer {
        if cluster != CLUSTER {
            // It looks as if it would pass, and does not (recorded: "503 cluster").
            let message = format!("cluster.management.cattle.io \"{cluster}\" not found");
            return error(503, "ClusterUnavailable", &message);
        }
        if self.state().away.contains(cluster) {
            return error(503, "ClusterUnavailable", "cluster not ready");
        }
        match path {
            ["workloads", id, rest @ ..] => {
                let id = id.replace("%3A", ":").replace("%3a", ":");
                let mut parts = id.splitn(3, ':');
                let (kind, namespace, name) = (parts.next(), parts.next(), parts.next());
                let (Some(kind), Some(namespace), Some(name)) = (kind, namespace, name) else {
                    return error(404, "NotFound", "failed to find type ");
                };
                self.workload(project, (kind, namespace, name), rest, (key, request))
            }
            _ => error(404, "NotFound", "failed to find schema"),
        }
    }
}

pub(super) fn collection(data: Vec<Value>) -> Value {
    json!({"type": "collection", "pagination": {"limit": 1000, "total": data.len()}, "data": data})
}
