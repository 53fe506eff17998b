//! CloudEvents that tell of pushed images: `data` with the repository, tag, digest and registry, or the whole image.

use serde_json::Value;

use super::{
    Message, Reading, Rules, Sighting, Unreadable, aliyun_acr, aws_ecr, azure_acr, cdevents, cloud_event,
    harbor,
    image::{image_in, image_of},
    message::{first, host_of, split_tag, text},
};

/// The last word of the type of an event that tells of an image that is there now.
const PUSHES: [&str; 4] = ["push", "pushed", "publish", "published"];
/// The same of an event that may be of anything: an image has to stand before it.
const CHANGES: [&str; 6] = ["create", "created", "update", "updated", "upload", "uploaded"];
/// What an image is called there.
const IMAGES: [&str; 3] = ["image", "artifact", "manifest"];

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
    if !is_push(kind) {
        return Err(format!("the event is `{kind:.100}`, only a push of an image deploys"));
    }
    let digest = first(data, &["digest", "imageDigest", "image_digest"]);
    let delivery = cloud_event::delivery(event);
    // What zot calls a reference is the tag, or the digest, that was pushed; others write the whole image there.
    let reference = text(data, "reference");
    let is_whole = |text: &&str| text.contains('/') || (text.contains(':') && !text.starts_with("sha256:"));
    let (image, reference) = match reference.filter(is_whole) {
        Some(whole) => (Some(whole), None),
        None => (None, reference),
    };
    if let Some(image) = first(data, &["image", "imageRef"]).or(image) {
        return Ok(Sighting::new(image_in(image, digest, rules.registry.as_deref())?, delivery));
    }
    let (subject, subjects_tag) = split_tag(text(event, "subject").unwrap_or_default());
    let named = first(data, &["repository", "repositoryName", "repository_name", "name"]);
    let repository = named.or(Some(subject).filter(|subject| !subject.is_empty()));
    let repository = repository.ok_or("the event names no repository")?;
    let tag = first(data, &["tag", "imageTag", "image_tag"]).or(reference).or(subjects_tag);
    let host = first(data, &["registryUrl", "registry", "registry_url", "host"]);
    let host = host.or(text(event, "source").filter(|source| source.contains("://"))).map(host_of);
    Ok(Sighting::new(image_of(rules.host(host)?, repository, tag, digest)?, delivery))
}

/// Whether an event of this type tells of an image that is there now.
fn is_push(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let mut words = kind.split(|c: char| !c.is_ascii_alphabetic());
    let last = words.rfind(|word| word.len() > 1).unwrap_or_default();
    PUSHES.contains(&last) || (CHANGES.contains(&last) && IMAGES.iter().any(|image| kind.contains(image)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{
        Kind,
        samples::{read_as, read_bytes, read_event, read_with_registry},
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
        assert_eq!(told(&event("x.published", &json!({"reference": "q.lan/a:2"}))), ["q.lan/a:2"]);
        assert_eq!(told(&event("com.acme.image.created", &data)), ["q.lan/a/b:1"]);
        let foreign = ["com.example.user.created", "com.acme.tag.updated", "com.acme.image.creating"];
        for kind in ["container.image.delete", "container.image.pull", "longshore.job.succeeded"]
            .into_iter()
            .chain(foreign)
        {
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
    fn zots_reference_is_a_tag_and_a_digest_is_none() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let of = |reference: &str| {
            json!({"name": "Team/App", "reference": reference, "digest": digest,
                "mediaType": "application/vnd.oci.image.index.v1+json", "manifest": "{}"})
        };
        let updated = |reference: &str| {
            let mut event = event("zotregistry.image.updated", &of(reference));
            event["source"] = json!("zotregistry.dev");
            event.as_object_mut().unwrap().remove("subject");
            let read = read_with_registry(Kind::Cloudevents, "zot.lan:5000", &event).unwrap();
            let Reading::Sightings(seen) = &read else { return format!("{read:?}") };
            seen[0].image.to_string()
        };
        assert_eq!(updated("v1"), format!("zot.lan:5000/team/app:v1@{digest}"));
        assert!(updated(&digest).contains("Ignored"), "a part of an image for several platforms");
    }

    #[test]
    fn an_event_in_headers_may_have_no_body() {
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-type", "com.acme.image.pushed"),
            ("ce-source", "https://r.lan:5000/v2"),
            ("ce-id", "7"),
            ("ce-subject", "my/app:v1"),
        ];
        let read = read_bytes(Kind::Cloudevents, &headers, b"", &Rules::default());
        let Ok(Reading::Sightings(seen)) = read else { panic!("{read:?}") };
        assert_eq!(seen[0].image.to_string(), "r.lan:5000/my/app:v1");
        assert!(read_bytes(Kind::Cloudevents, &[], b"", &Rules::default()).is_err(), "no event at all");
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
