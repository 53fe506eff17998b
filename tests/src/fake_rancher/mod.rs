//! A Rancher as workers meet it: its login, its router of clusters, its own API with all that is ugly about it, and a
//! fake cluster behind its proxy. What it says is taken from 49 pairs of requests and answers that were recorded from
//! a real Rancher 2.4.3; each ugly habit is named at the place.

mod api;
mod login;
mod norman;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use serde_json::{Value, json};

use super::fake_http::{Answer, FakeServer, Request, Service};
use super::fake_kubernetes::Cluster;

/// A key that may do everything.
pub const KEY: &str = "token-admin:fake-secret-of-the-admin";
/// The id of the one cluster, which is called [`CLUSTER_NAME`].
pub const CLUSTER: &str = "c-l5nxb";
/// What people call it.
pub const CLUSTER_NAME: &str = "office";
/// The project that the namespace `shop` is in.
pub const PROJECT: &str = "p-dghs7";

/// A fake Rancher on a port of its own.
pub struct FakeRancher {
    server: FakeServer,
    shared: Arc<Shared>,
}

/// What a key's user may do in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// As a member of the project: read and write.
    Member,
    /// Only read.
    ReadOnly,
    /// Nothing.
    None,
}

/// A key, as Rancher keeps it.
#[derive(Debug, Clone)]
pub struct Key {
    /// `token-xxxxx`.
    pub name: String,
    /// The other half.
    pub secret: String,
    /// The one cluster that it is for; empty where it is for all.
    pub cluster: String,
    /// When it expires; empty for never.
    pub expires_at: String,
    /// Whether it has expired.
    pub expired: bool,
    /// What its user may.
    pub rights: Rights,
}

/// How the way to Kubernetes' own API is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// It is open.
    Open,
    /// Rancher's router refuses.
    Forbidden,
    /// Something before Rancher lets its own API through alone.
    Hidden,
    /// Only reading is let through.
    ReadOnly,
}

pub(super) struct Shared {
    cluster: Arc<Cluster>,
    state: Mutex<State>,
}

pub(super) struct State {
    version: &'static str,
    keys: Vec<Key>,
    /// The project of each namespace that has one.
    projects: BTreeMap<String, String>,
    /// Further clusters, by id: their names.
    others: BTreeMap<String, String>,
    /// Secrets of Rancher's own for registries, by host.
    registries: BTreeMap<String, String>,
    proxy: Proxy,
    away: BTreeSet<String>,
    authorities: String,
    norman_puts: Vec<Value>,
    /// Lists come whole, or one by one and whatever was asked for.
    overlooks: bool,
}

impl FakeRancher {
    /// Starts one before a cluster.
    pub fn start(cluster: Arc<Cluster>) -> Result<FakeRancher> {
        let annotations = json!({"field.cattle.io/projectId": format!("{CLUSTER}:{PROJECT}")});
        let shop = json!({"kind": "Namespace", "metadata": {"name": "shop", "annotations": annotations}});
        cluster.add("namespaces", "", shop);
        let (name, secret) = KEY.split_once(':').unwrap_or_default();
        let admin = Key {
            name: name.to_owned(),
            secret: secret.to_owned(),
            cluster: String::new(),
            expires_at: String::new(),
            expired: false,
            rights: Rights::Member,
        };
        let state = State {
            version: "v2.4.3",
            keys: vec![admin],
            projects: BTreeMap::from([("shop".to_owned(), PROJECT.to_owned())]),
            others: BTreeMap::new(),
            registries: BTreeMap::new(),
            proxy: Proxy::Open,
            away: BTreeSet::new(),
            authorities: String::new(),
            norman_puts: Vec::new(),
            overlooks: false,
        };
        let shared = Arc::new(Shared { cluster, state: Mutex::new(state) });
        let server = FakeServer::start(Arc::clone(&shared) as Arc<dyn Service>)?;
        Ok(FakeRancher { server, shared })
    }

    /// The HTTP of it, to break a call and to see what came.
    pub fn server(&self) -> &FakeServer {
        &self.server
    }

    /// What stands behind it.
    pub fn cluster(&self) -> &Cluster {
        &self.shared.cluster
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The address that scripts put to.
    pub fn workload_url(&self, project: &str, workload: &str) -> String {
        format!("{}/v3/project/{CLUSTER}:{project}/workloads/{workload}", self.url())
    }

    /// Makes a key; what to send of it.
    pub fn add_key(&self, name: &str, change: impl FnOnce(&mut Key)) -> String {
        let mut key = Key {
            name: name.to_owned(),
            secret: format!("fake-secret-of-{name}"),
            cluster: String::new(),
            expires_at: String::new(),
            expired: false,
            rights: Rights::Member,
        };
        change(&mut key);
        let whole = format!("{}:{}", key.name, key.secret);
        self.shared.state().keys.push(key);
        whole
    }

    /// A namespace is in this project from now on; in none, where it is empty.
    pub fn put_in_project(&self, namespace: &str, project: &str) {
        self.shared.state().projects.insert(namespace.to_owned(), project.to_owned());
    }

    /// Another cluster, with nothing in it.
    pub fn add_cluster(&self, id: &str, name: &str) {
        self.shared.state().others.insert(id.to_owned(), name.to_owned());
    }

    /// Such a cluster is gone.
    pub fn remove_cluster(&self, id: &str) {
        self.shared.state().others.remove(id);
    }

    /// Rancher has a secret of its own for the images of a registry.
    pub fn add_registry(&self, host: &str, secret: &str) {
        self.shared.state().registries.insert(host.to_owned(), secret.to_owned());
    }

    /// Closes the way to Kubernetes' own API, or opens it.
    pub fn close_proxy(&self, how: Proxy) {
        self.shared.state().proxy = how;
    }

    /// The agent of the cluster loses its connection, or gets it back.
    pub fn lose_agent(&self, is_away: bool) {
        let mut state = self.shared.state();
        if is_away {
            state.away.insert(CLUSTER.to_owned());
        } else {
            state.away.clear();
        }
    }

    /// Filters of lists are not known any more, and what is listed comes one by one.
    pub fn overlook_filters(&self) {
        self.shared.state().overlooks = true;
    }

    /// What it shows as its authorities.
    pub fn show_authorities(&self, pem: &str) {
        pem.clone_into(&mut self.shared.state().authorities);
    }

    /// Bodies of all writes to workloads in Rancher's own form.
    pub fn norman_puts(&self) -> Vec<Value> {
        self.shared.state().norman_puts.clone()
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the cluster as Rancher does itself.
    pub(super) fn kubernetes(&self, method: &str, path: &str, body: Value) -> Answer {
        let (query, headers) = (Vec::new(), Vec::new());
        let request = Request { method: method.to_owned(), path: path.to_owned(), query, headers, body };
        self.cluster.answer_at(path, &request)
    }
}
