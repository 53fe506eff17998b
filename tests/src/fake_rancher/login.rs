//! Who may come in, and which part of Rancher says so.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::super::fake_http::{Answer, Request, Service};
use super::{CLUSTER, Key, Proxy, Rights, Shared};

/// An error of the login: its status is a text, and there is no code (recorded: "401 none", "401 bad").
fn unauthorized(message: &str) -> Answer {
    Answer::json(401, &json!({"type": "error", "status": "401", "message": message}))
}

/// An error of the router of clusters, as plain text (recorded: "k8s unknown cluster").
fn routed(status: u16, code: &str, message: &str) -> Answer {
    let body =
        json!({"Code": {"Code": code, "Status": status}, "Message": message, "Cause": null, "FieldName": ""});
    Answer::text(status, &body.to_string()).with("Content-Type", "text/plain; charset=utf-8")
}

impl Service for Shared {
    fn answer(&self, request: &Request) -> Answer {
        // Recorded: "301 double slash". Clients that follow it drop the body of a PUT.
        if request.path.starts_with("//") {
            return Answer::text(301, "").with("Location", &request.path.replacen("//", "/", 1));
        }
        let parts: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["v3", "settings", "cacerts"]) => {
                let value = self.state().authorities.clone();
                return Answer::json(200, &json!({"id": "cacerts", "type": "setting", "value": value}));
            }
            ("GET", ["ping"]) => return Answer::text(200, "pong"),
            _ => {}
        }
        // Browsers get pages from its own API.
        let agent = request.header("user-agent").unwrap_or_default();
        if agent.contains("Mozilla") && request.header("accept").is_none_or(|kind| kind.contains("*/*")) {
            return Answer::text(200, "<!DOCTYPE html><html></html>").with("Content-Type", "text/html");
        }
        let key = match self.asks(request) {
            Ok(key) => key,
            Err(refusal) => return refusal,
        };
        match parts.as_slice() {
            ["k8s", "clusters", cluster, ..] => self.proxied(cluster, &key, request),
            // A key for one cluster is worth nothing here, whatever its user may (recorded: "401 scoped token on v3").
            ["v3", ..] if !key.cluster.is_empty() => unauthorized("clusterID does not match"),
            ["v3", rest @ ..] => self.own_api(rest, &key, request),
            _ => Answer::text(404, "404 page not found\n"),
        }
    }
}

impl Shared {
    /// The key that is sent, by either scheme. What has expired is as unknown as what was never there.
    fn asks(&self, request: &Request) -> Result<Key, Answer> {
        let none = || unauthorized("must authenticate");
        let header = request.header("authorization").ok_or_else(none)?;
        let sent = match header.split_once(' ') {
            Some(("Bearer", token)) => token.to_owned(),
            Some(("Basic", pair)) => {
                let pair = STANDARD.decode(pair).map_err(|_| none())?;
                String::from_utf8(pair).map_err(|_| none())?
            }
            _ => return Err(none()),
        };
        let state = self.state();
        let known = state.keys.iter().find(|key| format!("{}:{}", key.name, key.secret) == sent);
        known.filter(|key| !key.expired).cloned().ok_or_else(none)
    }

    fn proxied(&self, cluster: &str, key: &Key, request: &Request) -> Answer {
        if !key.cluster.is_empty() && key.cluster != cluster {
            return unauthorized("clusterID does not match");
        }
        let (proxy, is_away) = {
            let state = self.state();
            (state.proxy, state.away.contains(cluster))
        };
        match proxy {
            Proxy::Forbidden => {
                return routed(403, "Forbidden", "clusters.management.cattle.io is forbidden");
            }
            Proxy::Hidden => return Answer::text(404, "<html>nothing here</html>"),
            Proxy::ReadOnly if request.method != "GET" => return Answer::text(403, "<html>Forbidden</html>"),
            Proxy::Open | Proxy::ReadOnly => {}
        }
        if cluster != CLUSTER {
            let message = format!("clusters.management.cattle.io \"{cluster}\" not found");
            return routed(404, "NotFound", &message);
        }
        if is_away {
            // rancher#46920, #34190: plain text, and a status that means many things.
            return Answer::text(500, &format!("failed to find Session for client stv-cluster-{cluster}"));
        }
        let is_write = matches!(request.method.as_str(), "PATCH" | "PUT" | "DELETE");
        if key.rights == Rights::None || key.rights == Rights::ReadOnly && is_write {
            return forbidden(&request.path);
        }
        let below = format!("/k8s/clusters/{cluster}");
        self.cluster.answer_at(request.path.strip_prefix(&below).unwrap_or_default(), request)
    }
}

/// Kubernetes' own word, of whom Rancher asks as.
pub(super) fn forbidden(path: &str) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("{path} is forbidden: User \"u-abcde\" cannot do it"), "reason": "Forbidden", "code": 403,
    });
    Answer::json(403, &body)
}
