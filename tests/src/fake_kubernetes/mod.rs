//! A Kubernetes cluster as workers meet it: an API server with optimistic writes, and controllers that take their time,
//! whose status is stale right after a write and changes under everybody's hands in a rollout. What it does is taken
//! from a running kube-apiserver 1.36 with its controllers; where a habit is an ugly one, it is named at the place.
//!
//! [`Cluster`] answers requests, wherever they come in: [`FakeKubernetes`] puts one on a port, and what stands before
//! a cluster hands it on with [`Cluster::answer_at`].

mod api;
mod controllers;
mod merge;
mod pods;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use self::controllers::Rollout;
use crate::fake_http::{Answer, FakeServer, Request, Service};

/// A tag that ends so is in no registry: its pods wait in `ImagePullBackOff`.
pub const BAD: &str = "-bad";
/// A tag that ends so starts and exits again and again.
pub const CRASHING: &str = "-crash";
/// A tag that ends so is ready for a moment, longer than the whole rollout, and exits then.
pub const FLAKY: &str = "-flaky";
/// A tag that ends so asks for more than any node has.
pub const NOWHERE: &str = "-nowhere";
/// A tag that ends so makes pods that a quota refuses.
pub const QUOTA: &str = "-quota";

/// A token that is good.
pub const TOKEN: &str = "fake-bearer-token";
/// Who may ask with [`PASSWORD`].
pub const USERNAME: &str = "worker";
/// With what.
pub const PASSWORD: &str = "a-fake-password";

/// So many nodes there are, and so many pods has a daemon set.
pub const NODES: u64 = 2;

/// Where an object is: the plural of its kind, its namespace, its name.
pub(super) type Key = (String, String, String);

/// A fake API server on a port of its own.
pub struct FakeKubernetes {
    server: FakeServer,
    cluster: Arc<Cluster>,
}

/// A cluster, wherever its API server is reached.
pub struct Cluster {
    state: Mutex<State>,
    rollout: Duration,
}

/// One write, as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// `PATCH`, `PUT`, `DELETE`.
    pub method: String,
    /// Below the API server's root.
    pub path: String,
    /// The patch, or the object.
    pub body: Value,
    /// What was answered.
    pub status: u16,
}

pub(super) struct State {
    objects: BTreeMap<Key, Value>,
    rollouts: BTreeMap<Key, Rollout>,
    version: u64,
    writes: Vec<Write>,
    denied: BTreeSet<(String, String)>,
    /// So many writes to come find that the object changed a moment ago.
    storm: usize,
    page: usize,
    old_cron_jobs: bool,
    mutates: Option<(String, String)>,
}

impl FakeKubernetes {
    /// Starts one whose controllers take about `rollout` for each rollout. The namespaces `shop` and `default` are there.
    pub fn start(rollout: Duration) -> Result<FakeKubernetes> {
        let cluster = Arc::new(Cluster::new(rollout));
        let server = FakeServer::start(Arc::new(Door(Arc::clone(&cluster))))?;
        Ok(FakeKubernetes { server, cluster })
    }

    /// The HTTP of it, to break a call and to see what came.
    pub fn server(&self) -> &FakeServer {
        &self.server
    }

    /// What stands behind it.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

/// Who may come in.
struct Door(Arc<Cluster>);

impl Service for Door {
    fn answer(&self, request: &Request) -> Answer {
        // `worker:a-fake-password`, as basic authentication writes it.
        let basic = "Basic d29ya2VyOmEtZmFrZS1wYXNzd29yZA==";
        let known = [format!("Bearer {TOKEN}"), basic.to_owned()];
        if !request.header("authorization").is_some_and(|asks| known.iter().any(|known| known == asks)) {
            return api::status(401, "Unauthorized", "Unauthorized");
        }
        self.0.answer_at(&request.path, request)
    }
}

impl Cluster {
    /// An empty one.
    pub fn new(rollout: Duration) -> Cluster {
        let state = State {
            objects: BTreeMap::new(),
            rollouts: BTreeMap::new(),
            version: 1000,
            writes: Vec::new(),
            denied: BTreeSet::new(),
            storm: 0,
            page: usize::MAX,
            old_cron_jobs: false,
            mutates: None,
        };
        let cluster = Cluster { state: Mutex::new(state), rollout };
        for name in ["default", "shop"] {
            cluster.add(
                "namespaces",
                "",
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
            );
        }
        cluster
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an object there, as if it had been there for long: the pods of a workload run.
    pub fn add(&self, plural: &str, namespace: &str, mut object: Value) {
        let mut state = self.state();
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = (plural.to_owned(), namespace.to_owned(), name.clone());
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        object["metadata"]["uid"] = json!(format!("uid-{plural}-{namespace}-{name}-{}", state.version));
        object["metadata"]["generation"] = json!(1);
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = json!(namespace);
        }
        state.objects.insert(key.clone(), object);
        state.settle(&key, self.rollout);
    }

    /// A deployment, stateful set, daemon set or cron job of `shop` with one container `web` that runs `image`, and all
    /// that people put beside it.
    pub fn add_workload(&self, plural: &str, name: &str, replicas: u64, image: &str) {
        self.add(plural, "shop", workload(plural, name, replicas, image));
    }

    /// An object as it stands.
    pub fn object(&self, plural: &str, namespace: &str, name: &str) -> Value {
        let mut state = self.state();
        state.go_on(self.rollout);
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        state.objects.get(&key).cloned().unwrap_or_default()
    }

