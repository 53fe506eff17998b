//! The controllers: they see a write after a while, and bring it about step by step.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{BAD, CRASHING, FLAKY, Key, NODES, NOWHERE, QUOTA, State};

/// What a workload's pods are on the way to.
#[derive(Debug, Clone)]
pub(super) struct Rollout {
    /// Of the new pods.
    pub(super) template: Value,
    /// Of those that are replaced.
    pub(super) former: Option<Value>,
    /// When the controller saw it; none: it was over long ago.
    pub(super) began: Option<Instant>,
    /// When somebody last wrote.
    pub(super) written: Instant,
    pub(super) desired: u64,
    pub(super) revision: u64,
    /// The broken pod that keeps a stateful set from going on, whatever its template says by now.
    pub(super) stuck: Option<Value>,
    /// Until then the condition of the rollout before stands.
    pub(super) stale_until: Option<Instant>,
}

/// What becomes of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Good,
    Missing,
    Crashes,
    Flaky,
    Nowhere,
    Quota,
}

/// Pods at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) updated: u64,
    /// Of the updated ones.
    pub(super) available: u64,
    pub(super) old: u64,
}

impl Fate {
    pub(super) fn of(template: &Value) -> Fate {
        let images =
            ["containers", "initContainers"].iter().filter_map(|list| template["spec"][*list].as_array());
        let images = images.flatten().filter_map(|container| container["image"].as_str());
        for image in images {
            let tag = image.split('@').next().unwrap_or(image);
            for (ending, fate) in [
                (BAD, Fate::Missing),
                (CRASHING, Fate::Crashes),
                (FLAKY, Fate::Flaky),
                (NOWHERE, Fate::Nowhere),
                (QUOTA, Fate::Quota),
            ] {
                if tag.ends_with(ending) {
                    return fate;
                }
            }
        }
        Fate::Good
    }
}

impl Rollout {
    fn elapsed(&self) -> Duration {
        self.began.map_or(Duration::from_secs(3600), |began| began.elapsed())
    }

    /// How many pods there are of which kind. `keep`: so many are left as they are.
    pub(super) fn counts(&self, plural: &str, takes: Duration, keep: u64) -> Counts {
        let wanted = self.desired.saturating_sub(keep);
        if self.stuck.is_some() {
            return Counts { updated: 0, available: 0, old: self.desired };
        }
        let share = self.elapsed().as_secs_f64() / takes.as_secs_f64();
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "few pods"
        )]
        let done = ((wanted as f64 * share) as u64).min(wanted);
        let former = if self.former.is_some() { self.desired } else { 0 };
        match Fate::of(&self.template) {
            Fate::Good | Fate::Flaky if done == wanted => {
                let fell = Fate::of(&self.template) == Fate::Flaky && share >= 2.0;
                Counts { updated: wanted, available: if fell { 0 } else { wanted }, old: keep }
            }
            Fate::Good | Fate::Flaky => Counts {
                updated: (done + 1).min(wanted),
                available: done,
                old: match plural {
                    "deployments" => former.saturating_sub(done),
                    _ => former.saturating_sub(done + 1),
                },
            },
            Fate::Missing | Fate::Crashes | Fate::Nowhere => Counts {
                updated: wanted.min(1),
                available: 0,
                old: if plural == "deployments" { former } else { former.saturating_sub(1) },
            },
            Fate::Quota => Counts { updated: 0, available: 0, old: former },
        }
    }
}

/// The hash that names a template.
pub(super) fn hash(template: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    template.to_string().hash(&mut hasher);
    format!("{:010x}", hasher.finish() & 0xff_ffff_ffff)
}

fn desired(key: &Key, object: &Value) -> u64 {
    match key.0.as_str() {
        "daemonsets" => NODES,
        _ => object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1),
    }
}

fn has_pods(key: &Key) -> bool {
    ["deployments", "statefulsets", "daemonsets"].contains(&key.0.as_str())
}

impl State {
    /// Says that a workload was brought about long ago.
    pub(super) fn settle(&mut self, key: &Key, takes: Duration) {
        let Some(object) = self.objects.get(key).cloned().filter(|_| has_pods(key)) else { return };
        let now = Instant::now();
        let rollout = Rollout {
            template: object["spec"]["template"].clone(),
            former: None,
            began: None,
            written: now.checked_sub(Duration::from_secs(10)).unwrap_or(now),
            desired: desired(key, &object),
            revision: 1,
            stuck: None,
            stale_until: None,
        };
        self.note_revision(key, &object, &rollout);
        self.rollouts.insert(key.clone(), rollout);
        self.go_on(takes);
    }

