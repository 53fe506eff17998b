//! What Keel's native webhook takes: `{"name":"gcr.io/ns/app","tag":"1.1.1"}`, perhaps with `host` and `digest`.

use super::{Message, Reading, Rules, Sighting, Unreadable, image::delivery, message::text, plain};

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let mut body = message.json()?;
    // Registries take lower case alone, and who called Keel did not have to know.
    for key in ["host", "name"] {
        if let Some(text) = text(&body, key).map(str::to_lowercase) {
            body[key] = text.into();
        }
    }
    // Both are needed there, and nothing is taken for granted here either.
    if text(&body, "name").is_none() {
        return Err(Unreadable::NoImage);
    }
    let named = plain::image(&body)?;
    let (host, path) = (rules.registry.as_deref(), named.repository().path());
    let digest = named.digest().map(proto::Digest::as_str);
    let image = super::image_of(host.unwrap_or(named.repository().host()), path, named.tag(), digest);
    let delivery = delivery([message.header("idempotency-key")]);
    Ok(Reading::of_one(image.map(|image| Sighting::new(image, delivery))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{Kind, samples::read_as};

    #[test]
    fn names_are_taken_in_lower_case() {
        let read = read_as(Kind::Keel, &json!({"name": "gcr.io/NS/App", "tag": "V1"})).unwrap();
        let Reading::Sightings(seen) = read else { panic!("{read:?}") };
        assert_eq!(seen[0].image.to_string(), "gcr.io/ns/app:V1");
    }
}
