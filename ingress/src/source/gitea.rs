//! Gitea and Forgejo: their container registry, and what happens in a repository without naming an image.

use serde_json::Value;

use super::{
    Message, Reading, Rules, Sighting, Unreadable, forge,
    image::delivery,
    image_of,
    message::{at, flag, host_of, scalar, text},
    run::{self, Run},
    template::Happening,
};

/// Where the event's name stands. The ones without `-type` are sent empty for packages.
const EVENT: [&str; 8] = [
    "x-gitea-event-type",
    "x-forgejo-event-type",
    "x-gogs-event-type",
    "x-github-event-type",
    "x-gitea-event",
    "x-forgejo-event",
    "x-gogs-event",
    "x-github-event",
];
const DELIVERY: [&str; 4] =
    ["x-gitea-delivery", "x-forgejo-delivery", "x-gogs-delivery", "x-github-delivery"];

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let body = message.json()?;
    let named = delivery([message.first_header(&DELIVERY)]);
    let event = message.first_header(&EVENT).unwrap_or_else(|| event_of(&body));
    if event == "package" {
        return Ok(Reading::of_one(published(&body, rules).map(|image| Sighting::new(image, named))));
    }
    Ok(match happened(&body, event, rules) {
        Ok(happening) => {
            let repository = at(&body, "/repository/full_name").or(at(&body, "/run/repository/full_name"));
            let path = repository.unwrap_or_default().to_owned();
            Happening { path, delivery: named, ..happening }.reading(rules)
        }
        Err(why) => Reading::Ignored(why),
    })
}

/// The event by its own fields, for a sender that lost the headers.
fn event_of(body: &Value) -> &'static str {
    let is = |key: &str| body.get(key).is_some_and(Value::is_object);
    match () {
        () if is("package") => "package",
        () if is("release") => "release",
        () if is("run") => "action_run",
        () if is("workflow_run") => "workflow_run",
        // What was deleted has no commit.
        () if body.get("ref_type").is_some() && body.get("sha").is_some() => "create",
        () if body.get("before").is_some() => "push",
        () => "",
    }
}

fn published(body: &Value, rules: &Rules) -> Result<proto::ImageRef, String> {
    let action = text(body, "action").unwrap_or_default();
    if action != "created" {
        return Err(format!("the package was `{action:.100}`, only a created one deploys"));
    }
    let package = body.get("package").unwrap_or(&Value::Null);
    let kind = text(package, "type").unwrap_or_default();
    if kind != "container" {
        return Err(format!("the package is of the type `{kind:.100}`, only containers deploy"));
    }
    let owner = at(package, "/owner/login").or(at(package, "/owner/username"));
    let owner = owner.ok_or("the package has no owner")?;
    let name = text(package, "name").ok_or("the package has no name")?;
    let host = rules.host(text(package, "html_url").map(host_of))?;
    image_of(host, &format!("{owner}/{name}"), text(package, "version"), None)
}

fn happened(body: &Value, event: &str, rules: &Rules) -> Result<Happening, String> {
    match event {
        "release" => forge::release(body, rules, &["published"]),
        "create" => forge::created(body),
        "push" => forge::pushed(body),
        "workflow_run" => workflow_run(body),
        run if run.starts_with("action_run") => action_run(body),
        _ => Err(format!("the event is `{event:.100}`, which deploys nothing")),
    }
}

/// A run that mends a failed one is told of twice, as a success and as a recovery; the first deploys.
fn action_run(body: &Value) -> Result<Happening, String> {
    let action = text(body, "action").unwrap_or_default();
    let run = body.get("run").unwrap_or(&Value::Null);
    if action != "success" || text(run, "status").is_some_and(|status| status != "success") {
        return Err(format!("the action run is `{action:.100}`, only a success deploys"));
    }
    let trigger = text(run, "trigger_event").or(text(run, "event")).unwrap_or_default();
    if flag(run, "is_fork_pull_request") || trigger.starts_with("pull_request") {
        return Err("the action ran for a pull request".to_owned());
    }
    let workflow = text(run, "workflow_id");
    let run_of = Run {
        trigger: Some(trigger.to_owned()).filter(|trigger| !trigger.is_empty()),
        workflows: run::names_of(None, workflow),
        usual: forge::USUAL_EVENTS,
    };
    let happening = Happening {
        what: "the action run".to_owned(),
        sha: text(run, "commit_sha").map(str::to_owned),
        number: run.get("index_in_repo").and_then(scalar),
        name: workflow.map(str::to_owned),
        run: Some(run_of),
        ..Happening::default()
    };
    let cause: Value =
        text(run, "event_payload").and_then(|inner| serde_json::from_str(inner).ok()).unwrap_or_default();
    match text(&cause, "ref").filter(|reference| reference.starts_with("refs/")) {
        Some(reference) => Ok(happening.at_ref(reference)),
        None => Ok(happening.at_branch_or_tag(text(run, "prettyref").ok_or("the action run has no ref")?)),
    }
}