    /// What the controllers did until now.
    pub(super) fn go_on(&mut self, takes: Duration) {
        let keys: Vec<Key> = self.rollouts.keys().cloned().collect();
        for key in keys {
            let (Some(object), Some(mut rollout)) =
                (self.objects.get(&key).cloned(), self.rollouts.remove(&key))
            else {
                continue;
            };
            // Right after a write every number still tells of the rollout before.
            if rollout.written.elapsed() >= takes / 8 {
                self.reconcile(&key, object, &mut rollout, takes);
            }
            self.rollouts.insert(key, rollout);
        }
    }

    fn reconcile(&mut self, key: &Key, object: Value, rollout: &mut Rollout, takes: Duration) {
        let template = &object["spec"]["template"];
        let is_paused = object["spec"]["paused"] == true;
        let by_hand = object.pointer("/spec/updateStrategy/type").is_some_and(|kind| kind == "OnDelete");
        if rollout.template != *template && !is_paused && !by_hand {
            let broken = Fate::of(&rollout.template) != Fate::Good && rollout.began.is_some();
            // A broken pod of a stateful set stays, though another template is wished by now.
            if key.0 == "statefulsets" && broken && rollout.stuck.is_none() {
                rollout.stuck = Some(rollout.template.clone());
            }
            let running = if broken { rollout.former.take() } else { Some(rollout.template.clone()) };
            rollout.former = running;
            rollout.template = template.clone();
            rollout.began = Some(Instant::now());
            rollout.revision += 1;
            let exceeded = object.to_string().contains("ProgressDeadlineExceeded");
            rollout.stale_until = exceeded.then(|| Instant::now() + takes / 2);
        }
        let desired = desired(key, &object);
        if rollout.desired != desired {
            rollout.desired = desired;
            rollout.former = None;
            rollout.began = Some(Instant::now());
        }
        self.note_revision(key, &object, rollout);
        let Some(mut object) = self.objects.get(key).cloned() else { return };
        let status = without_zeros(status(key, &object, rollout, takes));
        if object["status"] != status {
            object["status"] = status;
            object["metadata"]["resourceVersion"] = json!(self.next_version());
            self.objects.insert(key.clone(), object);
        }
    }

    /// The replica set, or the revision, of the template: the annotations of the workload are copied onto it.
    fn note_revision(&mut self, key: &Key, object: &Value, rollout: &Rollout) {
        let (_, namespace, name) = key;
        let hash = hash(&rollout.template);
        let plural = if key.0 == "deployments" { "replicasets" } else { "controllerrevisions" };
        let label = if key.0 == "deployments" { "pod-template-hash" } else { "controller-revision-hash" };
        let mut labels = rollout.template["metadata"]["labels"].clone();
        labels[label] = json!(if key.0 == "deployments" { hash.clone() } else { format!("{name}-{hash}") });
        let mut annotations = object["metadata"]["annotations"].clone();
        if key.0 == "deployments" {
            annotations["deployment.kubernetes.io/revision"] = json!(rollout.revision.to_string());
        }
        let metadata = json!({
            "name": format!("{name}-{hash}"), "namespace": namespace, "labels": labels, "annotations": annotations,
            "ownerReferences": [{"kind": object["kind"], "name": name, "uid": object["metadata"]["uid"], "controller": true}],
        });
        let mut revision = json!({"apiVersion": "apps/v1", "metadata": metadata});
        if key.0 == "deployments" {
            revision["spec"] = json!({"template": rollout.template});
            if Fate::of(&rollout.template) == Fate::Quota {
                revision["status"] = json!({"conditions": [quota_condition(name)]});
            }
        } else {
            revision["revision"] = json!(rollout.revision);
            revision["data"] = json!({"spec": {"template": rollout.template}});
        }
        let place = (plural.to_owned(), namespace.clone(), format!("{name}-{hash}"));
        self.objects.insert(place, revision);
        if key.0 == "deployments"
            && let Some(object) = self.objects.get_mut(key)
        {
            object["metadata"]["annotations"]["deployment.kubernetes.io/revision"] =
                json!(rollout.revision.to_string());
        }
    }

