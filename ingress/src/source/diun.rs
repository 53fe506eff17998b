//! Diun, which looks at registries and tells of what is new: the image in full, with its digest.

use serde_json::Value;

use super::{Message, Reading, Rules, Sighting, Unreadable, image::image_in, message::text};

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    Ok(Reading::of_one(seen(&message.json()?, rules)))
}

fn seen(body: &Value, rules: &Rules) -> Result<Sighting, String> {
    let status = text(body, "status").unwrap_or_default();
    if !["new", "update"].contains(&status) {
        return Err(format!("the image is `{status:.100}`, only what is new or updated deploys"));
    }
    let image = text(body, "image").ok_or("the message names no image")?;
    // Without a name: an image that comes back is told in the same words, and has to be deployed again.
    Ok(Sighting::new(image_in(image, text(body, "digest"), rules.registry.as_deref())?, None))
}
