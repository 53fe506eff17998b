//! What the API server says.

use serde_json::{Value, json};

use super::merge::{merge, strategic_merge};
use super::{Cluster, Key, State, Write};
use crate::fake_http::{Answer, Request};

/// A refusal in the words of Kubernetes.
pub(super) fn status(code: u16, reason: &str, message: &str) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    Answer::json(code, &body)
}

/// The same with what it is about (recorded: "k8s 404" and others).
fn status_of(code: u16, reason: &str, (name, resource): (&str, &str), message: &str) -> Answer {
    let (kind, group) = resource.split_once('.').unwrap_or((resource, ""));
    let mut details = json!({"name": name, "group": group, "kind": kind});
    if group.is_empty() {
        details = json!({"name": name, "kind": kind});
    }
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": details, "code": code,
    });
    Answer::json(code, &body)
}

/// A refusal of what was written: of this field, for this reason (recorded: "k8s patch wrong uid").
fn invalid(key: &Key, kind: &str, (field, cause, why): (&str, &str, &str)) -> Answer {
    let name = &key.2;
    let message = format!("{kind} \"{name}\" is invalid: {field}: {why}");
    let mut answer = status_of(422, "Invalid", (name, kind), &message);
    let mut body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    body["details"]["causes"] = json!([{"reason": cause, "message": why, "field": field}]);
    answer.body = body.to_string();
    answer
}

/// A kind with its group, as refusals name it.
fn kind_of(plural: &str) -> &'static str {
    match plural {
        "deployments" => "Deployment.apps",
        "statefulsets" => "StatefulSet.apps",
        "daemonsets" => "DaemonSet.apps",
        "cronjobs" => "CronJob.batch",
        _ => "Object",
    }
}

fn missing(resource: &str, name: &str) -> Answer {
    status_of(404, "NotFound", (name, resource), &format!("{resource} \"{name}\" not found"))
}

impl Cluster {
    /// The answer to a request for `path`, which begins at the API server's root.
    pub fn answer_at(&self, path: &str, request: &Request) -> Answer {
        let mut state = self.state();
        state.go_on(self.rollout);
        let answer = state.answer(path, request);
        if matches!(request.method.as_str(), "PATCH" | "PUT" | "DELETE") {
            state.writes.push(Write {
                method: request.method.clone(),
                path: path.to_owned(),
                body: request.body.clone(),
                status: answer.status,
            });
        }
        answer
    }
}

impl State {
    fn answer(&mut self, path: &str, request: &Request) -> Answer {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match (request.method.as_str(), parts.as_slice()) {
            // Until 1.20 they were of another version; of 1.25 and newer they are of this one alone.
            (_, ["apis", "batch", "v1", "namespaces", _, "cronjobs", ..]) if self.old_cron_jobs => {
                status(404, "NotFound", "the server could not find the requested resource")
            }
            (method, ["apis", "batch", "v1beta1", "namespaces", namespace, plural, rest @ ..])
                if self.old_cron_jobs =>
            {
                self.objects(method, (namespace, plural, rest), request)
            }
            ("GET", ["version"]) => {
                Answer::json(200, &json!({"major": "1", "minor": "36", "gitVersion": "v1.36.0"}))
            }
            ("POST", ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"]) => {
                self.review(request)
            }
            ("GET", ["api", "v1", "namespaces", name]) => {
                self.get(&("namespaces".to_owned(), String::new(), (*name).to_owned()))
            }
            (method, ["api", "v1", "namespaces", namespace, "pods", name @ ..]) => {
                self.pods(method, namespace, name.first().copied(), request)
            }
            (
                method,
                ["apis", "apps", "v1", "namespaces", namespace, plural, rest @ ..]
                | ["apis", "batch", "v1", "namespaces", namespace, plural, rest @ ..]
                | ["apis", "autoscaling", "v1" | "v2", "namespaces", namespace, plural, rest @ ..],
            ) => self.objects(method, (namespace, plural, rest), request),
            _ => Answer::text(404, "404 page not found\n"),
        }
    }

    fn objects(
        &mut self,
        method: &str,
        (namespace, plural, rest): (&str, &str, &[&str]),
        request: &Request,
    ) -> Answer {
        const KNOWN: [&str; 7] = [
            "deployments",
            "statefulsets",
            "daemonsets",
            "cronjobs",
            "replicasets",
            "controllerrevisions",
            "horizontalpodautoscalers",
        ];
        if !KNOWN.contains(&plural) {
            return Answer::text(404, "404 page not found\n");
        }
        let verb = match (method, rest) {
            ("GET", []) => "list",
            ("GET", _) => "get",
            ("PATCH", _) => "patch",
            _ => "update",
        };
        if self.denied.contains(&(verb.to_owned(), plural.to_owned())) {
            let message = format!(
                "{plural}.apps is forbidden: User \"worker\" cannot {verb} resource \"{plural}\" in API group \"apps\" in the namespace \"{namespace}\""
            );
            return status(403, "Forbidden", &message);
        }
        match (method, rest) {
            ("GET", []) => {
                let all = self.objects.iter().filter(|((of, at, _), _)| of == plural && at == namespace);
                let all: Vec<Value> = all.map(|(_, object)| object.clone()).collect();
                let kind = match plural {
                    "replicasets" => ("apps/v1", "ReplicaSetList"),
                    "controllerrevisions" => ("apps/v1", "ControllerRevisionList"),
                    "horizontalpodautoscalers" => ("autoscaling/v2", "HorizontalPodAutoscalerList"),
                    _ => ("v1", "List"),
                };
                self.list(kind, all, request)
            }
            (_, [name]) => {
                let key = (plural.to_owned(), namespace.to_owned(), (*name).to_owned());
                if !self.objects.contains_key(&key) {
                    return missing(&format!("{plural}.apps"), name);
                }
                match method {
                    "GET" => self.get(&key),
                    "PATCH" => self.patch(&key, request),
                    "PUT" => self.put(&key, request),
                    _ => status(405, "MethodNotAllowed", "the server does not allow this method"),
                }
            }
            _ => Answer::text(404, "404 page not found\n"),
        }
    }