    /// See [`super::Cluster::undo`].
    pub(super) fn undo(&mut self, name: &str) {
        let key = ("deployments".to_owned(), "shop".to_owned(), name.to_owned());
        let Some(mut object) = self.objects.get(&key).cloned() else { return };
        let revision = |set: &Value| {
            let text = set["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str();
            text.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default()
        };
        let current = revision(&object);
        let sets = self.objects.iter().filter(|((plural, _, _), set)| {
            plural == "replicasets"
                && set.pointer("/metadata/ownerReferences/0/name").is_some_and(|owner| owner == name)
        });
        let former =
            sets.map(|(_, set)| set).filter(|set| revision(set) < current).max_by_key(|set| revision(set));
        let Some(former) = former.cloned() else { return };
        object["spec"]["template"] = former["spec"]["template"].clone();
        let mut annotations = former["metadata"]["annotations"].clone();
        annotations["deployment.kubernetes.io/revision"] = json!(current.to_string());
        object["metadata"]["annotations"] = annotations;
        self.store(&key, object);
    }
}

fn quota_condition(name: &str) -> Value {
    json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
           "message": format!("pods \"{name}-x\" is forbidden: exceeded quota: few, requested: pods=1, used: pods=4, limited: pods=4")})
}

fn status(key: &Key, object: &Value, rollout: &Rollout, takes: Duration) -> Value {
    let keep =
        object.pointer("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_u64).unwrap_or(0);
    let Counts { updated, available, old } = rollout.counts(&key.0, takes, keep);
    let generation = &object["metadata"]["generation"];
    let (new, former) = (hash(&rollout.template), rollout.former.as_ref().map(hash));
    let name = &key.2;
    match key.0.as_str() {
        "deployments" => {
            // Paused with another template, it has no pod of that yet.
            let (updated, available, old) = match rollout.template == object["spec"]["template"] {
                true => (updated, available, old),
                false => (0, 0, updated + old),
            };
            let mut conditions = vec![progressing(object, rollout, (updated, available, old))];
            if Fate::of(&rollout.template) == Fate::Quota {
                conditions.push(quota_condition(name));
            }
            json!({
                "observedGeneration": generation, "replicas": updated + old, "updatedReplicas": updated,
                "readyReplicas": available + old, "availableReplicas": available + old,
                "unavailableReplicas": updated - available, "conditions": conditions,
            })
        }
        "statefulsets" => {
            let broken = u64::from(rollout.stuck.is_some());
            let current =
                if updated == rollout.desired { Some(&new) } else { former.as_ref().or(Some(&new)) };
            json!({
                "observedGeneration": generation, "replicas": rollout.desired, "updatedReplicas": updated,
                "readyReplicas": available + old - broken, "availableReplicas": available + old - broken,
                "currentReplicas": old, "updateRevision": format!("{name}-{new}"),
                "currentRevision": current.map(|hash| format!("{name}-{hash}")),
            })
        }
        _ => json!({
            "observedGeneration": generation, "desiredNumberScheduled": rollout.desired,
            "currentNumberScheduled": rollout.desired, "updatedNumberScheduled": updated,
            "numberReady": available + old, "numberAvailable": available + old, "numberMisscheduled": 0,
        }),
    }
}

/// Most counters are left out where they are zero (recorded: "k8s get").
fn without_zeros(mut status: Value) -> Value {
    const KEPT: [&str; 4] =
        ["currentNumberScheduled", "desiredNumberScheduled", "numberReady", "numberMisscheduled"];
    if let Some(counters) = status.as_object_mut() {
        counters.retain(|name, value| *value != 0 || KEPT.contains(&name.as_str()));
    }
    status
}

fn progressing(object: &Value, rollout: &Rollout, (updated, available, old): (u64, u64, u64)) -> Value {
    let complete = available == rollout.desired && updated == rollout.desired && old == 0;
    let limit = object["spec"]["progressDeadlineSeconds"].as_u64().unwrap_or(600);
    // Where a former template comes back whose pods are gone, the word of the rollout before stands until one is up.
    let is_stale = rollout.stale_until.is_some_and(|until| Instant::now() < until);
    let revision = if is_stale { rollout.revision - 1 } else { rollout.revision };
    let flaky_fell =
        Fate::of(&rollout.template) == Fate::Flaky && available == 0 && updated == rollout.desired;
    let (status, reason) = match complete || flaky_fell {
        _ if is_stale => ("False", "ProgressDeadlineExceeded"),
        _ if object["spec"]["paused"] == true => ("Unknown", "DeploymentPaused"),
        // Once complete, pods that come down are no matter of the rollout any more.
        true => ("True", "NewReplicaSetAvailable"),
        false if rollout.elapsed() >= Duration::from_secs(limit) => ("False", "ProgressDeadlineExceeded"),
        false => ("True", "ReplicaSetUpdated"),
    };
    let message = format!(
        "ReplicaSet \"{}-{}\" {reason}",
        object["metadata"]["name"].as_str().unwrap_or_default(),
        hash(&rollout.template)
    );
    let at = format!("2026-01-01T00:00:{:02}Z", revision % 60);
    json!({"type": "Progressing", "status": status, "reason": reason, "message": message, "lastTransitionTime": at})
}
