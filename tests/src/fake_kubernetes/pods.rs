//! The pods of a workload, made up from how far its rollout is.

use std::time::Instant;

use serde_json::{Value, json};

use super::controllers::{Counts, Fate, Rollout, hash};
use super::{Key, State};
use crate::fake_http::{Answer, Request};

impl State {
    pub(super) fn pods(
        &mut self,
        method: &str,
        namespace: &str,
        name: Option<&str>,
        request: &Request,
    ) -> Answer {
        let verb = match (method, name) {
            ("DELETE", _) => "delete",
            (_, None) => "list",
            (_, Some(_)) => "get",
        };
        if self.denied.contains(&(verb.to_owned(), "pods".to_owned())) {
            let message = format!("pods is forbidden: User \"worker\" cannot {verb} resource \"pods\"");
            return super::api::status(403, "Forbidden", &message);
        }
        let of_it = |(key, _): &(&Key, &Rollout)| key.1 == namespace;
        let all: Vec<Value> = self
            .rollouts
            .iter()
            .filter(of_it)
            .flat_map(|(key, rollout)| self.pods_of(key, rollout))
            .collect();
        match (verb, name) {
            ("delete", Some(name)) => self.delete_pod(name),
            (_, None) => self.list(("v1", "PodList"), all, request),
            (_, Some(name)) => match all.iter().find(|pod| pod["metadata"]["name"] == name) {
                Some(pod) => Answer::json(200, pod),
                None => super::api::status(404, "NotFound", &format!("pods \"{name}\" not found")),
            },
        }
    }

    /// Only the broken pod of a stateful set is ever missed: its controller makes a new one, of the newest template.
    fn delete_pod(&mut self, name: &str) -> Answer {
        for ((plural, _, of), rollout) in &mut self.rollouts {
            let highest = format!("{of}-{}", rollout.desired.saturating_sub(1));
            if plural == "statefulsets" && highest == name && rollout.stuck.take().is_some() {
                rollout.began = Some(Instant::now());
                return Answer::json(200, &json!({"kind": "Pod", "metadata": {"name": name}}));
            }
        }
        super::api::status(404, "NotFound", &format!("pods \"{name}\" not found"))
    }

    fn pods_of(&self, key: &Key, rollout: &Rollout) -> Vec<Value> {
        let object = self.objects.get(key).cloned().unwrap_or_default();
        let keep = object
            .pointer("/spec/updateStrategy/rollingUpdate/partition")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        let Counts { updated, available, old } = self.counts_of(key, rollout, keep);
        let maker = Maker { key, namespace: &key.1 };
        let mut pods = Vec::new();
        for number in 0..updated {
            let fate = if number < available { Fate::Good } else { Fate::of(&rollout.template) };
            let is_new = number >= available;
            let ordinal = rollout.desired.saturating_sub(1 + number);
            pods.push(maker.pod((&rollout.template, ordinal), fate, is_new, rollout));
        }
        for number in 0..old {
            let last = number + 1 == old;
            match (&rollout.stuck, &rollout.former) {
                (Some(broken), _) if last => {
                    pods.push(maker.pod((broken, number), Fate::of(broken), true, rollout));
                }
                (_, former) => {
                    let template = former.as_ref().unwrap_or(&rollout.template);
                    pods.push(maker.pod((template, number), Fate::Good, false, rollout));
                }
            }
        }
        pods
    }

    fn counts_of(&self, key: &Key, rollout: &Rollout, keep: u64) -> Counts {
        // As the status tells, which was brought up to date a moment ago.
        let status = self.objects.get(key).map(|object| object["status"].clone()).unwrap_or_default();
        let number = |field: &str| status[field].as_u64().unwrap_or_default();
        if rollout.stuck.is_some() {
            return Counts { updated: 0, available: 0, old: rollout.desired };
        }
        let (updated, ready, total) = match key.0.as_str() {
            "daemonsets" => (
                number("updatedNumberScheduled"),
                number("numberAvailable"),
                number("desiredNumberScheduled"),
            ),
            _ => (number("updatedReplicas"), number("readyReplicas"), number("replicas")),
        };
        let old = total.saturating_sub(updated).max(keep.min(total));
        Counts { updated, available: ready.saturating_sub(old), old }
    }
}

struct Maker<'a> {
    key: &'a Key,
    namespace: &'a str,
}

impl Maker<'_> {
    fn pod(&self, (template, number): (&Value, u64), fate: Fate, is_new: bool, rollout: &Rollout) -> Value {
        let (plural, _, of) = self.key;
        let hash = hash(template);
        let mut labels = template["metadata"]["labels"].clone();
        let (name, owner) = match plural.as_str() {
            "deployments" => {
                labels["pod-template-hash"] = json!(hash);
                (
                    format!("{of}-{hash}-{number}"),
                    json!({"kind": "ReplicaSet", "name": format!("{of}-{hash}")}),
                )
            }
            "statefulsets" => {
                labels["controller-revision-hash"] = json!(format!("{of}-{hash}"));
                (format!("{of}-{number}"), json!({"kind": "StatefulSet", "name": of}))
            }
            _ => {
                labels["controller-revision-hash"] = json!(format!("{of}-{hash}"));
                (format!("{of}-{hash}-{number}"), json!({"kind": "DaemonSet", "name": of}))
            }
        };
        let up = fate == Fate::Good && !is_new;
        let began = rollout
            .began
            .map_or_else(|| "2026-01-01T00:00:00Z".to_owned(), |_| proto::Timestamp::now().to_string());
        let state = container_state(fate, up);
        let statuses: Vec<Value> = template["spec"]["containers"].as_array().into_iter().flatten().map(|container| {
            let mut status = json!({
                "name": container["name"], "image": container["image"], "ready": up, "state": state.0,
                "restartCount": state.1,
            });
            if state.1 > 0 {
                status["lastState"] = json!({"terminated": {
                    "exitCode": 3, "reason": "Error", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z",
                }});
            }
            status
        }).collect();
        let mut conditions = vec![json!({
            "type": "Ready", "status": if up { "True" } else { "False" }, "lastTransitionTime": began,
        })];
        if fate == Fate::Nowhere {
            conditions.push(json!({
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": "0/2 nodes are available: 2 Insufficient cpu.",
            }));
        }
        let mut spec = template["spec"].clone();
        if fate != Fate::Nowhere {
            spec["nodeName"] = json!(format!("node-{}", number % 2 + 1));
        }
        let statuses = if fate == Fate::Nowhere { Vec::new() } else { statuses };
        json!({
            "apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": name, "namespace": self.namespace, "labels": labels, "ownerReferences": [owner]},
            "status": {"phase": if up { "Running" } else { "Pending" }, "conditions": conditions, "containerStatuses": statuses},
        })
    }
}

fn container_state(fate: Fate, up: bool) -> (Value, u64) {
    match fate {
        _ if up => (json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}), 0),
        Fate::Missing => (
            json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image: manifest unknown"}}),
            0,
        ),
        Fate::Crashes | Fate::Flaky => (
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}),
            2,
        ),
        Fate::Good | Fate::Nowhere | Fate::Quota => (json!({"waiting": {"reason": "ContainerCreating"}}), 0),
    }
}
