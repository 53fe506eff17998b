//! Google Artifact Registry: what it says to a Pub/Sub topic, in the wrapper of a push subscription or without.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::Value;

use super::{
    Message, Reading, Rules, Sighting, Unreadable,
    image::{delivery, image_in},
    message::{at, first, text},
};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let body = message.json()?;
    let wrapper = body.get("message");
    let id = wrapper.and_then(|wrapper| first(wrapper, &["messageId", "message_id"]));
    let named = delivery([id.or(message.header("x-goog-pubsub-message-id"))]);
    let event = match wrapper {
        Some(_) => at(&body, "/message/data").and_then(inner),
        None => Some(body),
    };
    let Some(event) = event else {
        return Ok(Reading::Ignored("the message's data is no JSON in base64".to_owned()));
    };
    Ok(Reading::of_one(pushed(&event, rules).map(|image| Sighting::new(image, named))))
}

fn inner(data: &str) -> Option<Value> {
    let bytes = STANDARD.decode(data).or_else(|_| URL_SAFE.decode(data)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Tag and digest are whole references each.
fn pushed(event: &Value, rules: &Rules) -> Result<proto::ImageRef, String> {
    let action = text(event, "action").unwrap_or_default();
    if action != "INSERT" {
        return Err(format!("the event is `{action:.100}`, only INSERT deploys"));
    }
    let tag = text(event, "tag").ok_or("the event names no tag")?;
    let digest = text(event, "digest").map(|digest| digest.rsplit('@').next().unwrap_or(digest));
    image_in(tag, digest, rules.registry.as_deref())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{Kind, samples::read_as};

    #[test]
    fn any_base64_is_read_and_what_is_none_is_acknowledged() {
        let inner = json!({"action": "INSERT", "tag": "eu-docker.pkg.dev/p/r/app:1>?"}).to_string();
        for data in
            [STANDARD.encode(&inner), URL_SAFE.encode(&inner), STANDARD.encode(&inner).replace('=', "")]
        {
            let body = json!({"message": {"data": data, "messageId": "7"}});
            // The reason is that of the tag: it was read.
            let Ok(Reading::Ignored(why)) = read_as(Kind::GoogleAr, &body) else { panic!("{body}") };
            assert!(why.contains("1>?"), "{why}");
        }
        for data in ["", "!!", "bm9uc2Vuc2U="] {
            let body = json!({"message": {"data": data}});
            assert!(matches!(read_as(Kind::GoogleAr, &body), Ok(Reading::Ignored(_))), "{data}");
        }
    }

    #[test]
    fn the_inner_message_may_come_alone() {
        let digest = format!("sha256:{}", "c".repeat(64));
        let body = json!({"action": "INSERT", "tag": "eu-docker.pkg.dev/p/r/app:1", "digest": format!("eu-docker.pkg.dev/p/r/app@{digest}")});
        let Ok(Reading::Sightings(seen)) = read_as(Kind::GoogleAr, &body) else { panic!("ignored") };
        assert_eq!(seen[0].image.to_string(), format!("eu-docker.pkg.dev/p/r/app:1@{digest}"));
    }
}
