//! Azure Container Registry: its own webhooks, and Event Grid, in its own form and as CloudEvents.

use serde_json::{Value, json};

use super::{
    Message, Reading, Rules, Sighting, Unreadable, cloud_event, distribution,
    image::delivery,
    message::{at, text},
};

pub(super) const PUSHED: &str = "Microsoft.ContainerRegistry.ImagePushed";
const VALIDATION: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let events = cloud_event::all(message)?;
    let asked = events.iter().find(|event| kind(event) == Some(VALIDATION));
    if let Some(code) = asked.and_then(|event| at(event, "/data/validationCode")) {
        return Ok(Reading::Handshake(json!({"validationResponse": code})));
    }
    if events.iter().any(|event| text(event, "action") == Some("ping")) {
        return Ok(Reading::Acknowledged("the registry tries the hook".to_owned()));
    }
    Ok(Reading::of_all(events.iter().map(|event| match kind(event) {
        Some(_) => of_event(event, rules),
        None => Ok(Sighting::new(distribution::pushed(event, rules)?, delivery([text(event, "id")]))),
    })))
}

/// The type of an event of Event Grid; none for what the registry sends itself.
fn kind(event: &Value) -> Option<&str> {
    text(event, "eventType").or(text(event, "type"))
}

/// An event of Event Grid, around what the registry's webhook says too.
pub(super) fn of_event(event: &Value, rules: &Rules) -> Result<Sighting, String> {
    let kind = kind(event).unwrap_or_default();
    if kind != PUSHED {
        return Err(format!("the event is `{kind:.100}`, only `{PUSHED}` deploys"));
    }
    let image = distribution::pushed(event.get("data").unwrap_or(&Value::Null), rules)?;
    Ok(Sighting::new(image, delivery([text(event, "id")])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Kind, samples::read_as};

    fn push(action: &str) -> Value {
        json!({"id": "1", "action": action, "request": {"host": "R.azurecr.io"}, "target": {
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "repository": "app", "tag": "v1"}})
    }

    #[test]
    fn event_grid_is_read_in_both_its_forms() {
        for event in [
            json!([{"id": "e", "eventType": PUSHED, "data": push("push")}]),
            json!({"specversion": "1.0", "id": "e", "source": "s", "type": PUSHED, "data": push("push")}),
        ] {
            let Ok(Reading::Sightings(seen)) = read_as(Kind::AzureAcr, &event) else { panic!("{event}") };
            assert_eq!(
                (seen[0].image.to_string(), seen[0].delivery.as_deref()),
                ("r.azurecr.io/app:v1".to_owned(), Some("e"))
            );
        }
        let deleted = json!([{"id": "e", "eventType": "Microsoft.ContainerRegistry.ImageDeleted", "data": push("push")}]);
        assert!(matches!(read_as(Kind::AzureAcr, &deleted), Ok(Reading::Ignored(_))));
    }

    #[test]
    fn only_a_push_deploys() {
        assert!(matches!(read_as(Kind::AzureAcr, &push("push")), Ok(Reading::Sightings(_))));
        for action in ["delete", "chart_push", "quarantine", ""] {
            assert!(matches!(read_as(Kind::AzureAcr, &push(action)), Ok(Reading::Ignored(_))), "{action}");
        }
        assert!(matches!(read_as(Kind::AzureAcr, &push("ping")), Ok(Reading::Acknowledged(_))));
    }

    #[test]
    fn a_validation_without_a_code_is_no_handshake() {
        let asked = json!([{"eventType": VALIDATION, "data": {}}]);
        assert!(matches!(read_as(Kind::AzureAcr, &asked), Ok(Reading::Ignored(_))));
    }
}
