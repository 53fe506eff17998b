//! CloudEvents that tell of pushed images: `data` with the repository, tag, digest and registry, or the whole image.

use serde_json::Value;

use super::{
    Message, Reading, Rules, Sighting, Unreadable, aliyun_acr, aws_ecr, azure_acr, cdevents, cloud_event,
    harbor,
    image::{image_in, image_of},
    message::{first, host_of, split_tag, text},
};

/// The last word of the type of an event that tells of an image that is there now.
const PUSHES: [&str; 9] =
    ["push", "pushed", "publish", "published", "create", "created", "update", "updated", "uploaded"];

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let events = cloud_event::all(message)?;
    let (mut sightings, mut reasons) = (Vec::new(), Vec::new());
    for event in &events {
        match one(event, rules) {
            Reading::Sightings(seen) => sightings.extend(seen),
            Reading::Ignored(why) | Reading::NeedsRule(why) | Reading::Acknowledged(why) => reasons.push(why),
            Reading::Handshake(_) => {}
        }
    }
    if sightings.is_empty() {
        let why = reasons.into_iter().next();
        return Ok(Reading::Ignored(why.unwrap_or_else(|| "the body tells of no event".to_owned())));
    }
    Ok(Reading::Sightings(sightings))
}

/// Registries that have a form of their own send it through the same bus.
fn one(event: &Value, rules: &Rules) -> Reading {
    if let Err(why) = cloud_event::check(event) {
        return Reading::Ignored(why);
    }
    let data = event.get("data").unwrap_or(&Value::Null);
    let kind = text(event, "type").unwrap_or_default();
    match kind {
        aliyun_acr::PUSHED => Reading::of_one(aliyun_acr::of_event(event, rules)),
        aws_ecr::PUSHED => Reading::of_one(aws_ecr::of_event(event, rules)),
        azure_acr::PUSHED => Reading::of_one(azure_acr::of_event(event, rules)),
        _ if kind.starts_with("harbor.") => harbor::pushed(event, data, rules),
        _ if kind.starts_with("dev.cdevents.") => Reading::of_one(cdevents::published(data, rules)),
        _ => Reading::of_one(pushed(event, data, rules)),
    }
}

fn pushed(event: &Value, data: &Value, rules: &Rules) -> Result<Sighting, String> {
    let kind = text(event, "type").unwrap_or_default();
    let last =
        kind.rsplit(|c: char| !c.is_ascii_alphabetic()).find(|word| word.len() > 1).unwrap_or_default();
    if !PUSHES.contains(&last.to_ascii_lowercase().as_str()) {
        return Err(format!("the event is `{kind:.100}`, only a push of an image deploys"));
    }
    let digest = first(data, &["digest", "imageDigest", "image_digest"]);
    let delivery = cloud_event::delivery(event);
    if let Some(image) = first(data, &["image", "imageRef", "reference"]) {
        return Ok(Sighting::new(image_in(image, digest, rules.registry.as_deref())?, delivery));
    }
    let (subject, subjects_tag) = split_tag(text(event, "subject").unwrap_or_default());
    let named = first(data, &["repository", "repositoryName", "repository_name", "name"]);
    let repository = named.or(Some(subject).filter(|subject| !subject.is_empty()));
    let repository = repository.ok_or("the event names no repository")?;
    let tag = first(data, &["tag", "imageTag", "image_tag"]).or(subjects_tag);
    let host = first(data, &["registryUrl", "registry", "registry_url", "host"]);
    let host = host.or(text(event, "source").filter(|source| source.contains("://"))).map(host_of);
    Ok(Sighting::new(image_of(rules.host(host)?, repository, tag, digest)?, delivery))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{
        Kind,
        samples::{read_as, read_event},
    };

    fn event(kind: &str, data: &Value) -> Value {
        json!({"specversion": "1.0", "id": "e-1", "source": "https://r.lan:5000/v2", "type": kind,
            "subject": "ns/app:v9", "data": data})
    }

    fn told(body: &Value) -> Vec<String> {
        match read_as(Kind::Cloudevents, body).unwrap() {
            Reading::Sightings(seen) => seen.iter().map(|seen| seen.image.to_string()).collect(),
            Reading::Ignored(_) => Vec::new(),
            Reading::Acknowledged(_) | Reading::Handshake(_) | Reading::NeedsRule(_) => {
                panic!("not read as a push")
            }
        }
    }

    #[test]
    fn the_data_comes_first_and_the_envelope_fills_in() {
        let data = json!({"repository": "A/b", "tag": "1", "registryUrl": "https://q.lan"});
        assert_eq!(told(&event("container.image.push", &data)), ["q.lan/a/b:1"]);
        assert_eq!(told(&event("com.acme.imagePush", &Value::Null)), Vec::<String>::new());
        assert_eq!(told(&event("com.acme.image.pushed.v1", &Value::Null)), ["r.lan:5000/ns/app:v9"]);
        assert_eq!(told(&event("x.published", &json!({"image": "q.lan/a:2"}))), ["q.lan/a:2"]);
        for kind in ["container.image.delete", "container.image.pull", "longshore.job.succeeded"] {
            assert_eq!(told(&event(kind, &data)), Vec::<String>::new(), "{kind}");
        }
    }

    #[test]
    fn a_batch_is_read_whole_and_what_is_no_event_is_not() {
        let data = |tag: &str| json!({"repository": "a", "tag": tag});
        let batch = json!([event("x.push", &data("1")), event("x.pull", &data("2")), {"type": "x.push"}, event("x.push", &data("3"))]);
        assert_eq!(told(&batch), ["r.lan:5000/a:1", "r.lan:5000/a:3"]);
        assert_eq!(told(&json!([])), Vec::<String>::new());
    }

    #[test]
    fn headers_may_carry_the_event() {
        let headers = [("ce-specversion", "1.0"), ("ce-type", "x.push"), ("ce-source", "s"), ("ce-id", "7")];
        let data = json!({"repository": "a", "tag": "1", "registryUrl": "r.lan"});
        let read = read_event(Kind::Cloudevents, &headers, &data, &Rules::default());
        let Ok(Reading::Sightings(seen)) = read else { panic!("ignored") };
        assert_eq!(
            (seen[0].image.to_string(), seen[0].delivery.as_deref()),
            ("r.lan/a:1".to_owned(), Some("s 7"))
        );
        let read = read_event(Kind::Cloudevents, &headers[..3], &data, &Rules::default());
        assert!(matches!(read, Ok(Reading::Ignored(why)) if why.contains("`id`")));
    }
}
