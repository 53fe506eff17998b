//! Addresses of workloads, as scripts and browsers have them.

use super::{
    name::{NameError, RancherWorkload},
    settings::RancherUrl,
};

/// An address below `/v3/project/…` or, of Kubernetes itself, below `/k8s/clusters/…`; or that of a page, as a browser
/// shows it: `/p/…` until 2.5, `/dashboard/c/…` since.
pub(super) fn read(text: &str, at: &RancherUrl) -> Result<RancherWorkload, NameError> {
    let url = reqwest::Url::parse(text).map_err(|_| NameError::Address)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(NameError::Address);
    }
    // Colons may be written as they are or as %3A.
    let colons = |part: &str| part.replace("%3A", ":").replace("%3a", ":");
    let all = url.path_segments().into_iter().flatten().filter(|part| !part.is_empty());
    let mut before: Vec<String> = all.map(colons).collect();
    let parts = before.split_off(begin(&before));
    let named = match parts.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["v3", "project" | "projects", place, "workloads", id]
        | ["v3", "project" | "projects", place, "workloads", id, "yaml"] => {
            if !place.contains(':') {
                return Err(NameError::Address);
            }
            RancherWorkload::read(&format!("{place}/{id}"), at)
        }
        ["v3", "project" | "projects", place, kind, id]
        | ["v3", "project" | "projects", place, kind, id, "yaml"] => match id.split_once(':') {
            Some((namespace, name)) if place.contains(':') => {
                RancherWorkload::of_parts(place, namespace, (kind, name))
            }
            Some(_) | None => Err(NameError::Address),
        },
        ["p", place, "workload" | "workloads", id] | ["p", place, "workload" | "workloads", id, "edit"] => {
            RancherWorkload::read(&format!("{place}/{id}"), at)
        }
        ["dashboard", "c", cluster, "explorer", kind, namespace, name] => {
            // `apps.deployment`; the lists of all workloads have no kind.
            let (_, kind) = kind.split_once('.').ok_or(NameError::Address)?;
            RancherWorkload::of_parts(cluster, namespace, (kind, name))
        }
        ["k8s", "clusters", cluster, "apis", _, _, "namespaces", namespace, kind, name] => {
            RancherWorkload::of_parts(cluster, namespace, (kind, name))
        }
        _ => Err(NameError::Address),
    }?;
    let found = base(&url, &before);
    match reqwest::Url::parse(at.as_str()) {
        // A default port may be written or not; http leads to https.
        Ok(expected) if url.host() == expected.host() && same_port(&url, &expected) => {
            let prefix = expected.path().trim_matches('/').to_owned();
            if prefix == before.join("/") { Ok(named) } else { Err(other(found, at)) }
        }
        Ok(_) | Err(_) => Err(other(found, at)),
    }
}

/// Where what Rancher itself serves begins; before it may stand where Rancher is.
fn begin(parts: &[String]) -> usize {
    let begins = |at: &usize| match parts[*at].as_str() {
        "v3" | "k8s" | "dashboard" => true,
        // Short enough to stand in a prefix, too.
        "p" => parts.get(at + 1).is_some_and(|place| place.contains(':')),
        _ => false,
    };
    (0..parts.len()).find(begins).unwrap_or(parts.len())
}

fn same_port(one: &reqwest::Url, other: &reqwest::Url) -> bool {
    one.port_or_known_default() == other.port_or_known_default()
        || one.port().is_none() && other.port().is_none()
}

fn other(found: String, at: &RancherUrl) -> NameError {
    NameError::OtherRancher { found, expected: at.to_string() }
}

/// What stands before the API in an address, less whoever is logged in with it.
fn base(url: &reqwest::Url, before: &[String]) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let path: String = before.iter().map(|part| format!("/{part}")).collect();
    format!("{}://{host}{port}{path}", url.scheme())
}
