//! Drone: the webhook of the server, and the webhook plugin, which Woodpecker took over.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Message, Reading, Rules, Unreadable,
    image::delivery,
    message::{first, scalar, text},
    run::Run,
    template::Happening,
};

/// What starts builds, where the source does not say.
const USUAL: &[&str] =
    &["push", "tag", "promote", "rollback", "cron", "custom", "manual", "deployment", "release"];

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    Ok(match built(&message.json()?) {
        Ok(happening) => happening.reading(rules),
        Err(why) => Reading::Ignored(why),
    })
}

fn built(body: &Value) -> Result<Happening, String> {
    if let Some(event) = text(body, "event").filter(|event| *event != "build") {
        return Err(format!("the event is `{event:.100}`, only a build deploys"));
    }
    let (Some(repository), Some(build)) = (body.get("repo"), body.get("build")) else {
        return Err("the body is not a build".to_owned());
    };
    let status = text(build, "status").unwrap_or_default();
    if status != "success" {
        return Err(format!("the build is `{status:.100}`, only a success deploys"));
    }
    let event = text(build, "event").unwrap_or_default();
    if event.starts_with("pull_request") {
        return Err("the build tries a pull request".to_owned());
    }
    let reference = text(build, "ref").unwrap_or_default();
    let happening = Happening {
        what: "the build".to_owned(),
        path: path(repository),
        sha: first(build, &["after", "commit"]).map(str::to_owned),
        number: build.get("number").and_then(scalar),
        environment: first(build, &["deploy_to", "deployTo"]).map(str::to_owned),
        parameters: parameters(build),
        delivery: name(repository, build),
        run: Some(Run {
            trigger: text(build, "event").map(str::to_owned),
            workflows: Vec::new(),
            usual: USUAL,
        }),
        ..Happening::default()
    };
    let happening = happening.at_ref(reference);
    let tag = text(build, "tag").filter(|_| event == "tag").map(str::to_owned).or(happening.tag.clone());
    let branch = first(build, &["branch", "target"]).filter(|_| tag.is_none()).map(str::to_owned);
    Ok(Happening { tag, branch: happening.branch.clone().or(branch), ..happening })
}

fn path(repository: &Value) -> String {
    let owner = first(repository, &["namespace", "owner"]);
    let whole = text(repository, "slug").or(text(repository, "full_name")).map(str::to_owned);
    let joined = || Some(format!("{}/{}", owner?, text(repository, "name")?));
    whole.or_else(joined).unwrap_or_default()
}

/// The server's webhook has an id and a version of the build; the plugin only a number, and when it began.
fn name(repository: &Value, build: &Value) -> Option<String> {
    let of = |key: &str| build.get(key).and_then(scalar);
    let path = path(repository);
    let by_id = delivery([Some(&path), of("id").as_deref(), of("version").as_deref()]);
    by_id.or_else(|| delivery([Some(&path), of("number").as_deref(), of("started").as_deref()]))
}

fn parameters(build: &Value) -> BTreeMap<String, String> {
    let parameters = build.get("params").and_then(Value::as_object).into_iter().flatten();
    parameters.filter_map(|(name, value)| Some((name.clone(), scalar(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{
        Kind,
        samples::{read_event, template},
    };

    fn told(kind: Kind, image: &str, body: &Value) -> String {
        match read_event(kind, &[], body, &template(image)).unwrap() {
            Reading::Sightings(seen) => {
                assert!(seen[0].delivery.is_some());
                seen[0].image.to_string()
            }
            Reading::Ignored(_) => "ignored".to_owned(),
            Reading::Acknowledged(_) | Reading::Handshake(_) | Reading::NeedsRule(_) => {
                panic!("not read as a push")
            }
        }
    }

    #[test]
    fn the_servers_webhook_is_read() {
        let body = |event: &str, status: &str, reference: &str, kind: &str| {
            json!({"event": event, "action": "updated",
            "repo": {"slug": "Acme/Api"}, "build": {"id": 1, "version": 2, "number": 3, "status": status, "event": kind,
                "ref": reference, "target": "main", "after": "0123456789", "params": {"REGION": "eu"}}})
        };
        let image = "r.io/{path}:{tag}";
        assert_eq!(
            told(Kind::Drone, image, &body("build", "success", "refs/tags/v1", "tag")),
            "r.io/acme/api:v1"
        );
        assert_eq!(
            told(
                Kind::Drone,
                "r.io/x:{branch}-{REGION}",
                &body("build", "success", "refs/heads/main", "push")
            ),
            "r.io/x:main-eu"
        );
        assert_eq!(told(Kind::Drone, image, &body("build", "success", "refs/heads/main", "push")), "ignored");
        assert_eq!(told(Kind::Drone, image, &body("build", "failure", "refs/tags/v1", "tag")), "ignored");
        assert_eq!(told(Kind::Drone, image, &body("repo", "success", "refs/tags/v1", "tag")), "ignored");
        let only = Rules { events: vec!["promote".to_owned()], ..template("r.io/x:{branch}") };
        let read = |event: &str| {
            let body = body("build", "success", "refs/heads/main", event);
            matches!(read_event(Kind::Drone, &[], &body, &only).unwrap(), Reading::Sightings(_))
        };
        assert!(read("promote") && !read("cron") && !read("push"));
        let change = body("build", "success", "refs/pull/7/head", "pull_request");
        assert_eq!(told(Kind::Drone, "r.io/x:{branch}", &change), "ignored");
    }

    #[test]
    fn the_plugin_is_read_of_both() {
        let body = json!({"repo": {"owner": "Acme", "name": "Api"}, "build": {"tag": "v1", "event": "tag", "number": 3,
            "started": 7, "status": "success", "ref": "refs/tags/v1", "branch": "main"}});
        for kind in [Kind::Drone, Kind::Woodpecker] {
            assert_eq!(told(kind, "r.io/{owner}/{repo}:{version}", &body), "r.io/acme/api:1");
        }
    }
}
