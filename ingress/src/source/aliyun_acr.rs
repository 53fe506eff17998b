//! Alibaba Cloud Container Registry: the body of its triggers, and its events through EventBridge.
//!
//! Neither says the registry's host for certain: the source's `registry` is the word that counts, and without
//! it the host is the public one of the region.

use serde_json::Value;

use super::{Message, Reading, Rules, Sighting, Unreadable, image::delivery, image_of, message::text};

pub(super) const PUSHED: &str = "cr:Artifact:PushCompleted";

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let body = message.json()?;
    let event = body.get("specversion").is_some() || body.get("data").is_some();
    Ok(Reading::of_one(if event { of_event(&body, rules) } else { trigger(&body, rules) }))
}

/// `{"push_data":{…},"repository":{…}}`, sent for each new or overwritten tag.
fn trigger(body: &Value, rules: &Rules) -> Result<Sighting, String> {
    let (Some(push), Some(repository)) = (body.get("push_data"), body.get("repository")) else {
        return Err("the body is not a push of Alibaba Cloud Container Registry".to_owned());
    };
    let name = match text(repository, "repo_full_name") {
        Some(full) => full.to_owned(),
        None => joined(text(repository, "namespace"), text(repository, "name"))?,
    };
    let public = text(repository, "region").map(|region| format!("registry.{region}.aliyuncs.com"));
    let image = image_of(rules.host(public.as_deref())?, &name, text(push, "tag"), text(push, "digest"))?;
    // A push has no name of its own. What it pushed and when is the same for each call that tells of it.
    let delivery = delivery([Some(&image.to_string()), text(push, "pushed_at")]);
    Ok(Sighting::new(image, delivery))
}

/// A CloudEvent of the source `acs.cr`.
pub(super) fn of_event(body: &Value, rules: &Rules) -> Result<Sighting, String> {
    let kind = text(body, "type").unwrap_or_default();
    if kind != PUSHED {
        return Err(format!("the event is `{kind:.100}`, only `{PUSHED}` deploys"));
    }
    let data = body.get("data").unwrap_or(&Value::Null);
    let name = joined(text(data, "RepoNamespaceName"), text(data, "RepoName"))?;
    let instance = text(data, "InstanceName").zip(text(data, "RegionId"));
    let instance = instance.map(|(name, region)| format!("{name}-registry.{region}.cr.aliyuncs.com"));
    let image = image_of(rules.host(instance.as_deref())?, &name, text(data, "Tag"), text(data, "Digest"))?;
    Ok(Sighting::new(image, delivery([text(body, "id")])))
}

fn joined(namespace: Option<&str>, name: Option<&str>) -> Result<String, String> {
    match (namespace, name) {
        (Some(namespace), Some(name)) => Ok(format!("{namespace}/{name}")),
        (None, _) | (_, None) => Err("the event names no repository".to_owned()),
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

    #[test]
    fn a_region_of_their_own_making_is_no_host() {
        let body = json!({
            "push_data": {"tag": "1"},
            "repository": {"repo_full_name": "a/b", "region": "x/../evil"}
        });
        assert!(matches!(read_as(Kind::AliyunAcr, &body), Ok(Reading::Ignored(_))));
    }

    #[test]
    fn the_id_of_an_event_names_its_delivery() {
        let data = json!({"InstanceName": "i", "RegionId": "r", "RepoNamespaceName": "n", "RepoName": "a", "Tag": "1"});
        let body = json!({"specversion": "1.0", "id": "e-1", "type": PUSHED, "data": data});
        let Ok(Reading::Sightings(seen)) = read_as(Kind::AliyunAcr, &body) else { panic!("ignored") };
        assert_eq!(seen[0].delivery.as_deref(), Some("e-1"));
        assert_eq!(seen[0].image.to_string(), "i-registry.r.cr.aliyuncs.com/n/a:1");
    }

    #[test]
    fn without_a_region_the_setting_is_asked_for() {
        let body = json!({"push_data": {"tag": "1"}, "repository": {"namespace": "a", "name": "b"}});
        let Ok(Reading::Ignored(why)) = read_as(Kind::AliyunAcr, &body) else { panic!("not ignored") };
        assert!(why.contains("`registry`"), "{why}");
        let read = read_with_registry(Kind::AliyunAcr, "r.acme.cn", &body);
        assert!(matches!(read, Ok(Reading::Sightings(_))));
    }

    #[test]
    fn the_same_push_told_twice_is_one_delivery() {
        let push = |at: &str| {
            let push = json!({"tag": "1", "pushed_at": at});
            let body = json!({"push_data": push, "repository": {"repo_full_name": "a/b", "region": "r"}});
            let Ok(Reading::Sightings(seen)) = read_as(Kind::AliyunAcr, &body) else { panic!("ignored") };
            seen[0].delivery.clone()
        };
        assert_eq!(push("2026-11-29 12:25:46"), push("2026-11-29 12:25:46"));
        assert_ne!(push("2026-11-29 12:25:46"), push("2026-11-29 12:25:47"));
        assert_eq!(push(""), None);
    }
}
