//! What Keel's native webhook takes: `{"name":"gcr.io/ns/app","tag":"1.1.1"}`, perhaps with `host` and `digest`.

use super::{Message, Reading, Rules, Sighting, Unreadable, image::delivery, message::text, plain};

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let body = message.json()?;
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
