//! Notifications of a distribution registry: many events a body, of which only pushes of a tag deploy.

use proto::ImageRef;
use serde_json::Value;

use super::{
    Message, Reading, Rules, Sighting, Unreadable,
    image::{delivery, is_manifest},
    image_of,
    message::{at, text},
};

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let body = message.json()?;
    let Some(events) = body.get("events").and_then(Value::as_array) else {
        return Ok(Reading::Ignored("the body is not a registry's notification".to_owned()));
    };
    Ok(Reading::of_all(events.iter().map(|event| {
        let image = pushed(event, rules)?;
        // Only together with the image: a registry has been seen to use one id for two events of a body.
        Ok(Sighting::new(image, delivery([text(event, "id")])))
    })))
}

/// The image of an event with `action`, `target` and `request`, a shape that other registries copy.
pub(super) fn pushed(event: &Value, rules: &Rules) -> Result<ImageRef, String> {
    let action = text(event, "action").unwrap_or_default();
    if action != "push" {
        return Err(format!("the event is a `{action:.100}`, only a push deploys"));
    }
    let media_type = at(event, "/target/mediaType").unwrap_or_default();
    if !is_manifest(media_type) {
        return Err(format!("the event is of a `{media_type:.100}`, only an image deploys"));
    }
    let host = rules.host(at(event, "/request/host"))?;
    let repository = at(event, "/target/repository").ok_or("the event names no repository")?;
    image_of(host, repository, at(event, "/target/tag"), at(event, "/target/digest"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{Kind, samples::read_as};

    fn event(id: &str, tag: &str, media_type: &str) -> Value {
        json!({"id": id, "action": "push", "request": {"host": "r:5000"},
            "target": {"mediaType": media_type, "repository": "app", "tag": tag}})
    }

    #[test]
    fn unrelated_events_of_one_body_are_told_apart() {
        let body = json!({"events": [
            event("1", "a", "application/octet-stream"),
            event("2", "b", "application/vnd.oci.image.index.v1+json"),
            {"id": "3", "action": "mount"},
            event("4", "c", "application/vnd.docker.distribution.manifest.v2+json"),
        ]});
        let Ok(Reading::Sightings(seen)) = read_as(Kind::Distribution, &body) else { panic!("ignored") };
        let told: Vec<_> = seen.iter().map(|s| (s.delivery.clone().unwrap(), s.image.to_string())).collect();
        let expected = [("2", "r:5000/app:b"), ("4", "r:5000/app:c")];
        assert_eq!(told, expected.map(|(id, image)| (id.to_owned(), image.to_owned())));
    }
}
