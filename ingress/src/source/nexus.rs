//! Sonatype Nexus: components and assets of its Docker repositories. Neither says where the registry is.

use serde_json::Value;

use super::{Message, Reading, Rules, Sighting, Unreadable, image::delivery, image_of, message::text};

/// How the repositories that pull through are mostly called: people name them, and what happens in one says nothing of it.
const PROXY: &str = "-proxy";

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let named = delivery([message.header("x-nexus-webhook-delivery")]);
    let image = changed(&message.json()?, rules);
    Ok(Reading::of_one(image.map(|image| Sighting::new(image, named))))
}

fn changed(body: &Value, rules: &Rules) -> Result<proto::ImageRef, String> {
    let action = text(body, "action").unwrap_or_default();
    if !["CREATED", "UPDATED"].contains(&action) {
        return Err(format!("the event is `{action:.100}`, only what is created or updated deploys"));
    }
    rules.counts(text(body, "repositoryName").unwrap_or_default(), PROXY)?;
    let changed = body.get("component").or(body.get("asset")).ok_or("the event names no component")?;
    let format = text(changed, "format").unwrap_or_default();
    if format != "docker" {
        return Err(format!("the event is of the format `{format:.100}`, only docker deploys"));
    }
    let name = text(changed, "name").ok_or("the event names no image")?;
    let (name, tag) = match body.get("component") {
        Some(component) => (name, text(component, "version")),
        None => manifest(name).ok_or("the asset is no manifest of an image")?,
    };
    image_of(rules.host(None)?, name, tag, None)
}

/// `v2/<image>/manifests/<tag>`
fn manifest(path: &str) -> Option<(&str, Option<&str>)> {
    let (name, tag) = path.trim_start_matches('/').strip_prefix("v2/")?.split_once("/manifests/")?;
    Some((name, Some(tag)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{
        Kind,
        samples::{read_as, read_event, read_with_registry},
    };

    fn told(body: &Value) -> String {
        match read_with_registry(Kind::Nexus, "r.lan:8082", body).unwrap() {
            Reading::Sightings(seen) => seen[0].image.to_string(),
            Reading::Ignored(_) => "ignored".to_owned(),
            Reading::Acknowledged(_) | Reading::Handshake(_) | Reading::NeedsRule(_) => {
                panic!("not read as a push")
            }
        }
    }

    #[test]
    fn components_and_manifests_deploy() {
        let component = |action: &str, format: &str, version: &str| {
            json!({"action": action, "repositoryName": "docker-hosted",
            "component": {"format": format, "name": "Shop/api", "version": version}})
        };
        assert_eq!(told(&component("CREATED", "docker", "v1")), "r.lan:8082/shop/api:v1");
        assert_eq!(told(&component("UPDATED", "docker", "v1")), "r.lan:8082/shop/api:v1");
        assert_eq!(told(&component("DELETED", "docker", "v1")), "ignored");
        assert_eq!(told(&component("CREATED", "maven2", "v1")), "ignored");
        assert_eq!(told(&component("CREATED", "docker", "sha256:abc")), "ignored");
        let mut proxied = component("CREATED", "docker", "v1");
        proxied["repositoryName"] = json!("docker-proxy");
        assert_eq!(told(&proxied), "ignored");
        let of = |repository: &str, repositories: &[&str]| {
            let mut body = component("CREATED", "docker", "v1");
            body["repositoryName"] = json!(repository);
            let repositories = repositories.iter().map(|name| (*name).to_owned()).collect();
            let rules = Rules { registry: Some("r.lan:8082".to_owned()), repositories, ..Rules::default() };
            matches!(read_event(Kind::Nexus, &[], &body, &rules), Ok(Reading::Sightings(_)))
        };
        assert!(of("docker-hub", &[]), "nothing tells that it pulls through");
        assert!(!of("docker-hub", &["docker-hosted", "team-*"]));
        assert!(
            of("docker-hosted", &["docker-hosted", "team-*"])
                && of("team-proxy", &["docker-hosted", "team-*"])
        );
        let asset = |name: &str| json!({"action": "CREATED", "asset": {"format": "docker", "name": name}});
        assert_eq!(told(&asset("v2/shop/api/manifests/v1")), "r.lan:8082/shop/api:v1");
        assert_eq!(told(&asset("v2/shop/api/manifests/sha256:abc")), "ignored");
        assert_eq!(told(&asset("v2/-/blobs/sha256:abc")), "ignored");
        let without = read_as(Kind::Nexus, &component("CREATED", "docker", "v1"));
        assert!(matches!(without, Ok(Reading::Ignored(why)) if why.contains("`registry`")));
    }
}
