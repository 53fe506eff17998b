//! Our own form: `{"image":"repo:tag"}`, and `{"image","service"}`.

use proto::ImageRef;
use serde_json::Value;

use super::{Reading, Sighting, Unreadable};

pub(super) fn read(body: &Value) -> Result<Reading, Unreadable> {
    let given = body.get("image").and_then(Value::as_str).ok_or(Unreadable::NoImage)?;
    let image: ImageRef =
        given.parse().map_err(|source| Unreadable::BadImage { given: given.to_owned(), source })?;
    let service = body.get("service").and_then(Value::as_str).filter(|service| !service.is_empty());
    let sighting = Sighting { image, service: service.map(str::to_owned), delivery: None };
    Ok(Reading::Sightings(vec![sighting]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_image_and_perhaps_a_service() {
        let Reading::Sightings(seen) = read(&json!({"image": "demo:2", "service": "web", "x": 1})).unwrap()
        else {
            panic!("ignored")
        };
        assert_eq!(seen[0].image.to_string(), "docker.io/library/demo:2");
        assert_eq!(seen[0].service.as_deref(), Some("web"));
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for body in [json!({}), json!({"image": 7}), json!(["demo:2"]), json!("demo:2")] {
            assert!(matches!(read(&body), Err(Unreadable::NoImage)), "{body}");
        }
        for image in ["", "demo", "Demo:2", "demo:2@sha256:1"] {
            let read = read(&json!({"image": image}));
            assert!(matches!(read, Err(Unreadable::BadImage { .. })), "{image}");
        }
    }
}
