//! How people name a workload: by the address that old scripts hold, by Rancher's own short form, or part by part.

use std::fmt;

use super::{address, settings::RancherUrl};
use crate::target::kubernetes::{WorkloadKind, WorkloadName};

/// The longest name of a namespace or container.
const LONGEST_LABEL: usize = 63;
/// The longest name of a workload.
const LONGEST_NAME: usize = 253;

/// A workload behind a Rancher.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RancherWorkload {
    /// Its cluster.
    pub cluster: ClusterName,
    /// The project of its namespace (`p-xxxxx`), where it is told. Needed only where Kubernetes' own API is not allowed.
    pub project: Option<String>,
    /// What it is in its cluster.
    pub workload: WorkloadName,
}

/// A cluster, as it is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterName {
    /// By its id: `local`, `c-xxxxx` or `c-m-xxxxxxxx`.
    Id(String),
    /// By the name that people gave it.
    Name(String),
}

/// Why a text names no workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    /// It has another form.
    #[error("`{0}` names no workload")]
    Form(String),
    /// It is the address of something else.
    #[error("this is no address of a workload")]
    Address,
    /// It leads to another Rancher.
    #[error("this workload's address begins with `{found}`, and the system is at `{expected}`")]
    OtherRancher {
        /// Where it leads.
        found: String,
        /// Where the system is.
        expected: String,
    },
    /// There is none.
    #[error("no `workload` is given")]
    Nothing,
    /// Its cluster is missing.
    #[error("no `cluster` is given")]
    NoCluster,
    /// A kind that there is not.
    #[error("there is no kind of workload `{0}`")]
    Kind(String),
    /// A kind whose image cannot be changed.
    #[error("{0}")]
    Fixed(&'static str),
    /// A part that can be no name.
    #[error("`{text}` can be the name of no {what}")]
    Part {
        /// Of what.
        what: &'static str,
        /// As it was typed.
        text: String,
    },
}

impl NameError {
    /// How to mend it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            NameError::Form(_) | NameError::Address => {
                "write `c-xxxxx:p-xxxxx/deployment:namespace:name`, or the address that a script puts to: \
                 `https://rancher.example.com/v3/project/c-xxxxx:p-xxxxx/workloads/deployment:namespace:name`, or that \
                 of the workload's own page in the browser"
            }
            NameError::OtherRancher { .. } => {
                "name another system under `at`, or write `c-xxxxx:p-xxxxx/deployment:namespace:name` alone"
            }
            NameError::Nothing => {
                "write `workload: c-xxxxx:p-xxxxx/deployment:namespace:name`, or the address that a script puts to"
            }
            NameError::NoCluster => {
                "give `cluster`, by its id or its name; or all in one, as `workload: \
                 c-xxxxx:p-xxxxx/deployment:namespace:name`"
            }
            NameError::Kind(_) => "the kinds are `deployment`, `statefulset`, `daemonset` and `cronjob`",
            NameError::Fixed(_) => "name the workload that made it",
            NameError::Part { .. } => "write it as Rancher shows it, in lower case",
        }
    }
}

impl RancherWorkload {
    /// Reads Rancher's short form, or an address at the Rancher `at`.
    pub(crate) fn read(text: &str, at: &RancherUrl) -> Result<RancherWorkload, NameError> {
        if text.contains("://") {
            return address::read(text, at);
        }
        let form = || NameError::Form(text.to_owned());
        let (place, workload) = text.split_once('/').ok_or_else(form)?;
        let mut workload = workload.split(':');
        let (Some(kind), Some(namespace), Some(name), None) =
            (workload.next(), workload.next(), workload.next(), workload.next())
        else {
            return Err(form());
        };
        RancherWorkload::of_parts(place, namespace, (kind, name))
    }

    /// A workload of a cluster that is named beside it, its project after a colon where it is known.
    pub(crate) fn of_cluster(place: &str, workload: WorkloadName) -> Result<RancherWorkload, NameError> {
        let (cluster, project) = match place.split_once(':') {
            Some((cluster, project)) => (cluster, Some(project)),
            None => (place, None),
        };
        let project = project.map(|project| checked("project", project, is_label)).transpose()?;
        Ok(RancherWorkload { cluster: ClusterName::read(cluster)?, project, workload })
    }

    pub(super) fn of_parts(
        place: &str,
        namespace: &str,
        (kind, name): (&str, &str),
    ) -> Result<RancherWorkload, NameError> {
        let namespace = checked("namespace", namespace, is_label)?;
        let (kind, name) = (self::kind(kind)?, checked("workload", name, is_name)?);
        RancherWorkload::of_cluster(place, WorkloadName { namespace, kind, name })
    }

    /// Its id in Rancher's own API. Kinds are lower case there, and nothing else is known.
    pub(super) fn id(&self) -> String {
        let WorkloadName { namespace, kind, name } = &self.workload;
        format!("{}:{namespace}:{name}", kind.as_str())
    }
}

