//! Which workload is meant, and where its kind keeps what.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::Deserialize;

/// The kinds of workloads that have images to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadKind {
    /// Pods that are as good as each other.
    Deployment,
    /// Pods with names and volumes of their own.
    StatefulSet,
    /// A pod on every node.
    DaemonSet,
    /// Pods from time to time.
    CronJob,
}

/// A workload of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadName {
    /// Where it is.
    pub namespace: String,
    /// What it is.
    pub kind: WorkloadKind,
    /// How it is called.
    pub name: String,
}

/// Why a text names no workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadNameError {
    /// It is the address of one, in the API or in a dashboard: its cluster is named by `at` alone.
    #[error("an address names no workload here\nhint: write `{0}`")]
    Address(String),
    /// It has not three parts.
    #[error("`{0}` names no workload\nhint: write `namespace/deployment/name`")]
    Parts(String),
    /// Its kind is not known.
    #[error(
        "there is no kind `{0}` of workloads\nhint: the kinds are `deployment`, `statefulset`, `daemonset` and `cronjob`"
    )]
    Kind(String),
    /// No object can be called so.
    #[error(
        "`{0}` cannot be the name of anything in Kubernetes\nhint: it has small letters, digits and `-` alone"
    )]
    Name(String),
}

impl WorkloadKind {
    /// All of them.
    pub const ALL: [WorkloadKind; 4] =
        [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet, WorkloadKind::CronJob];

    /// Its name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            WorkloadKind::Deployment => "deployment",
            WorkloadKind::StatefulSet => "statefulset",
            WorkloadKind::DaemonSet => "daemonset",
            WorkloadKind::CronJob => "cronjob",
        }
    }

    /// As people write it in sentences.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            WorkloadKind::Deployment => "deployment",
            WorkloadKind::StatefulSet => "stateful set",
            WorkloadKind::DaemonSet => "daemon set",
            WorkloadKind::CronJob => "cron job",
        }
    }

    /// Its name in the API's objects.
    #[must_use]
    pub fn api_kind(self) -> &'static str {
        match self {
            WorkloadKind::Deployment => "Deployment",
            WorkloadKind::StatefulSet => "StatefulSet",
            WorkloadKind::DaemonSet => "DaemonSet",
            WorkloadKind::CronJob => "CronJob",
        }
    }

    /// Its name in the API's paths.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            WorkloadKind::Deployment => "deployments",
            WorkloadKind::StatefulSet => "statefulsets",
            WorkloadKind::DaemonSet => "daemonsets",
            WorkloadKind::CronJob => "cronjobs",
        }
    }

    /// The part of the API that it belongs to.
    #[must_use]
    pub fn group(self) -> &'static str {
        match self {
            WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => "apps",
            WorkloadKind::CronJob => "batch",
        }
    }

    /// Where an object of the kind keeps the template of its pods.
    pub(super) fn template(self) -> &'static str {
        match self {
            WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => {
                "/spec/template"
            }
            WorkloadKind::CronJob => "/spec/jobTemplate/spec/template",
        }
    }
}

impl WorkloadName {
    /// The path of the object below the API server's root.
    #[must_use]
    pub fn path(&self) -> String {
        let (group, plural) = (self.kind.group(), self.kind.plural());
        format!("/apis/{group}/v1/namespaces/{}/{plural}/{}", self.namespace, self.name)
    }

    /// Checks that its names can be names: what stands in a path must not lead elsewhere.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self) -> Result<(), WorkloadNameError> {
        for name in [&self.namespace, &self.name] {
            let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
            let fits = name.chars().all(|letter| is_letter(letter) || letter == '-' || letter == '.');
            let ends = [name.chars().next(), name.chars().next_back()];
            if !fits || name.len() > 253 || ends.iter().any(|end| !end.is_some_and(is_letter)) {
                return Err(WorkloadNameError::Name(name.clone()));
            }
        }
        Ok(())
    }
}

/// `shop/deployment/web`.
impl FromStr for WorkloadName {
    type Err = WorkloadNameError;

    fn from_str(text: &str) -> Result<Self, WorkloadNameError> {
        if text.contains("://") {
            return Err(WorkloadNameError::Address(meant(text)));
        }
        let parts: Vec<&str> = text.split('/').collect();
        let [namespace, kind, name] = parts.as_slice() else {
            return Err(WorkloadNameError::Parts(text.to_owned()));
        };
        let known = WorkloadKind::ALL.into_iter().find(|known| known.as_str() == kind.to_lowercase());
        let kind = known.ok_or_else(|| WorkloadNameError::Kind((*kind).to_owned()))?;
        let named = WorkloadName { namespace: (*namespace).to_owned(), kind, name: (*name).to_owned() };
        named.check().map(|()| named)
    }
}

/// What somebody means by the address of a workload: `…/namespaces/shop/deployments/web` of the API, or
/// `…#/deployment/shop/web?namespace=shop` of the dashboard.
fn meant(address: &str) -> String {
    let (path, _) = address.split_once('?').unwrap_or((address, ""));
    let parts: Vec<&str> = path.split('/').collect();
    let known = |text: &str| {
        let is_it = |kind: &WorkloadKind| text == kind.plural() || text == kind.as_str();
        WorkloadKind::ALL.into_iter().find(is_it)
    };
    let found = match parts.as_slice() {
        [.., "namespaces", namespace, kind, name] | [.., "#" | "#!", kind, namespace, name] => {
            known(kind).map(|kind| format!("{namespace}/{}/{name}", kind.as_str()))
        }
        _ => None,
    };
    found.unwrap_or_else(|| "namespace/deployment/name".to_owned())
}

/// ``deployment `web` in the namespace `shop` ``.
impl fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` in the namespace `{}`", self.kind.in_words(), self.name, self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_named_and_nothing_leads_elsewhere() {
        let named: WorkloadName = "shop/StatefulSet/db".parse().unwrap();
        assert_eq!(named.path(), "/apis/apps/v1/namespaces/shop/statefulsets/db");
        assert_eq!(named.to_string(), "stateful set `db` in the namespace `shop`");
        let named: WorkloadName = "shop/cronjob/nightly".parse().unwrap();
        assert_eq!(named.path(), "/apis/batch/v1/namespaces/shop/cronjobs/nightly");
        for text in ["web", "shop/web", "a/deployment/b/c"] {
            assert_eq!(text.parse::<WorkloadName>(), Err(WorkloadNameError::Parts(text.to_owned())));
        }
        for (address, instead) in [
            ("https://k8s.lan:6443/apis/apps/v1/namespaces/shop/deployments/web", "shop/deployment/web"),
            ("https://k8s.lan/apis/batch/v1beta1/namespaces/a/cronjobs/b?x=1", "a/cronjob/b"),
            ("https://k8s.lan/#/statefulset/shop/db?namespace=shop", "shop/statefulset/db"),
            ("https://k8s.lan/#/pod/shop/db-0", "namespace/deployment/name"),
        ] {
            let refused = WorkloadNameError::Address(instead.to_owned());
            assert_eq!(address.parse::<WorkloadName>(), Err(refused), "{address}");
        }
        assert_eq!("a/job/b".parse::<WorkloadName>(), Err(WorkloadNameError::Kind("job".to_owned())));
        for text in
            ["../deployment/b", "a/deployment/b?x", "a/deployment/", "a/deployment/-b", "A/deployment/b"]
        {
            assert!(matches!(text.parse::<WorkloadName>(), Err(WorkloadNameError::Name(_))), "{text}");
        }
    }
}
