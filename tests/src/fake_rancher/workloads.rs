//! Workloads in Rancher's own form, and the link to what they are in Kubernetes.

use serde_json::{Value, json};

use super::super::fake_http::{Answer, Request};
use super::api::error;
use super::norman::{shown, written};
use super::{Key, Rights, Shared};

/// So often a write is tried again by itself when somebody was faster.
const INNER_TRIES: usize = 5;

impl Shared {
    pub(super) fn workload(
        &self,
        project: &str,
        (kind, namespace, name): (&str, &str, &str),
        rest: &[&str],
        (key, request): (&Key, &Request),
    ) -> Answer {
        // All lower case; what the body calls `statefulSet` is not known here (recorded: "statefulSet mixed-case id").
        let plural = match kind {
            "deployment" => "deployments",
            "statefulset" => "statefulsets",
            "daemonset" => "daemonsets",
            "cronjob" => "cronjobs",
            other => return error(404, "NotFound", &format!("failed to find type {other}")),
        };
        if key.rights == Rights::None || key.rights == Rights::ReadOnly && request.method != "GET" {
            return error(403, "Forbidden", &format!("{plural}.apps \"{name}\" is forbidden"));
        }
        let group = if plural == "cronjobs" { "batch" } else { "apps" };
        let path = format!("/apis/{group}/v1/namespaces/{namespace}/{plural}/{name}");
        let live = self.kubernetes("GET", &path, Value::Null);
        if live.status == 404 {
            return error(404, "NotFound", &format!("{plural}.apps \"{name}\" not found"));
        }
        let is_here = self.state().projects.get(namespace).is_some_and(|of| of == project);
        match (request.method.as_str(), rest) {
            // Here alone the project is looked at.
            (_, ["yaml"]) if !is_here => error(404, "NotFound", "self link not found"),
            ("GET", ["yaml"]) => live,
            ("PUT", ["yaml"]) => self.kubernetes("PUT", &path, request.body.clone()),
            ("GET", []) => self.answered(is_here, project, &live),
            ("PUT", []) => self.put(&path, request, |object| self.answered(is_here, project, object)),
            _ => error(405, "MethodNotAllow", "Method not supported"),
        }
    }

    /// The project is a filter of answers and no guard of writes: where it is another one, `null` comes with a 200
    /// (recorded: "GET wrong project", "PUT wrong project").
    fn answered(&self, is_here: bool, project: &str, object: &Answer) -> Answer {
        if !is_here {
            return Answer::json(200, &Value::Null);
        }
        let object: Value = serde_json::from_str(&object.body).unwrap_or_default();
        Answer::json(200, &shown(&object, project))
    }

    /// A merge with what stands there, written whole; whatever version the caller had read. What comes back is the
    /// object before any controller saw it: `active`, all replicas ready (recorded: "PUT containers only").
    fn put(&self, path: &str, request: &Request, answered: impl Fn(&Answer) -> Answer) -> Answer {
        self.state().norman_puts.push(request.body.clone());
        if request.body.is_null() {
            return error(422, "InvalidBodyContent", "Failed to parse body: unexpected EOF");
        }
        for _ in 0..INNER_TRIES {
            let live = self.kubernetes("GET", path, Value::Null);
            let live: Value = serde_json::from_str(&live.body).unwrap_or_default();
            let object = match written(&request.body, &live, &self.state().registries) {
                Ok(object) => object,
                Err(message) => return error(422, "Invalid", &message),
            };
            if object == live {
                return answered(&Answer::json(200, &live));
            }
            let done = self.kubernetes("PUT", path, object);
            match done.status {
                409 => {}
                200 => return answered(&done),
                status => {
                    let said: Value = serde_json::from_str(&done.body).unwrap_or_default();
                    return error(status, "Invalid", said["message"].as_str().unwrap_or_default());
                }
            }
        }
        Answer::json(409, &json!({"type": "error", "status": 409, "code": "Conflict", "message": "conflict"}))
    }
}
