//! GitLab: tags, releases and pipelines, none of which names an image. Its registry sends what a distribution
//! registry does.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Message, Reading, Rules, Unreadable,
    forge::is_nothing,
    image::delivery,
    message::{at, flag, scalar, text},
    run::Run,
    template::Happening,
};

/// The names of a delivery, the lasting ones first.
const DELIVERY: [&str; 3] = ["idempotency-key", "webhook-id", "x-gitlab-event-uuid"];
/// What started a pipeline whose outcome is no deploy: another pipeline tells of it, or it tries a change.
const PARTIAL: [&str; 4] =
    ["merge_request_event", "external_pull_request_event", "parent_pipeline", "ondemand_dast_scan"];

/// What else starts pipelines, where the source does not say: what only members or their tokens can.
const USUAL: &[&str] =
    &["push", "web", "trigger", "schedule", "api", "pipeline", "chat", "webide", "external"];

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let body = message.json()?;
    let happened = match text(&body, "object_kind").unwrap_or_default() {
        "tag_push" => tag_push(&body),
        "pipeline" => pipeline(&body),
        "release" => release(&body),
        other => Err(format!("the event is `{other:.100}`, which deploys nothing")),
    };
    Ok(match happened {
        Ok(happening) => {
            let path = at(&body, "/project/path_with_namespace").unwrap_or_default().to_owned();
            Happening { path, delivery: delivery([message.first_header(&DELIVERY)]), ..happening }
                .reading(rules)
        }
        Err(why) => Reading::Ignored(why),
    })
}

fn tag_push(body: &Value) -> Result<Happening, String> {
    let reference = text(body, "ref").unwrap_or_default();
    if !reference.starts_with("refs/tags/") {
        return Err(format!("`{reference:.100}` is no tag"));
    }
    let after = text(body, "after");
    if after.is_none() || is_nothing(after) {
        return Err(format!("`{reference:.100}` was deleted"));
    }
    let sha = text(body, "checkout_sha").or(after).map(str::to_owned);
    Ok(Happening { what: "the pushed tag".to_owned(), sha, ..Happening::default() }.at_ref(reference))
}

fn pipeline(body: &Value) -> Result<Happening, String> {
    let run = body.get("object_attributes").unwrap_or(&Value::Null);
    let status = text(run, "status").unwrap_or_default();
    if status != "success" {
        return Err(format!("the pipeline is `{status:.100}`, only a success deploys"));
    }
    let source = text(run, "source").unwrap_or_default();
    if PARTIAL.contains(&source) || body.get("merge_request").is_some_and(Value::is_object) {
        return Err("the pipeline is a child of another, or tries a merge request".to_owned());
    }
    let reference = text(run, "ref").ok_or("the pipeline has no ref")?.to_owned();
    let (tag, branch) = if flag(run, "tag") { (Some(reference), None) } else { (None, Some(reference)) };
    Ok(Happening {
        what: "the pipeline".to_owned(),
        tag,
        branch,
        sha: text(run, "sha").map(str::to_owned),
        number: run.get("iid").and_then(scalar),
        name: text(run, "name").map(str::to_owned),
        run: Some(Run {
            trigger: text(run, "source").map(str::to_owned),
            workflows: Vec::new(),
            usual: USUAL,
        }),
        parameters: variables(run),
        ..Happening::default()
    })
}

fn variables(run: &Value) -> BTreeMap<String, String> {
    let variables = run.get("variables").and_then(Value::as_array).into_iter().flatten();
    let pair = |variable: &Value| Some((text(variable, "key")?.to_owned(), scalar(variable.get("value")?)?));
    variables.filter_map(pair).collect()
}

fn release(body: &Value) -> Result<Happening, String> {
    let action = text(body, "action").or(at(body, "/object_attributes/action")).unwrap_or_default();
    if action != "create" {
        return Err(format!("the release is `{action:.100}`, only a new one deploys"));
    }
    let tag = text(body, "tag").ok_or("the release has no tag")?.to_owned();
    let sha = at(body, "/commit/id").map(str::to_owned);
    Ok(Happening { what: "the release".to_owned(), tag: Some(tag), sha, ..Happening::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{
        Kind,
        samples::{read_event, template},
    };

    fn told(image: &str, body: &Value) -> String {
        match read_event(Kind::Gitlab, &[("x-gitlab-event-uuid", "u-1")], body, &template(image)).unwrap() {
            Reading::Sightings(seen) => {
                assert_eq!(seen[0].delivery.as_deref(), Some("u-1"));
                seen[0].image.to_string()
            }
            Reading::Ignored(_) => "ignored".to_owned(),
            Reading::Acknowledged(_) | Reading::Handshake(_) | Reading::NeedsRule(_) => "other".to_owned(),
        }
    }

    #[test]
    fn pipelines_that_succeed_deploy_with_their_variables() {
        let pipeline = |status: &str, tag: bool, source: &str| {
            json!({
            "object_kind": "pipeline", "project": {"path_with_namespace": "Group/Sub/App"},
            "object_attributes": {"ref": "v1.0", "tag": tag, "status": status, "source": source, "sha": "0123456789",
                "variables": [{"key": "IMAGE_DIGEST", "value": format!("sha256:{}", "b".repeat(64))}, {"key": 7}]}})
        };
        let digest = "b".repeat(64);
        let image = "r.gitlab.com/{path}:{tag}@{IMAGE_DIGEST}";
        assert_eq!(
            told(image, &pipeline("success", true, "push")),
            format!("r.gitlab.com/group/sub/app:v1.0@sha256:{digest}")
        );
        assert_eq!(told(image, &pipeline("running", true, "push")), "ignored");
        assert_eq!(told(image, &pipeline("success", false, "push")), "ignored", "a branch has no tag");
        assert_eq!(told("r.io/x:{branch}", &pipeline("success", false, "push")), "r.io/x:v1.0");
        assert_eq!(told(image, &pipeline("success", true, "parent_pipeline")), "ignored");
        assert_eq!(told(image, &pipeline("success", true, "security_orchestration_policy")), "ignored");
        let only = Rules { events: vec!["schedule".to_owned()], ..template("r.io/x:{branch}") };
        let read =
            |source: &str| read_event(Kind::Gitlab, &[], &pipeline("success", false, source), &only).unwrap();
        assert!(
            matches!(read("schedule"), Reading::Sightings(_)) && matches!(read("push"), Reading::Ignored(_))
        );
        let mut tried = pipeline("success", true, "push");
        tried["merge_request"] = json!({"id": 1});
        assert_eq!(told(image, &tried), "ignored");
    }

    #[test]
    fn deleted_tags_and_changed_releases_are_ignored() {
        let push = |after: &str| json!({"object_kind": "tag_push", "ref": "refs/tags/v1", "after": after});
        assert_eq!(told("r.io/x:{tag}", &push("abc")), "r.io/x:v1");
        assert_eq!(told("r.io/x:{tag}", &push(&"0".repeat(40))), "ignored");
        assert_eq!(told("r.io/x:{tag}", &push(&"0".repeat(64))), "ignored");
        let release = |action: &str| json!({"object_kind": "release", "tag": "v1", "action": action});
        assert_eq!(told("r.io/x:{tag}", &release("create")), "r.io/x:v1");
        assert_eq!(told("r.io/x:{tag}", &release("update")), "ignored");
        assert_eq!(
            told("r.io/x:{tag}", &json!({"object_kind": "deployment", "status": "success"})),
            "ignored"
        );
    }
}
