//! Rancher 2.4.3 before a Kubernetes 1.12.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tests::fake_kubernetes::{BAD, Cluster};
use tests::fake_rancher::{CLUSTER, FakeRancher, KEY, PROJECT};

use crate::account::{Account, Known};
use crate::shape::differences;
use crate::trace::{Told, Trace};

const RECORDING: &str = include_str!("rancher.jsonl");

/// What counts beside its kind.
const SAME: [&str; 8] =
    ["$.id", "$.type", "$.baseType", "$.name", "$.namespaceId", "$.kind", "$.apiVersion", "$.metadata.name"];

/// What no worker asks, and why.
const NOT_ASKED: [(&str, &str); 13] = [
    ("projects list", "a project is named by its id, and only filters answers"),
    ("workload list by name", "a workload is asked for by its id: lists overlook filters"),
    ("redeploy", "workers write to Kubernetes itself; Rancher's own actions write the lossy form"),
    ("pause", "the same"),
    ("pause again", "the same"),
    ("resume", "the same"),
    ("revisions", "the same"),
    ("rollback", "the same"),
    ("rollback bad id", "the same"),
    ("rollback empty", "the same"),
    ("k8s watch", "workers poll"),
    ("k8s patch json test fail", "workers send strategic merges alone"),
    ("token scoped create", "people make keys, workers do not"),
];

const FORM: &str = "workers neither read nor write Rancher's own form";
const UNREAD: &str = "no worker reads it";

const KNOWN: [Known; 49] = [
    ("*", "left out $.actions", FORM),
    ("*", "left out $.links", FORM),
    ("*", "left out $.created*", FORM),
    ("*", "left out $.creatorId", FORM),
    ("*", "left out $.deploymentConfig", FORM),
    ("*", "left out $.statefulSetConfig", FORM),
    ("*", "left out $.dnsPolicy", FORM),
    ("*", "left out $.host*", FORM),
    ("*", "left out $.paused", FORM),
    ("*", "left out $.scheduling", FORM),
    ("*", "left out $.selector.type", FORM),
    ("*", "left out $.terminationGracePeriodSeconds", FORM),
    ("*", "left out $.transitioningMessage", FORM),
    ("*", "left out $.containers[].*", FORM),
    ("*", "left out $.deploymentStatus.*", FORM),
    ("*", "left out $.statefulSetStatus.*", FORM),
    ("statefulset get", "added $.statefulSetStatus.availableReplicas", "Kubernetes has it since 1.22"),
    ("*", "left out $.metadata.selfLink", "gone since Kubernetes 1.20"),
    ("*", "left out $.items[].metadata.selfLink", "the same"),
    ("*", "left out $.metadata.creationTimestamp", UNREAD),
    ("*", "left out $.status.conditions[].lastUpdateTime", UNREAD),
    (
        "*",
        "left out $.status.unavailableReplicas",
        "the recorded rollout was under way, and the fake's is done",
    ),
    ("k8s get", "added $.status.updatedReplicas", "the same"),
    (
        "k8s GET after progress deadline",
        "left out $.spec.template.spec.containers[].termination*",
        "the API server fills it in by itself",
    ),
    (
        "pods of failed rollout",
        "left out $.items[].spec.serviceAccount*",
        "the API server fills it in by itself",
    ),
    ("pods of failed rollout", "left out $.items[].spec.volumes", "the API server fills it in by itself"),
    (
        "pods of failed rollout",
        "left out $.items[].spec.containers[].volumeMounts",
        "the API server fills it in by itself",
    ),
    ("pods of failed rollout", "left out $.items[].metadata.annotations", UNREAD),
    ("pods of failed rollout", "left out $.items[].metadata.generateName", UNREAD),
    ("pods of failed rollout", "left out $.items[].metadata.ownerReferences[].uid", UNREAD),
    ("pods of failed rollout", "left out $.items[].metadata.ownerReferences[].controller", UNREAD),
    ("pods of failed rollout", "left out $.items[].status.podIP", UNREAD),
    ("pods of failed rollout", "left out $.items[].status.hostIP", UNREAD),
    ("pods of failed rollout", "left out $.items[].status.startTime", UNREAD),
    ("pods of failed rollout", "left out $.items[].status.qosClass", UNREAD),
    ("pods of failed rollout", "left out $.items[].status.containerStatuses[].lastState", UNREAD),
    ("pods of failed rollout", "left out $.items[].status.containerStatuses[].imageID", UNREAD),
    ("pods of failed rollout", "left out $.items[].status.conditions[].lastProbeTime", UNREAD),
    ("*", "left out $.items[].metadata.creationTimestamp", UNREAD),
    ("*", "left out $.items[].metadata.uid", UNREAD),
    ("*", "left out $.items[].metadata.resourceVersion", UNREAD),
    ("*", "left out $.items[].metadata.ownerReferences[].apiVersion", UNREAD),
    ("*", "left out $.items[].metadata.ownerReferences[].blockOwnerDeletion", UNREAD),
    ("replicasets", "left out $.items[].spec.selector", UNREAD),
    ("replicasets", "left out $.items[].spec.replicas", UNREAD),
    ("replicasets", "left out $.items[].spec.template.metadata.labels.pod-template-hash", UNREAD),
    ("replicasets", "left out $.items[].metadata.annotations.deployment*", UNREAD),
    ("replicasets", "left out $.items[].metadata.generation", UNREAD),
    ("replicasets", "left out $.items[].status", UNREAD),
];

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_fake_answers_as_the_recorded_one_did() {
    let traces = Trace::all(RECORDING);
    let mut account = Account::of(&KNOWN);
    for trace in &traces {
        if NOT_ASKED.iter().any(|(case, _)| *case == trace.case) {
            continue;
        }
        let scene = Scene::of(trace, &traces);
        let fails =
            ["GET after progress deadline", "k8s GET after progress deadline", "pods of failed rollout"];
        if fails.contains(&trace.case.as_str()) {
            let bad = traces.iter().find(|trace| trace.case == "bad image put").unwrap();
            drop(scene.play(bad).await);
        }
        let (recorded, told) = scene.play(trace).await;
        account.note(&trace.case, differences(&recorded, &told, &SAME));
    }
    for (case, why) in NOT_ASKED {
        assert!(traces.iter().any(|trace| trace.case == case), "{case}: {why}");
    }
    account.close("rancher", traces.len());
}

