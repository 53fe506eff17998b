//! Harbor: version 1 and 2 in its own form, and as CloudEvents. Tencent's and Huawei's registries send the same.

use serde_json::Value;

use super::{
    Message, Reading, Rules, Sighting, Unreadable, cloud_event,
    image::delivery,
    image_of,
    message::{host_of, scalar, text},
};

/// The names of a push: version 2, version 1, and as a CloudEvent.
const PUSHED: [&str; 3] = ["PUSH_ARTIFACT", "pushImage", "harbor.artifact.pushed"];
/// Who pushes what somebody pulled through a proxy project.
const PROXY_CACHE: &str = "harbor#proxy-cache-service";

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let body = cloud_event::whole(message)?;
    let data = match body.get("specversion") {
        Some(_) => body.get("data"),
        None => body.get("event_data"),
    };
    Ok(pushed(&body, data.unwrap_or(&Value::Null), rules))
}

/// An event with its data, which are the same in each form.
pub(super) fn pushed(event: &Value, data: &Value, rules: &Rules) -> Reading {
    let kind = text(event, "type").unwrap_or_default();
    if !PUSHED.contains(&kind) {
        return Reading::Ignored(format!("the event is `{kind:.100}`, only a push of an image deploys"));
    }
    if text(event, "operator") == Some(PROXY_CACHE) {
        return Reading::Ignored(
            "the image came through a proxy project: it was pulled, not pushed".to_owned(),
        );
    }
    let Some(repository) = data.get("repository") else {
        return Reading::Ignored("the event names no repository".to_owned());
    };
    let resources = data.get("resources").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Reading::of_all(resources.iter().map(|resource| image(event, repository, resource, rules)))
}

fn image(event: &Value, repository: &Value, resource: &Value, rules: &Rules) -> Result<Sighting, String> {
    let name =
        match (text(repository, "repo_full_name"), text(repository, "namespace"), text(repository, "name")) {
            (Some(full), _, _) => full.to_owned(),
            (None, Some(project), Some(name)) => format!("{project}/{name}"),
            (None, None, _) | (None, _, None) => return Err("the event names no repository".to_owned()),
        };
    let (tag, digest) = (text(resource, "tag"), text(resource, "digest"));
    if tag.is_some_and(|tag| tag.starts_with("sha256:")) {
        return Err("the push names a digest and no tag, as a part of an image or its signature".to_owned());
    }
    let host = text(resource, "resource_url").map(host_of);
    let image = image_of(rules.host(host)?, &name, tag, digest)?;
    // Made when the event is, so the same each time it is sent.
    let at = event.get("occur_at").and_then(scalar);
    let delivery = delivery([text(event, "id")])
        .or_else(|| delivery([image.digest().map(|_| ()).and(Some(&image.to_string())), at.as_deref()]));
    Ok(Sighting::new(image, delivery))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{
        Kind,
        samples::{read_as, read_with_registry},
    };

    fn event(kind: &str, resources: &Value) -> Value {
        json!({"type": kind, "occur_at": 7, "operator": "ci", "event_data": {
            "resources": resources, "repository": {"repo_full_name": "shop/Team/api", "namespace": "shop", "name": "Team/api"}}})
    }

    #[test]
    fn both_versions_and_several_resources_are_read() {
        let resources = json!([
            {"tag": "1", "resource_url": "h.lan:8443/shop/team/api:1"},
            {"tag": "sha256:x", "resource_url": "h.lan:8443/shop/team/api@sha256:x"},
            {"tag": "2", "resource_url": "h.lan:8443/shop/team/api:2"},
        ]);
        for kind in ["PUSH_ARTIFACT", "pushImage"] {
            let Ok(Reading::Sightings(seen)) = read_as(Kind::Harbor, &event(kind, &resources)) else {
                panic!("ignored")
            };
            let told: Vec<String> = seen.iter().map(|seen| seen.image.to_string()).collect();
            assert_eq!(told, ["h.lan:8443/shop/team/api:1", "h.lan:8443/shop/team/api:2"]);
        }
    }

    #[test]
    fn what_is_no_push_is_ignored() {
        let resources = json!([{"tag": "1", "resource_url": "h.lan/shop/api:1"}]);
        for kind in ["DELETE_ARTIFACT", "PULL_ARTIFACT", "REPLICATION", "pullImage", "uploadChart", ""] {
            assert!(
                matches!(read_as(Kind::Harbor, &event(kind, &resources)), Ok(Reading::Ignored(_))),
                "{kind}"
            );
        }
        let mut proxied = event("PUSH_ARTIFACT", &resources);
        proxied["operator"] = json!(PROXY_CACHE);
        assert!(matches!(read_as(Kind::Harbor, &proxied), Ok(Reading::Ignored(_))));
        assert!(matches!(read_as(Kind::Harbor, &event("PUSH_ARTIFACT", &json!(7))), Ok(Reading::Ignored(_))));
    }

    #[test]
    fn cloud_events_have_a_name() {
        let inner =
            event("", &json!([{"tag": "1", "resource_url": "h.lan/shop/api:1"}]))["event_data"].clone();
        let body = json!({"specversion": "1.0", "id": "e-1", "source": "/projects/2", "type": "harbor.artifact.pushed", "data": inner});
        let Ok(Reading::Sightings(seen)) = read_with_registry(Kind::Harbor, "r.lan:5000", &body) else {
            panic!()
        };
        assert_eq!(seen[0].delivery.as_deref(), Some("e-1"));
        assert_eq!(seen[0].image.to_string(), "r.lan:5000/shop/team/api:1");
    }
}