/// Gitea's form of what Forgejo tells as an action run. Runs for a fork are those for a pull request.
fn workflow_run(body: &Value) -> Result<Happening, String> {
    let run = body.get("workflow_run").unwrap_or(&Value::Null);
    forge::run_succeeded(body, run)?;
    // Where it ran on a tag there is no branch; only the path says which: `build.yaml@refs/tags/v1`.
    let (workflow, reference) = text(run, "path").and_then(|path| path.split_once('@')).unwrap_or_default();
    let name = at(body, "/workflow/name").or(Some(workflow).filter(|file| !file.is_empty()));
    let run_of = Run {
        trigger: text(run, "event").map(str::to_owned),
        workflows: run::names_of(at(body, "/workflow/name"), at(body, "/workflow/path").or(Some(workflow))),
        usual: forge::USUAL_EVENTS,
    };
    let happening = Happening {
        what: "the workflow run".to_owned(),
        sha: text(run, "head_sha").map(str::to_owned),
        number: run.get("run_number").and_then(scalar),
        name: name.map(str::to_owned),
        run: Some(run_of),
        ..Happening::default()
    };
    if ["refs/heads/", "refs/tags/"].iter().any(|kind| reference.starts_with(kind)) {
        return Ok(happening.at_ref(reference));
    }
    if !reference.is_empty() {
        return Err(format!("the workflow ran on `{reference:.100}`, which is no branch and no tag"));
    }
    Ok(happening.at_branch_or_tag(text(run, "head_branch").ok_or("the workflow ran on no branch or tag")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{
        Kind,
        samples::{read_event, template},
    };

    fn told(event: &str, body: &Value) -> String {
        let headers = [("x-gitea-event", ""), ("x-gitea-event-type", event), ("x-gitea-delivery", "d-1")];
        match read_event(Kind::Gitea, &headers, body, &template("r.io/{owner}/{repo}:{tag}")).unwrap() {
            Reading::Sightings(seen) => {
                assert_eq!(seen[0].delivery.as_deref(), Some("d-1"));
                seen[0].image.to_string()
            }
            Reading::Ignored(_) => "ignored".to_owned(),
            Reading::Acknowledged(_) | Reading::Handshake(_) | Reading::NeedsRule(_) => "other".to_owned(),
        }
    }

    #[test]
    fn packages_deploy_when_a_tag_of_a_container_was_made() {
        let package = |action: &str, kind: &str, version: &str| {
            json!({"action": action, "repository": null,
            "package": {"type": kind, "name": "Api", "version": version, "owner": {"login": "Acme"},
                "html_url": "https://git.lan:3000/Acme/-/packages/container/api/v1"}})
        };
        for event in ["package", ""] {
            assert_eq!(told(event, &package("created", "container", "v1")), "git.lan:3000/acme/api:v1");
        }
        assert_eq!(told("package", &package("deleted", "container", "v1")), "ignored");
        assert_eq!(told("package", &package("created", "npm", "v1")), "ignored");
        assert_eq!(told("package", &package("created", "container", "sha256:abc")), "ignored");
    }

    #[test]
    fn tags_deploy_when_they_come_and_not_when_they_go() {
        let tag =
            json!({"ref": "v1", "ref_type": "tag", "sha": "abc", "repository": {"full_name": "Acme/Api"}});
        assert_eq!(told("create", &tag), "r.io/acme/api:v1");
        assert_eq!(told("", &tag), "r.io/acme/api:v1");
        assert_eq!(told("delete", &tag), "ignored");
    }

    #[test]
    fn action_runs_deploy_when_they_succeed_on_a_tag() {
        let run = |action: &str, payload: &str, fork: bool| {
            json!({"action": action, "run": {"status": "success",
            "prettyref": "v1.2", "event_payload": payload, "is_fork_pull_request": fork, "repository": {"full_name": "A/B"}}})
        };
        assert_eq!(told("action_run_success", &run("success", "{}", false)), "r.io/a/b:v1.2");
        assert_eq!(
            told("action_run_success", &run("success", r#"{"ref":"refs/tags/v3"}"#, false)),
            "r.io/a/b:v3"
        );
        assert_eq!(
            told("action_run_success", &run("success", r#"{"ref":"refs/heads/v1.2"}"#, false)),
            "ignored"
        );
        assert_eq!(told("action_run_recover", &run("recover", "{}", false)), "ignored");
        assert_eq!(told("action_run_success", &run("success", "{}", true)), "ignored");
    }

    #[test]
    fn what_may_be_a_branch_or_a_tag_passes_the_branches_of_a_source_only_where_it_is_listed() {
        let forgejo = json!({"action": "success", "run": {"status": "success", "prettyref": "9.9",
            "commit_sha": "0123456789", "repository": {"full_name": "A/B"}}});
        let gitea = json!({"action": "completed", "repository": {"full_name": "A/B"}, "workflow_run": {"event": "push",
            "conclusion": "success", "head_branch": "9.9", "head_sha": "0123456789"}});
        for (event, body) in [("action_run_success", forgejo), ("workflow_run", gitea)] {
            let taken = |branches: &[&str]| {
                let branches = branches.iter().map(|&branch| branch.to_owned()).collect();
                let rules = Rules { branches, ..template("r.io/x:{short_sha}") };
                let read = read_event(Kind::Gitea, &[("x-gitea-event", event)], &body, &rules).unwrap();
                matches!(read, Reading::Sightings(_))
            };
            assert!(taken(&[]) && taken(&["main", "9.*"]) && !taken(&["main"]), "{event}");
        }
    }

    #[test]
    fn runs_are_told_apart_by_what_started_them_and_by_their_workflow() {
        let forgejo = |trigger: &str| {
            json!({"action": "success", "run": {"status": "success", "prettyref": "main", "trigger_event": trigger,
            "workflow_id": "build.yml", "repository": {"full_name": "A/B"}}})
        };
        let gitea = |trigger: &str| {
            json!({"action": "completed", "repository": {"full_name": "A/B"}, "workflow": {"name": "Build"},
            "workflow_run": {"event": trigger, "conclusion": "success", "path": "build.yml@refs/heads/main"}})
        };
        let taken = |event: &str, body: &Value, workflow: &str| {
            let rules = Rules { workflows: vec![workflow.to_owned()], ..template("r.io/x:{branch}") };
            let read = read_event(Kind::Gitea, &[("x-gitea-event", event)], body, &rules).unwrap();
            matches!(read, Reading::Sightings(_))
        };
        for (event, body) in
            [("action_run_success", &forgejo as &dyn Fn(&str) -> Value), ("workflow_run", &gitea)]
        {
            assert!(
                taken(event, &body("push"), "build.*") && !taken(event, &body("push"), "lint.*"),
                "{event}"
            );
            assert!(!taken(event, &body("issue_comment"), "build.*"), "{event}");
        }
        let pre = json!({"action": "published", "release": {"tag_name": "v2-rc1", "prerelease": true},
            "repository": {"full_name": "A/B"}});
        assert_eq!(told("release", &pre), "ignored");
    }

    #[test]
    fn workflow_runs_deploy_when_they_succeed_on_a_tag() {
        let run = |conclusion: &str, trigger: &str, reference: &str| {
            json!({"action": "completed", "repository": {"full_name": "Acme/Api"}, "workflow": {"name": "Build"},
            "workflow_run": {"event": trigger, "status": "completed", "conclusion": conclusion,
                "path": format!("build.yaml@{reference}")}})
        };
        let recorded = include_str!("../../tests/payloads/gitea-workflow_run-completed.json");
        assert_eq!(told("workflow_run", &serde_json::from_str(recorded).unwrap()), "r.io/acme/api:v2.0.0");
        for event in ["workflow_run", ""] {
            assert_eq!(told(event, &run("success", "push", "refs/tags/v1.2")), "r.io/acme/api:v1.2");
        }
        assert_eq!(told("workflow_run", &run("success", "push", "refs/heads/v1.2")), "ignored");
        assert_eq!(told("workflow_run", &run("failure", "push", "refs/tags/v1.2")), "ignored");
        assert_eq!(told("workflow_run", &run("success", "pull_request_sync", "refs/tags/v1.2")), "ignored");
        assert_eq!(told("workflow_run", &run("success", "push", "refs/pull/3/head")), "ignored");
        let mut early = run("success", "push", "refs/tags/v1.2");
        early["action"] = json!("in_progress");
        assert_eq!(told("workflow_run", &early), "ignored");
        let mut pathless = run("success", "push", "");
        pathless["workflow_run"]["head_branch"] = json!("v1.2");
        assert_eq!(told("workflow_run", &pathless), "r.io/acme/api:v1.2");
    }
}
