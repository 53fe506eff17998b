//! Amazon Elastic Container Registry: its events through EventBridge, as they are or made CloudEvents on the way.

use serde_json::Value;

use super::{
    Message, Reading, Rules, Sighting, Unreadable, cloud_event,
    image::delivery,
    image_of,
    message::{at, text},
};

pub(super) const PUSHED: &str = "com.amazon.ecr.image.push";
const ACTION: &str = "ECR Image Action";

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let events = cloud_event::all(message)?;
    Ok(Reading::of_all(events.iter().map(|event| match event.get("specversion") {
        Some(_) => of_event(event, rules),
        None => pushed(event, rules),
    })))
}

fn pushed(event: &Value, rules: &Rules) -> Result<Sighting, String> {
    let (source, kind) = (text(event, "source"), text(event, "detail-type").unwrap_or_default());
    if kind != ACTION || source != Some("aws.ecr") {
        return Err(format!("the event is `{kind:.100}`, only `{ACTION}` of `aws.ecr` deploys"));
    }
    let detail = event.get("detail").unwrap_or(&Value::Null);
    let (action, result) = (text(detail, "action-type"), text(detail, "result"));
    if action != Some("PUSH") || result != Some("SUCCESS") {
        return Err("the event tells of no push that succeeded".to_owned());
    }
    let host =
        text(event, "account").zip(text(event, "region")).map(|(account, region)| host(account, region));
    let repository = text(detail, "repository-name").ok_or("the event names no repository")?;
    let image = image_of(
        rules.host(host.as_deref())?,
        repository,
        text(detail, "image-tag"),
        text(detail, "image-digest"),
    )?;
    Ok(Sighting::new(image, delivery([text(event, "id")])))
}

/// What an input transformer made of it, whose `source` is `urn:aws:ecr:<region>:<account>:repository/<name>`.
pub(super) fn of_event(event: &Value, rules: &Rules) -> Result<Sighting, String> {
    let kind = text(event, "type").unwrap_or_default();
    if kind != PUSHED {
        return Err(format!("the event is `{kind:.100}`, only `{PUSHED}` deploys"));
    }
    let source: Vec<&str> = text(event, "source").unwrap_or_default().split(':').collect();
    let account = at(event, "/data/registryId").or(source.get(4).copied());
    let region = source.get(3).copied().filter(|region| !region.is_empty());
    let host = account.zip(region).map(|(account, region)| host(account, region));
    let repository = at(event, "/data/repositoryName").ok_or("the event names no repository")?;
    let (tag, digest) = (at(event, "/data/imageTag"), at(event, "/data/imageDigest"));
    let image = image_of(rules.host(host.as_deref())?, repository, tag, digest)?;
    Ok(Sighting::new(image, cloud_event::delivery(event)))
}

fn host(account: &str, region: &str) -> String {
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("{account}.dkr.ecr.{region}.amazonaws.com{suffix}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{Kind, samples::read_as};

    fn event(kind: &str, action: &str, result: &str, tag: Option<&str>) -> Value {
        json!({"id": "e", "detail-type": kind, "source": "aws.ecr", "account": "123456789012", "region": "cn-north-1",
            "detail": {"result": result, "repository-name": "shop/api", "action-type": action, "image-tag": tag}})
    }

    #[test]
    fn only_a_push_of_a_tag_that_succeeded_deploys() {
        let good = read_as(Kind::AwsEcr, &event(ACTION, "PUSH", "SUCCESS", Some("1")));
        let Ok(Reading::Sightings(seen)) = good else { panic!("ignored") };
        assert_eq!(seen[0].image.to_string(), "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/shop/api:1");
        for bad in [
            event(ACTION, "PUSH", "FAILURE", Some("1")),
            event(ACTION, "DELETE", "SUCCESS", Some("1")),
            event(ACTION, "PUSH", "SUCCESS", None),
            event("ECR Image Scan", "PUSH", "SUCCESS", Some("1")),
        ] {
            assert!(matches!(read_as(Kind::AwsEcr, &bad), Ok(Reading::Ignored(_))), "{bad}");
        }
    }

    #[test]
    fn a_transformed_event_is_read() {
        let body = json!({"specversion": "1.0", "id": "e", "type": PUSHED, "source": "urn:aws:ecr:eu-west-1:123456789012:repository/app",
            "data": {"repositoryName": "app", "imageTag": "v1"}});
        let Ok(Reading::Sightings(seen)) = read_as(Kind::AwsEcr, &body) else { panic!("ignored") };
        assert_eq!(seen[0].image.to_string(), "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:v1");
    }
}
