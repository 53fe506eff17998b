//! Docker Hub: `push_data` and `repository`, without a digest and without a signature.

use serde_json::Value;

use super::{
    Message, Reading, Rules, Sighting, Unreadable,
    image::delivery,
    image_of,
    message::{scalar, text},
};

const HOST: &str = "docker.io";

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    Ok(Reading::of_one(pushed(&message.json()?, rules)))
}

fn pushed(body: &Value, rules: &Rules) -> Result<Sighting, String> {
    let (Some(push), Some(repository)) = (body.get("push_data"), body.get("repository")) else {
        return Err("the body is not a push of Docker Hub".to_owned());
    };
    let name = match (text(repository, "repo_name"), text(repository, "name")) {
        (Some(full), _) => full.to_owned(),
        (None, Some(name)) => {
            let owner = text(repository, "namespace").or(text(repository, "owner")).unwrap_or("library");
            format!("{owner}/{name}")
        }
        (None, None) => return Err("the event names no repository".to_owned()),
    };
    let image = image_of(rules.host(Some(HOST))?, &name, text(push, "tag"), None)?;
    // Each manifest of an image for several platforms is told alone, all of the same second.
    let pushed_at = push.get("pushed_at").and_then(scalar);
    let delivery = delivery([Some(&image.to_string()), pushed_at.as_deref()]);
    Ok(Sighting::new(image, delivery))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{Kind, samples::read_as};

    fn told(body: &Value) -> (String, Option<String>) {
        let Ok(Reading::Sightings(seen)) = read_as(Kind::Dockerhub, body) else { panic!("ignored: {body}") };
        (seen[0].image.to_string(), seen[0].delivery.clone())
    }

    #[test]
    fn official_images_have_their_owner() {
        let body = |name: &str| json!({"push_data": {"tag": "1"}, "repository": {"repo_name": name}});
        assert_eq!(told(&body("nginx")).0, "docker.io/library/nginx:1");
        assert_eq!(told(&body("library/nginx")).0, "docker.io/library/nginx:1");
        assert_eq!(told(&body("Acme/Web")).0, "docker.io/acme/web:1");
    }

    #[test]
    fn the_calls_for_each_manifest_of_one_push_are_one_delivery() {
        let body = |at: Value| json!({"push_data": {"tag": "1", "pushed_at": at}, "repository": {"repo_name": "a/b"}});
        assert!(told(&body(json!(1_417_566_161))).1.is_some());
        assert_eq!(told(&body(json!(7))), told(&body(json!(7))));
        assert_ne!(told(&body(json!(7))), told(&body(json!(8))));
        assert_eq!(told(&body(Value::Null)).1, None);
    }

    #[test]
    fn without_a_tag_nothing_is_deployed() {
        let body = json!({"push_data": {"pushed_at": 7, "images": []}, "repository": {"repo_name": "a/b"}});
        assert!(matches!(read_as(Kind::Dockerhub, &body), Ok(Reading::Ignored(_))));
    }
}
