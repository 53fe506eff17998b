//! Rancher: names, a session and a way in. A target is a workload of a cluster behind it, and everything that is done
//! to it is what the Kubernetes target does, through Rancher's proxy.

mod address;
mod answer;
mod connect;
mod key;
pub(crate) mod name;
mod pin;
mod session;
mod settings;
mod way;

use std::{collections::BTreeMap, sync::Arc};

use proto::ListingFault;

use self::{session::Session, way::Behind};
use super::{
    TargetError,
    kubernetes::{Kubernetes, KubernetesWorkload, client::Client},
    swarm::Registries,
};
use crate::settings::Registry;

pub use name::{ClusterName, RancherWorkload};
pub use pin::Pin;
pub use settings::{RancherSettings, RancherUrl, RancherUrlError};

/// One Rancher. Cheap to clone; clones share the connections and what was learnt of its clusters.
#[derive(Clone)]
pub struct Rancher {
    session: Arc<Session>,
    registries: BTreeMap<String, Registry>,
    keys: Registries,
}

impl Rancher {
    /// A Rancher that messages call `name`. Nothing is connected yet.
    ///
    /// # Errors
    /// When its address or key cannot be used.
    pub fn new(name: &str, settings: &RancherSettings) -> Result<Rancher, TargetError> {
        let session = Session::new(name, settings)?;
        if settings.insecure_tls.unwrap_or_default() {
            tracing::warn!(
                system = name,
                "any certificate is taken for this Rancher (insecure_tls): whoever stands in between can read its key; \
                 give `ca_sha256` instead"
            );
        }
        if settings.url.as_str().starts_with("http://") {
            tracing::warn!(
                system = name,
                "this Rancher is asked without TLS: whoever listens can read its key"
            );
        }
        Ok(Rancher { session: Arc::new(session), registries: BTreeMap::new(), keys: Registries::default() })
    }

    /// The same with the registries of the configuration, and what they are called where images are pulled.
    #[must_use]
    pub(crate) fn with(self, registries: BTreeMap<String, Registry>, keys: Registries) -> Rancher {
        Rancher { registries, keys, ..self }
    }

    /// One of its workloads, which is what it is in Kubernetes; without a container, its only one.
    #[must_use]
    pub fn workload(&self, named: &RancherWorkload, container: Option<&str>) -> KubernetesWorkload {
        let cluster = Kubernetes::over(self.behind(named)).with(self.registries.clone(), self.keys.clone());
        cluster.workload(&named.workload, container)
    }

    /// Looks at its key now and then until dropped, and tells when people have to hear of it, or no longer.
    pub(crate) async fn mind_key(&self, tell: impl Fn(Option<ListingFault>)) {
        self.session.mind_key(tell).await;
    }

    /// The API server behind it, as far as it concerns one workload.
    fn behind(&self, workload: &RancherWorkload) -> Client {
        let way = Behind::new(Arc::clone(&self.session), workload.clone());
        Client::through(self.session.system(), Arc::new(way))
    }
}
