//! Quay: the tags of a repository that were pushed, without a digest, an id or a signature.

use serde_json::Value;

use super::{Message, Reading, Rules, Sighting, Unreadable, image_of, message::text};

const HOST: &str = "quay.io";

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let body = message.json()?;
    let Some(tags) = body.get("updated_tags").and_then(Value::as_array) else {
        return Ok(Reading::Ignored("the event is no push: it has no `updated_tags`".to_owned()));
    };
    if body.get("pruned_image_count").is_some() {
        return Ok(Reading::Ignored("this is Quay's test notification, nothing was pushed".to_owned()));
    }
    Ok(Reading::of_all(tags.iter().map(|tag| pushed(&body, tag.as_str(), rules))))
}

fn pushed(body: &Value, tag: Option<&str>, rules: &Rules) -> Result<Sighting, String> {
    let url = text(body, "docker_url").map(|url| url.split_once("://").map_or(url, |(_, rest)| rest));
    let (host, path) = url.and_then(|url| url.split_once('/')).unzip();
    let repository = text(body, "repository").or(path).ok_or("the event names no repository")?;
    let image = image_of(rules.host(host.or(Some(HOST)))?, repository, tag, None)?;
    Ok(Sighting::new(image, None))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{Kind, samples::read_as};

    #[test]
    fn every_tag_is_a_push_and_other_events_are_none() {
        let body = json!({"repository": "ns/app", "docker_url": "quay.lan:8443/ns/app", "updated_tags": ["1", "2", 7]});
        let Ok(Reading::Sightings(seen)) = read_as(Kind::Quay, &body) else { panic!("ignored") };
        let told: Vec<String> = seen.iter().map(|seen| seen.image.to_string()).collect();
        assert_eq!(told, ["quay.lan:8443/ns/app:1", "quay.lan:8443/ns/app:2"]);
        for other in [json!({"tags": ["1"]}), json!({"updated_tags": []}), json!({"updated_tags": "1"})] {
            let mut body = json!({"repository": "ns/app", "docker_url": "quay.io/ns/app"});
            body.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
            assert!(matches!(read_as(Kind::Quay, &body), Ok(Reading::Ignored(_))), "{body}");
        }
    }
}