/// A fake as the recorded server stood when it was asked.
struct Scene {
    rancher: FakeRancher,
    /// What is sent as the key; nothing where it is empty.
    key: String,
    version: String,
    uid: String,
}

impl Scene {
    fn of(trace: &Trace, traces: &[Trace]) -> Scene {
        let cluster = Arc::new(Cluster::new(Duration::ZERO));
        let recorded = traces.iter().find(|trace| trace.case == "k8s get").unwrap();
        let deployment = stood(&recorded.answer.body);
        cluster.add("deployments", "default", deployment.clone());
        cluster.add("statefulsets", "default", stateful(&deployment));
        let rancher = FakeRancher::start(Arc::clone(&cluster)).unwrap();
        rancher.put_in_project("default", PROJECT);
        let key = match trace.case.as_str() {
            "401 none" => String::new(),
            "401 bad" => "token-nobody:nothing".to_owned(),
            case if case.contains("scoped token on") => {
                rancher.add_key("token-scoped", |key| CLUSTER.clone_into(&mut key.cluster))
            }
            _ => KEY.to_owned(),
        };
        let object = cluster.object("deployments", "default", "s1");
        let of = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (version, uid) = (of("resourceVersion"), of("uid"));
        Scene { rancher, key, version, uid }
    }

    /// What was recorded, and what the fake says, both in the fake's names.
    async fn play(&self, trace: &Trace) -> (Told, Told) {
        let mut asked = trace.clone();
        asked.renamed(|text| self.renamed(text));
        if !self.key.is_empty() {
            asked.headers.push(("Authorization".to_owned(), format!("Bearer {}", self.key)));
        }
        if trace.case == "yaml link put" {
            asked.body["metadata"]["resourceVersion"] = json!(self.version);
        }
        asked.headers.push(("Accept".to_owned(), "application/json".to_owned()));
        let told = asked.asked_of(&self.rancher.url(), PATIENCE).await;
        (asked.answer, told)
    }

    fn renamed(&self, text: &str) -> String {
        let text =
            text.replace("p-jtgxb", PROJECT).replace("4855aea7-e564-11f1-a87a-05b4a75a07e6", &self.uid);
        // What the fake takes for an image that nobody has.
        let text = text.replace("/bad:1", &format!("/bad:1{BAD}"));
        text.replace("local:", &format!("{CLUSTER}:"))
            .replace("/clusters/local", &format!("/clusters/{CLUSTER}"))
    }
}

/// The recorded deployment, to be put there: what the server keeps of it by itself is left out.
fn stood(recorded: &Value) -> Value {
    let metadata = json!({"name": "s1", "annotations": recorded["metadata"]["annotations"]});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": recorded["spec"]})
}

/// A stateful set with the same pods.
fn stateful(deployment: &Value) -> Value {
    let spec = &deployment["spec"];
    let mut template = spec["template"].clone();
    template["metadata"] = json!({"labels": {"app": "st1"}});
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "st1"},
        "spec": {
            "replicas": 3, "serviceName": "st1", "podManagementPolicy": "OrderedReady", "template": template,
            "selector": {"matchLabels": {"app": "st1"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        },
    })
}