    fn get(&self, key: &Key) -> Answer {
        match self.objects.get(key) {
            Some(object) => Answer::json(200, object),
            None => missing(&key.0, &key.2),
        }
    }

    /// Those with the labels that are asked for, so many at once. In a list nothing says what kind it is of (recorded:
    /// "pods of failed rollout").
    pub(super) fn list(&self, (version, kind): (&str, &str), all: Vec<Value>, request: &Request) -> Answer {
        let has = |object: &Value| selected(request.parameter("labelSelector"), object);
        let mut all: Vec<Value> = all.into_iter().filter(has).collect();
        for object in all.iter_mut().filter_map(Value::as_object_mut) {
            object.remove("kind");
            object.remove("apiVersion");
        }
        let from: usize = request.parameter("continue").and_then(|at| at.parse().ok()).unwrap_or_default();
        let limit = request.parameter("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        let until = from.saturating_add(limit.min(self.page)).min(all.len());
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if until < all.len() {
            metadata["continue"] = json!(until.to_string());
        }
        let items = all.get(from..until).unwrap_or_default();
        Answer::json(200, &json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}))
    }

    fn patch(&mut self, key: &Key, request: &Request) -> Answer {
        let Some(mut object) = self.objects.get(key).cloned() else { return missing(&key.0, &key.2) };
        let kind = request.header("content-type").unwrap_or_default();
        let apply: fn(&mut Value, &Value) = match kind {
            "application/strategic-merge-patch+json" => strategic_merge,
            "application/merge-patch+json" => merge,
            _ => {
                return status(
                    415,
                    "UnsupportedMediaType",
                    "the body of the request was in an unknown format",
                );
            }
        };
        if let Some(refusal) = self.stale(key, &request.body) {
            return refusal;
        }
        apply(&mut object, &request.body);
        self.admit(key, object)
    }

    fn put(&mut self, key: &Key, request: &Request) -> Answer {
        if let Some(refusal) = self.stale(key, &request.body) {
            return refusal;
        }
        let mut object = request.body.clone();
        // Status is another resource.
        if let Some(before) = self.objects.get(key) {
            object["status"] = before["status"].clone();
        }
        self.admit(key, object)
    }

    /// In a rollout the version changes every few hundred milliseconds: whoever wrote a moment ago read another one.
    fn stale(&mut self, key: &Key, body: &Value) -> Option<Answer> {
        if self.storm > 0 {
            self.storm -= 1;
            let version = self.next_version();
            if let Some(object) = self.objects.get_mut(key) {
                object["metadata"]["resourceVersion"] = json!(version);
            }
        }
        let uid = self.objects.get(key).and_then(|object| object.pointer("/metadata/uid"));
        if let (Some(expected), Some(stands)) = (body.pointer("/metadata/uid"), uid)
            && expected != stands
        {
            let why = format!("Invalid value: {expected}: field is immutable");
            let of = ("metadata.uid", "FieldValueInvalid", why.as_str());
            return Some(invalid(key, kind_of(&key.0), of));
        }
        let expected = body.pointer("/metadata/resourceVersion")?;
        let stands = self.objects.get(key)?.pointer("/metadata/resourceVersion")?;
        let message = format!(
            "Operation cannot be fulfilled on {}.apps \"{}\": the object has been modified; please apply your changes to the latest version and try again",
            key.0, key.2
        );
        let resource = format!("{}.apps", key.0);
        (expected != stands).then(|| status_of(409, "Conflict", (&key.2, &resource), &message))
    }

    /// No reference of an image is looked at: `bad image` is as good as any. Only an empty one is refused.
    fn admit(&mut self, key: &Key, mut object: Value) -> Answer {
        let template =
            if key.0 == "cronjobs" { "/spec/jobTemplate/spec/template/spec" } else { "/spec/template/spec" };
        for list in ["containers", "initContainers"] {
            let containers = object.pointer_mut(&format!("{template}/{list}")).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                let image = container["image"].as_str().unwrap_or_default().to_owned();
                if image.is_empty() {
                    let field = "spec.template.spec.containers[0].image";
                    return invalid(key, kind_of(&key.0), (field, "FieldValueRequired", "Required value"));
                }
                if let Some((from, to)) = &self.mutates
                    && let Some(rest) = image.strip_prefix(from.as_str())
                {
                    container["image"] = json!(format!("{to}{rest}"));
                }
            }
        }
        self.store(key, object);
        self.get(key)
    }

    fn review(&self, request: &Request) -> Answer {
        let asked = &request.body["spec"]["resourceAttributes"];
        let text = |field: &str| asked[field].as_str().unwrap_or_default().to_owned();
        let allowed = !self.denied.contains(&(text("verb"), text("resource")));
        let mut body = request.body.clone();
        body["status"] = json!({"allowed": allowed});
        Answer::json(201, &body)
    }
}

/// `a=b,c in (d,e)`: as much of it as workers ask.
fn selected(selector: Option<&str>, object: &Value) -> bool {
    let labels = &object["metadata"]["labels"];
    let wanted = selector.unwrap_or_default().split(',').filter(|part| !part.is_empty());
    wanted.map(|part| part.split_once('=').unwrap_or((part, ""))).all(|(name, value)| labels[name] == value)
}
