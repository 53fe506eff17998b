//! Alibaba Cloud Container Registry: the body of its triggers, and its events through EventBridge.
//!
//! Neither says the registry's host for certain: the source's `registry` is the word that counts, and without
//! it the host is the public one of the region.

use serde_json::Value;

use super::{Reading, Sighting, image_of};

const PUSHED: &str = "cr:Artifact:PushCompleted";

pub(super) fn read(body: &Value, registry: Option<&str>) -> Reading {
    let read =
        if body.get("specversion").is_some() { event(body, registry) } else { trigger(body, registry) };
    match read {
        Ok(sighting) => Reading::Sightings(vec![sighting]),
        Err(why) => Reading::Ignored(why),
    }
}

/// `{"push_data":{…},"repository":{…}}`, sent for each new or overwritten tag.
fn trigger(body: &Value, registry: Option<&str>) -> Result<Sighting, String> {
    let (Some(push), Some(repository)) = (body.get("push_data"), body.get("repository")) else {
        return Err("the body is not a push of Alibaba Cloud Container Registry".to_owned());
    };
    let name = match text(repository, "repo_full_name") {
        Some(full) => full.to_owned(),
        None => joined(text(repository, "namespace"), text(repository, "name"))?,
    };
    let host = host(registry, || Some(format!("registry.{}.aliyuncs.com", text(repository, "region")?)))?;
    let image = image_of(&host, &name, text(push, "tag"), text(push, "digest"))?;
    Ok(Sighting { image, service: None, delivery: None })
}

/// A CloudEvent of the source `acs.cr`.
fn event(body: &Value, registry: Option<&str>) -> Result<Sighting, String> {
    let kind = text(body, "type").unwrap_or_default();
    if kind != PUSHED {
        return Err(format!("the event is `{kind}`, only `{PUSHED}` deploys"));
    }
    let data = body.get("data").unwrap_or(&Value::Null);
    let name = joined(text(data, "RepoNamespaceName"), text(data, "RepoName"))?;
    let instance = || {
        let (name, region) = (text(data, "InstanceName")?, text(data, "RegionId")?);
        Some(format!("{name}-registry.{region}.cr.aliyuncs.com"))
    };
    let image = image_of(&host(registry, instance)?, &name, text(data, "Tag"), text(data, "Digest"))?;
    Ok(Sighting { image, service: None, delivery: text(body, "id").map(str::to_owned) })
}

fn host(registry: Option<&str>, from_body: impl FnOnce() -> Option<String>) -> Result<String, String> {
    let host = registry.map(str::to_owned).or_else(from_body);
    host.ok_or_else(|| "the event does not say its registry; give the source a `registry`".to_owned())
}

fn joined(namespace: Option<&str>, name: Option<&str>) -> Result<String, String> {
    match (namespace, name) {
        (Some(namespace), Some(name)) => Ok(format!("{namespace}/{name}")),
        (None, _) | (_, None) => Err("the event names no repository".to_owned()),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_region_of_their_own_making_is_no_host() {
        let body = json!({
            "push_data": {"tag": "1"},
            "repository": {"repo_full_name": "a/b", "region": "x/../evil"}
        });
        assert!(matches!(read(&body, None), Reading::Ignored(_)));
    }

    #[test]
    fn the_id_of_an_event_names_its_delivery() {
        let data = json!({"InstanceName": "i", "RegionId": "r", "RepoNamespaceName": "n", "RepoName": "a", "Tag": "1"});
        let body = json!({"specversion": "1.0", "id": "e-1", "type": PUSHED, "data": data});
        let Reading::Sightings(seen) = read(&body, None) else { panic!("ignored") };
        assert_eq!(seen[0].delivery.as_deref(), Some("e-1"));
        assert_eq!(seen[0].image.to_string(), "i-registry.r.cr.aliyuncs.com/n/a:1");
    }

    #[test]
    fn without_a_region_the_setting_is_asked_for() {
        let body = json!({"push_data": {"tag": "1"}, "repository": {"namespace": "a", "name": "b"}});
        let Reading::Ignored(why) = read(&body, None) else { panic!("not ignored") };
        assert!(why.contains("`registry`"), "{why}");
        assert!(matches!(read(&body, Some("r.acme.cn")), Reading::Sightings(_)));
    }
}
