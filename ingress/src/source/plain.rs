//! Our own form: `{"image":"repo:tag"}`, or the image by its parts, `{"name","tag","digest","host"}`; with
//! `"service"` where one of several is meant, and `"id"`, the same when it is sent again.

use proto::ImageRef;
use serde_json::Value;

use super::{
    LONGEST_SERVICE, Message, Reading, Rules, Sighting, Unreadable,
    image::delivery,
    message::{first, scalar, text},
};

/// All that a push may say. Whoever writes it can mend it: were `target` or `servcie` passed over, what was meant for one
/// would be deployed to every follower of the image.
pub(crate) const KEYS: [&str; 7] = ["image", "name", "tag", "digest", "host", "service", "id"];

pub(super) fn read(message: &Message<'_>, _: &Rules) -> Result<Reading, Unreadable> {
    let body = message.json()?;
    if let Some(unknown) = body.as_object().into_iter().flatten().find(|(key, _)| !is_known(key)) {
        return Err(Unreadable::UnknownKey(unknown.0.clone()));
    }
    let named = message.first_header(&["idempotency-key", "webhook-id"]);
    Ok(Reading::Sightings(vec![seen(&body, named)?]))
}

fn is_known(key: &str) -> bool {
    KEYS.contains(&key)
}

/// What a body tells of, whatever else it says; `named` is its delivery where that has a name beside it.
pub(crate) fn seen(body: &Value, named: Option<&str>) -> Result<Sighting, Unreadable> {
    if let Some(key) = KEYS.into_iter().find(|key| !may_be_said(key, body.get(key))) {
        return Err(Unreadable::NotText(key));
    }
    let image = image(body)?;
    // Nothing could ever follow it, and whoever writes this form can mend it.
    if image.tag().is_none() {
        return Err(Unreadable::NoTag(image));
    }
    let service = body.get("service").and_then(Value::as_str).map(str::to_owned);
    // A star would stand for every service, also for those that nobody means; and so would an empty name.
    let is_name =
        |service: &str| !service.is_empty() && !service.contains('*') && service.len() <= LONGEST_SERVICE;
    if service.as_deref().is_some_and(|service| !is_name(service)) {
        return Err(Unreadable::BadService);
    }
    let id = body.get("id").and_then(scalar);
    let delivery = delivery([named.or(id.as_deref())]);
    Ok(Sighting { image, service, delivery })
}

/// Texts, and numbers for an id; nothing is said by null.
fn may_be_said(key: &str, value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::String(_)) => true,
        Some(Value::Number(_)) => key == "id",
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => false,
    }
}

/// The image, whole or by its parts. Whoever writes this form can mend it, so nothing in it is guessed.
pub(super) fn image(body: &Value) -> Result<ImageRef, Unreadable> {
    let mut given = first(body, &["image", "name"]).map(str::to_owned).ok_or_else(|| no_image(body))?;
    if let Some(host) = text(body, "host") {
        given = format!("{host}/{given}");
    }
    for (key, before) in [("tag", ':'), ("digest", '@')] {
        if let Some(part) = text(body, key) {
            given = format!("{given}{before}{part}");
        }
    }
    given.parse().map_err(|source| Unreadable::BadImage { given, source })
}

fn no_image(body: &Value) -> Unreadable {
    match body.get("image").and_then(Value::as_str) {
        Some(empty) => {
            let source = empty.parse::<ImageRef>().err().unwrap_or(proto::ImageError::NoName);
            Unreadable::BadImage { given: empty.to_owned(), source }
        }
        None => Unreadable::NoImage,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{Kind, samples::read_as};

    fn read(body: &Value) -> Result<Reading, Unreadable> {
        read_as(Kind::Plain, body)
    }

    #[test]
    fn an_image_and_perhaps_a_service() {
        let Reading::Sightings(seen) =
            read(&json!({"image": "demo:2", "service": "web", "digest": null})).unwrap()
        else {
            panic!("ignored")
        };
        assert_eq!(seen[0].image.to_string(), "docker.io/library/demo:2");
        assert_eq!(seen[0].service.as_deref(), Some("web"));
    }

    #[test]
    fn an_image_by_its_parts() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (body, expected) in [
            (json!({"name": "gcr.io/ns/app", "tag": "1.1"}), "gcr.io/ns/app:1.1".to_owned()),
            (json!({"name": "ns/app", "host": "r.lan:5000", "tag": "1"}), "r.lan:5000/ns/app:1".to_owned()),
            (
                json!({"image": "ns/app", "tag": "1", "digest": digest}),
                format!("docker.io/ns/app:1@{digest}"),
            ),
        ] {
            let Reading::Sightings(seen) = read(&body).unwrap() else { panic!("ignored") };
            assert_eq!(seen[0].image.to_string(), expected);
        }
    }

    #[test]
    fn the_id_names_the_delivery() {
        let Reading::Sightings(seen) = read(&json!({"image": "demo:2", "id": "x-1"})).unwrap() else {
            panic!()
        };
        assert_eq!(seen[0].delivery.as_deref(), Some("x-1"));
    }

    #[test]
    fn a_number_is_a_name_too() {
        let Reading::Sightings(seen) = read(&json!({"image": "demo:2", "id": 17})).unwrap() else { panic!() };
        assert_eq!(seen[0].delivery.as_deref(), Some("17"));
    }

    /// Passed over, each of these would be a push for every target and every service.
    #[test]
    fn what_nothing_would_be_made_of_is_refused() {
        for key in ["target", "servcie", "images", "delivery"] {
            let read = read(&json!({"image": "demo:2", key: "web"}));
            assert!(matches!(&read, Err(Unreadable::UnknownKey(told)) if told == key), "{key}: {read:?}");
        }
        for (key, value) in [
            ("service", json!(5)),
            ("service", json!(["web"])),
            ("id", json!({})),
            ("tag", json!(2)),
            ("host", json!(false)),
            ("image", json!(7)),
        ] {
            let mut body = json!({"name": "ns/app:1"});
            body[key] = value;
            assert!(matches!(read(&body), Err(Unreadable::NotText(told)) if told == key), "{body}");
        }
        for service in ["", "*", &"s".repeat(256)] {
            let read = read(&json!({"image": "demo:2", "service": service}));
            assert!(matches!(read, Err(Unreadable::BadService)), "{service}");
        }
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for body in [json!({}), json!(["demo:2"]), json!("demo:2"), json!({"tag": "1"})] {
            assert!(matches!(read(&body), Err(Unreadable::NoImage)), "{body}");
        }
        for image in ["", "demo", "Demo:2", "demo:2@sha256:1"] {
            let read = read(&json!({"image": image}));
            assert!(matches!(read, Err(Unreadable::BadImage { .. })), "{image}");
        }
        let digest = format!("sha256:{}", "a".repeat(64));
        for body in [json!({"image": format!("demo@{digest}")}), json!({"name": "ns/app", "digest": digest})]
        {
            let told = read(&body).unwrap_err().to_string();
            assert!(told.contains("name the tag too"), "{told}");
        }
        let twice = read(&json!({"image": "demo:1", "tag": "2"}));
        assert!(matches!(twice, Err(Unreadable::BadImage { .. })));
        assert!(matches!(read(&json!({"name": "ns/app"})), Err(Unreadable::BadImage { .. })));
    }
}