impl ClusterName {
    fn read(text: &str) -> Result<ClusterName, NameError> {
        let is_name = |text: &str| {
            !text.is_empty()
                && text.len() <= LONGEST_NAME
                && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' '))
        };
        let text = checked("cluster", text, is_name)?;
        Ok(if is_cluster_id(&text) { ClusterName::Id(text) } else { ClusterName::Name(text) })
    }

    /// As it was typed.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            ClusterName::Id(text) | ClusterName::Name(text) => text,
        }
    }
}

/// The forms of ids: `local`, `c-xxxxx`, and `c-m-xxxxxxxx` from 2.6 on.
fn is_cluster_id(text: &str) -> bool {
    let is_random = |rest: &str, long| {
        rest.len() == long && rest.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    let made = |text: &str| match text.strip_prefix("m-") {
        Some(rest) => is_random(rest, 8),
        None => is_random(text, 5),
    };
    text == "local" || text.strip_prefix("c-").is_some_and(made)
}

/// Rancher's ids are lower case, its type names are not, and Kubernetes' addresses are in the plural.
fn kind(text: &str) -> Result<WorkloadKind, NameError> {
    let lower = text.to_ascii_lowercase();
    let known = WorkloadKind::ALL.into_iter().find(|kind| lower == kind.as_str() || lower == kind.plural());
    known.ok_or_else(|| match lower.trim_end_matches('s') {
        "job" => NameError::Fixed("the image of a job that was made cannot be changed"),
        "replicaset" | "replicationcontroller" => {
            NameError::Fixed("a replica set replaces no pods when its image changes")
        }
        "pod" => NameError::Fixed("a pod is no workload: nothing replaces it"),
        _ => NameError::Kind(text.to_owned()),
    })
}

impl fmt::Display for RancherWorkload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cluster.as_str())?;
        if let Some(project) = &self.project {
            write!(f, ":{project}")?;
        }
        write!(f, "/{}", self.id())
    }
}

/// A name that can stand in a path, and that Kubernetes would take.
pub(crate) fn checked(
    what: &'static str,
    text: &str,
    holds: impl Fn(&str) -> bool,
) -> Result<String, NameError> {
    if holds(text) { Ok(text.to_owned()) } else { Err(NameError::Part { what, text: text.to_owned() }) }
}

pub(crate) fn is_label(text: &str) -> bool {
    text.len() <= LONGEST_LABEL && !text.contains('.') && is_name(text)
}

