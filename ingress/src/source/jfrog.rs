//! JFrog Artifactory: manifests that were pushed to a Docker repository.

use serde_json::Value;

use super::{
    Message, Reading, Rules, Sighting, Unreadable, image_of,
    message::{at, host_of, text},
};

const LIST: &str = "list.manifest.json";
/// Where Artifactory keeps what somebody pulled through it.
const CACHE: &str = "-cache";

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    Ok(Reading::of_one(pushed(&message.json()?, rules)))
}

fn pushed(body: &Value, rules: &Rules) -> Result<Sighting, String> {
    let data = body.get("data").unwrap_or(&Value::Null);
    let event = text(body, "event_type").unwrap_or_default();
    if text(body, "domain") != Some("docker") || event != "pushed" {
        return Err(format!("the event is `{event:.100}`, only `pushed` of the domain `docker` deploys"));
    }
    if let Some(kind) = text(data, "image_type").filter(|kind| !["docker", "oci"].contains(kind)) {
        return Err(format!("a `{kind:.100}` was pushed, only an image deploys"));
    }
    let repository = text(data, "repo_key").ok_or("the event names no repository")?;
    rules.counts(repository, CACHE)?;
    let platforms = data.get("platforms").and_then(Value::as_array);
    let one_of_several = platforms.is_some_and(|platforms| !platforms.is_empty());
    if one_of_several && text(data, "name").is_some_and(|name| name != LIST) {
        return Err(format!("the manifest is one of several, only their `{LIST}` deploys"));
    }
    let name = text(data, "image_name").ok_or("the event names no image")?;
    let digest =
        text(data, "sha256").map(|hex| format!("sha256:{}", hex.strip_prefix("sha256:").unwrap_or(hex)));
    let (host, path) = place(repository, at(body, "/jpd_origin"), rules)?;
    let image = image_of(&host, &format!("{path}{name}"), text(data, "tag"), digest.as_deref())?;
    Ok(Sighting::new(image, None))
}

/// The host, and what stands between it and the image: the repository that the push names, or, as people often pull
/// from a virtual one, what the source's `registry` says after its host.
fn place(repository: &str, origin: Option<&str>, rules: &Rules) -> Result<(String, String), String> {
    match rules.registry.as_deref().and_then(|registry| registry.split_once('/')) {
        Some((host, "")) => Ok((host.to_owned(), String::new())),
        Some((host, path)) => Ok((host.to_owned(), format!("{}/", path.trim_matches('/')))),
        None => Ok((rules.host(origin.map(host_of))?.to_owned(), format!("{repository}/"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{
        Kind,
        samples::{read_as, read_with_registry},
    };

    fn event(name: &str, platforms: &Value, tag: &str) -> Value {
        json!({"domain": "docker", "event_type": "pushed", "jpd_origin": "https://a.jfrog.io/artifactory", "data": {
            "repo_key": "docker-local", "name": name, "image_name": "Shop/api", "tag": tag, "platforms": platforms,
            "sha256": "d".repeat(64), "image_type": "oci"}})
    }

    fn told(read: Result<Reading, Unreadable>) -> String {
        match read.unwrap() {
            Reading::Sightings(seen) => seen[0].image.by_tag().to_string(),
            Reading::Ignored(_) => "ignored".to_owned(),
            Reading::Acknowledged(_) | Reading::Handshake(_) | Reading::NeedsRule(_) => {
                panic!("not read as a push")
            }
        }
    }

    #[test]
    fn lists_and_single_manifests_deploy_and_the_parts_of_a_list_do_not() {
        let (none, some) = (json!([]), json!([{"os": "linux"}]));
        assert_eq!(
            told(read_as(Kind::Jfrog, &event(LIST, &some, "v1"))),
            "a.jfrog.io/docker-local/shop/api:v1"
        );
        assert_eq!(
            told(read_as(Kind::Jfrog, &event("manifest.json", &none, "v1"))),
            "a.jfrog.io/docker-local/shop/api:v1"
        );
        assert_eq!(told(read_as(Kind::Jfrog, &event("manifest.json", &some, "v1"))), "ignored");
        assert_eq!(
            told(read_as(Kind::Jfrog, &event("manifest.json", &none, &format!("sha256:{}", "d".repeat(64))))),
            "ignored"
        );
        let mut chart = event("manifest.json", &none, "v1");
        chart["data"]["image_type"] = json!("helmoci");
        assert_eq!(told(read_as(Kind::Jfrog, &chart)), "ignored");
    }

    #[test]
    fn the_registry_may_name_the_repository_people_pull_from() {
        let body = event(LIST, &json!([]), "v1");
        for (registry, image) in [
            ("r.lan", "r.lan/docker-local/shop/api:v1"),
            ("r.lan/docker", "r.lan/docker/shop/api:v1"),
            ("docker.r.lan/", "docker.r.lan/shop/api:v1"),
        ] {
            assert_eq!(told(read_with_registry(Kind::Jfrog, registry, &body)), image);
        }
    }
}
