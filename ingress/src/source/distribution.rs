//! Notifications of a distribution registry: many events a body, of which only pushes of a tag deploy.

use proto::ImageRef;
use serde::Deserialize;
use serde_json::Value;

use super::{Reading, Sighting, image_of};

/// What a tag may point to. Layers and configurations are pushed too, and announced alike.
const MANIFESTS: [&str; 4] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
];

#[derive(Deserialize)]
struct Envelope {
    events: Vec<Event>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Event {
    id: String,
    action: String,
    target: Target,
    request: Request,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Target {
    media_type: String,
    digest: Option<String>,
    repository: String,
    tag: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Request {
    host: String,
}

pub(super) fn read(body: Value, registry: Option<&str>) -> Reading {
    let Ok(envelope) = Envelope::deserialize(body) else {
        return Reading::Ignored("the body is not a registry's notification".to_owned());
    };
    let mut sightings = Vec::new();
    let mut why = "the notification has no event".to_owned();
    for event in &envelope.events {
        match pushed(event, registry) {
            Ok(image) => sightings.push(Sighting {
                image,
                service: None,
                delivery: Some(event.id.clone()).filter(|id| !id.is_empty()),
            }),
            Err(reason) => why = reason,
        }
    }
    if sightings.is_empty() { Reading::Ignored(why) } else { Reading::Sightings(sightings) }
}

fn pushed(event: &Event, registry: Option<&str>) -> Result<ImageRef, String> {
    if event.action != "push" {
        return Err(format!("the event is a `{}`, only a push deploys", event.action));
    }
    let target = &event.target;
    if !MANIFESTS.contains(&target.media_type.as_str()) {
        return Err(format!("the event is of a `{}`, only an image deploys", target.media_type));
    }
    let host = registry.unwrap_or(&event.request.host);
    image_of(host, &target.repository, target.tag.as_deref(), target.digest.as_deref())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(id: &str, tag: &str, media_type: &str) -> Value {
        json!({"id": id, "action": "push", "request": {"host": "r:5000"},
            "target": {"mediaType": media_type, "repository": "app", "tag": tag}})
    }

    #[test]
    fn unrelated_events_of_one_body_are_told_apart() {
        let body = json!({"events": [
            event("1", "a", "application/octet-stream"),
            event("2", "b", MANIFESTS[3]),
            {"id": "3", "action": "mount"},
            event("4", "c", MANIFESTS[0]),
        ]});
        let Reading::Sightings(seen) = read(body, None) else { panic!("ignored") };
        let told: Vec<_> = seen.iter().map(|s| (s.delivery.clone().unwrap(), s.image.to_string())).collect();
        let expected = [("2", "r:5000/app:b"), ("4", "r:5000/app:c")];
        assert_eq!(told, expected.map(|(id, image)| (id.to_owned(), image.to_owned())));
    }
}