fn is_name(text: &str) -> bool {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= LONGEST_NAME
        && is_end(text.chars().next())
        && is_end(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<RancherWorkload, NameError> {
        RancherWorkload::read(text, &"https://rancher.lan".parse().unwrap())
    }

    #[test]
    fn every_spelling_of_one_workload_is_that_workload() {
        let meant = "c-l5nxb:p-dghs7/deployment:default:admin-master";
        assert_eq!(read(meant).unwrap().to_string(), meant);
        for spelling in [
            "https://rancher.lan/v3/project/c-l5nxb:p-dghs7/workloads/deployment:default:admin-master",
            "https://rancher.lan/v3/projects/c-l5nxb:p-dghs7/workloads/deployment:default:admin-master",
            "https://rancher.lan//v3/project/c-l5nxb:p-dghs7/workloads/deployment:default:admin-master/",
            "https://rancher.lan:443/v3/project/c-l5nxb%3Ap-dghs7/workloads/deployment%3adefault:admin-master",
            "https://rancher.lan/v3/project/c-l5nxb:p-dghs7/workloads/deployment:default:admin-master/yaml",
            "https://rancher.lan/v3/project/c-l5nxb:p-dghs7/workloads/deployment:default:admin-master?action=redeploy",
            "https://rancher.lan/v3/project/c-l5nxb:p-dghs7/deployments/default:admin-master",
            "https://u:p@rancher.lan/v3/project/c-l5nxb:p-dghs7/deployments/default:admin-master/yaml",
            "c-l5nxb:p-dghs7/Deployment:default:admin-master",
            // The page of the workload, until 2.5.
            "https://rancher.lan/p/c-l5nxb:p-dghs7/workload/deployment:default:admin-master",
            "https://rancher.lan/p/c-l5nxb:p-dghs7/workload/deployment:default:admin-master/edit?x=1",
        ] {
            assert_eq!(read(spelling).map(|name| name.to_string()).as_deref(), Ok(meant), "{spelling}");
        }
        let proxied = "https://rancher.lan/k8s/clusters/local/apis/apps/v1/namespaces/a/statefulsets/b";
        assert_eq!(read(proxied).unwrap().to_string(), "local/statefulset:a:b");
        let page = "https://rancher.lan/dashboard/c/c-m-abcdefgh/explorer/apps.deployment/a/b?mode=edit#pods";
        assert_eq!(read(page).unwrap().to_string(), "c-m-abcdefgh/deployment:a:b");
        let page = "https://rancher.lan/dashboard/c/local/explorer/batch.cronjob/a/b";
        assert_eq!(read(page).unwrap().to_string(), "local/cronjob:a:b");
        let twin = "https://rancher.lan/v3/project/local:p-x/statefulSets/a:b.c";
        assert_eq!(read(twin).unwrap().to_string(), "local:p-x/statefulset:a:b.c");
    }

    #[test]
    fn a_cluster_is_named_by_its_id_or_by_its_name() {
        for (text, is_id) in [
            ("local", true),
            ("c-l5nxb", true),
            ("c-m-abcdefgh", true),
            ("office", false),
            ("c-prod", false),
            ("c-l5nxbb", false),
            ("Büro 2", false),
        ] {
            let cluster = read(&format!("{text}/deployment:a:b")).unwrap().cluster;
            assert_eq!(cluster.as_str(), text);
            assert_eq!(matches!(cluster, ClusterName::Id(_)), is_id, "{text}");
        }
    }

    #[test]
    fn a_part_below_a_prefix_is_of_the_rancher_below_that_prefix() {
        let at: RancherUrl = "http://tools.lan:8080/rancher/".parse().unwrap();
        let address = "http://tools.lan:8080/rancher/v3/project/local:p-x/workloads/cronjob:a:b";
        assert_eq!(RancherWorkload::read(address, &at).unwrap().workload.kind, WorkloadKind::CronJob);
        let error = read(address).unwrap_err().to_string();
        assert_eq!(
            error,
            "this workload's address begins with `http://tools.lan:8080/rancher`, and the system is at \
             `https://rancher.lan`"
        );
        let with_password = "https://u:sup3r@other.lan/v3/project/local:p-x/workloads/cronjob:a:b";
        assert!(!read(with_password).unwrap_err().to_string().contains("sup3r"));
    }

    #[test]
    fn each_mistake_is_told_by_name() {
        for (text, said) in [
            ("web", "`web` names no workload"),
            ("c-l5nxb:p-dghs7/web", "`c-l5nxb:p-dghs7/web` names no workload"),
            ("local/deployment:a:b:c", "`local/deployment:a:b:c` names no workload"),
            ("local/deploymnt:a:b", "there is no kind of workload `deploymnt`"),
            ("local/job:a:b", "the image of a job that was made cannot be changed"),
            ("local/replicaset:a:b", "a replica set replaces no pods when its image changes"),
            ("local/deployment:Default:b", "`Default` can be the name of no namespace"),
            ("local/deployment:a:b_c", "`b_c` can be the name of no workload"),
            ("local/deployment::b", "`` can be the name of no namespace"),
            ("/deployment:a:b", "`` can be the name of no cluster"),
            ("a?b/deployment:a:b", "`a?b` can be the name of no cluster"),
            ("local:../deployment:a:b", "`..` can be the name of no project"),
            ("https://rancher.lan/v3/project/local:p-x/workloads", "this is no address of a workload"),
            ("https://rancher.lan/v3/project/local/workloads/deployment:a:b", "no address of a workload"),
            ("ftp://rancher.lan/v3/project/local:p-x/workloads/deployment:a:b", "no address of a workload"),
            ("https://rancher.lan/v3/project/local:p-x/workloads/web", "`local:p-x/web` names no workload"),
            ("https://rancher.lan/dashboard/c/local/explorer/workload", "no address of a workload"),
            ("https://rancher.lan/dashboard/c/local/explorer/pod/a/b", "no address of a workload"),
            ("https://rancher.lan/dashboard/c/local/explorer/apps.replicaset/a/b", "replaces no pods"),
            ("https://rancher.lan/p/c-l5nxb:p-dghs7/workloads", "no address of a workload"),
            ("https://[", "this is no address of a workload"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.to_string().contains(said), "{text}: {error}");
            assert!(!error.hint().is_empty());
        }
    }

    proptest! {
        /// Nothing that is read can lead a request elsewhere.
        #[test]
        fn whatever_is_read_can_stand_in_a_path(text in "(local|c-abcde|[ -~]{1,8})(:[ -~]{1,8})?/deployment:[ -~]{1,8}:[ -~]{1,8}") {
            if let Ok(name) = read(&text) {
                let WorkloadName { namespace, name: called, .. } = &name.workload;
                let parts = [Some(namespace.as_str()), Some(called), name.project.as_deref()];
                for part in parts.into_iter().flatten() {
                    prop_assert!(!part.contains(['/', '?', '#', '%', ' ', '\\']) && part != "." && part != "..");
                }
                prop_assert_eq!(read(&name.to_string()), Ok(name));
            }
        }
    }
}
