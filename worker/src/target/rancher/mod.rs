//! Rancher: names, a session and a way in. A target is a workload of a cluster behind it, and everything that is done
//! to it is what the Kubernetes target does, through Rancher's proxy.

mod answer;
pub(crate) mod name;
mod pin;
mod merge;
mod session;
mod settings;
mod way;

pub use name::{ClusterName, WorkloadKind, WorkloadName};
pub use pin::Pin;
pub use settings::{RancherSettings, RancherUrl, RancherUrlError};