    /// Changes an object of `shop` as another client would.
    pub fn change(&self, plural: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        let key = (plural.to_owned(), "shop".to_owned(), name.to_owned());
        if let Some(mut object) = state.objects.get(&key).cloned() {
            change(&mut object);
            state.store(&key, object);
        }
    }

    /// Removes an object of `shop`.
    pub fn remove(&self, plural: &str, name: &str) {
        let key = (plural.to_owned(), "shop".to_owned(), name.to_owned());
        let mut state = self.state();
        state.objects.remove(&key);
        state.rollouts.remove(&key);
    }

    /// What `kubectl rollout undo` does to a deployment of `shop`: the former template, and with it the annotations that
    /// the deployment had then.
    pub fn undo(&self, name: &str) {
        self.state().undo(name);
    }

    /// Every write that came, refused ones too.
    pub fn writes(&self) -> Vec<Write> {
        self.state().writes.clone()
    }

    /// How many writes that were carried out hold `text`.
    pub fn writes_of(&self, text: &str) -> usize {
        let done = |write: &&Write| write.status < 300 && write.body.to_string().contains(text);
        self.state().writes.iter().filter(done).count()
    }

    /// From now on this may not be done: `patch` of `deployments`.
    pub fn deny(&self, verb: &str, resource: &str) {
        self.state().denied.insert((verb.to_owned(), resource.to_owned()));
    }

    /// So many writes to come meet an object that a controller changed a moment ago.
    pub fn storm(&self, writes: usize) {
        self.state().storm = writes;
    }

    /// Cron jobs are known as clusters of before 1.21 know them.
    pub fn have_old_cron_jobs(&self) {
        self.state().old_cron_jobs = true;
    }

    /// Lists come in pages of so many.
    pub fn page_by(&self, objects: usize) {
        self.state().page = objects;
    }

    /// Images that begin so are stored with another beginning, as an admission webhook does.
    pub fn rewrite_images(&self, from: &str, to: &str) {
        self.state().mutates = Some((from.to_owned(), to.to_owned()));
    }

    /// The image that a container of a workload of `shop` is meant to run; empty where there is none.
    pub fn image(&self, plural: &str, name: &str, container: &str) -> String {
        let object = self.object(plural, "shop", name);
        let template =
            if plural == "cronjobs" { "/spec/jobTemplate/spec/template" } else { "/spec/template" };
        let found = ["containers", "initContainers"].iter().find_map(|list| {
            let all = object.pointer(&format!("{template}/spec/{list}"))?.as_array()?;
            all.iter().find(|it| it["name"] == container)?["image"].as_str().map(str::to_owned)
        });
        found.unwrap_or_default()
    }
}

impl State {
    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// Stores what a client wrote: a new version, and a new generation where what is wished changed.
    fn store(&mut self, key: &Key, mut object: Value) {
        let before = self.objects.get(key).cloned().unwrap_or_default();
        if before == object {
            return;
        }
        // Of a deployment alone, other annotations are another generation.
        let is_another = before["spec"] != object["spec"]
            || key.0 == "deployments"
                && before["metadata"]["annotations"] != object["metadata"]["annotations"];
        if is_another {
            let generation = before["metadata"]["generation"].as_u64().unwrap_or_default();
            object["metadata"]["generation"] = json!(generation + 1);
            if let Some(rollout) = self.rollouts.get_mut(key) {
                rollout.written = Instant::now();
            }
        }
        object["metadata"]["resourceVersion"] = json!(self.next_version());
        self.objects.insert(key.clone(), object);
    }
}

/// A workload with the things that a careless writer loses.
pub fn workload(plural: &str, name: &str, replicas: u64, image: &str) -> Value {
    let pod = json!({
        "metadata": {"labels": {"app": name}, "annotations": {"team": "front", "field.cattle.io/ports": "[]"}},
        "spec": {
            "imagePullSecrets": [{"name": "registry-key"}],
            "initContainers": [{"name": "migrate", "image": "acme/migrate:1", "command": ["migrate"]}],
            "containers": [{
                "name": "web", "image": image, "args": [" kept as it is "],
                "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
                "ports": [{"containerPort": 80}],
                "readinessProbe": {"httpGet": {"path": "/up", "port": 80}},
                "securityContext": {"seLinuxOptions": {"level": "s0"}},
            }],
            "nodeSelector": {"disk": "fast"}, "restartPolicy": "Always",
        }
    });
    let metadata = json!({"name": name, "labels": {"app": name}, "annotations": {"by": "hand"}});
    let selector = json!({"matchLabels": {"app": name}});
    let (version, kind, spec) = match plural {
        "deployments" => (
            "apps/v1",
            "Deployment",
            json!({"replicas": replicas, "selector": selector, "template": pod, "progressDeadlineSeconds": 600,
                   "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}),
        ),
        "statefulsets" => (
            "apps/v1",
            "StatefulSet",
            json!({"replicas": replicas, "selector": selector, "template": pod, "serviceName": name,
                   "podManagementPolicy": "OrderedReady",
                   "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}),
        ),
        "daemonsets" => (
            "apps/v1",
            "DaemonSet",
            json!({"selector": selector, "template": pod,
                   "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}}),
        ),
        _ => (
            "batch/v1",
            "CronJob",
            json!({"schedule": "0 3 * * *", "suspend": false, "jobTemplate": {"spec": {"template": pod}}}),
        ),
    };
    json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
}
