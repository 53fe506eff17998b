//! GitHub: its container registry, and what happens in a repository without naming an image.

use serde_json::Value;

use super::{
    Message, Reading, Rules, Sighting, Unreadable, forge,
    image::{delivery, is_manifest},
    image_of,
    message::{at, scalar, text},
    run::{self, Run},
    template::Happening,
};

const HOST: &str = "ghcr.io";
/// What the configuration of an image to run is; charts and attestations are published as containers too.
const CONFIGS: [&str; 2] =
    ["application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json"];

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let body = message.json()?;
    let named = delivery([message.header("x-github-delivery")]);
    let event = message.header("x-github-event").unwrap_or_else(|| event_of(&body));
    Ok(match event {
        "ping" => Reading::Acknowledged("GitHub tries the hook".to_owned()),
        "package" | "registry_package" => {
            Reading::of_one(published(&body, event, rules).map(|image| Sighting::new(image, named)))
        }
        _ => match happened(&body, event, rules) {
            Ok(happening) => {
                let path = at(&body, "/repository/full_name").unwrap_or_default().to_owned();
                let delivery = happening.delivery.clone().or(named);
                Happening { path, delivery, ..happening }.reading(rules)
            }
            Err(why) => Reading::Ignored(why),
        },
    })
}

/// The event by its own fields, for a sender that lost the header.
fn event_of(body: &Value) -> &'static str {
    let known = ["registry_package", "package", "release", "workflow_run", "deployment_status"];
    let named = known.into_iter().find(|key| body.get(key).is_some_and(Value::is_object));
    match named {
        Some(event) => event,
        None if body.get("zen").is_some() => "ping",
        None if body.get("ref_type").is_some() && body.get("master_branch").is_some() => "create",
        None if body.get("ref").is_some() && body.get("before").is_some() => "push",
        None => "",
    }
}

fn published(body: &Value, event: &str, rules: &Rules) -> Result<proto::ImageRef, String> {
    let action = text(body, "action").unwrap_or_default();
    if !["published", "updated"].contains(&action) {
        return Err(format!("the package was `{action:.100}`, only a published one deploys"));
    }
    let package = body.get(event).unwrap_or(&Value::Null);
    let kind = text(package, "package_type").unwrap_or_default();
    if !["container", "docker"].contains(&kind.to_ascii_lowercase().as_str()) {
        return Err(format!("the package is of the type `{kind:.100}`, only containers deploy"));
    }
    let version = package.get("package_version").unwrap_or(&Value::Null);
    let container = version.get("container_metadata").unwrap_or(&Value::Null);
    for (path, known) in [
        ("/manifest/media_type", is_manifest as fn(&str) -> bool),
        ("/manifest/config/media_type", is_config),
    ] {
        if let Some(media_type) = at(container, path).filter(|media_type| !known(media_type)) {
            return Err(format!("the package is a `{media_type:.100}`, only images deploy"));
        }
    }
    let owner =
        at(package, "/owner/login").or(text(package, "namespace")).ok_or("the package has no owner")?;
    let name = text(package, "name").ok_or("the package has no name")?;
    let digest = at(container, "/tag/digest").or(at(container, "/manifest/digest"));
    let digest = digest.or(text(version, "version").filter(|version| version.starts_with("sha256:")));
    image_of(rules.host(Some(HOST))?, &format!("{owner}/{name}"), at(container, "/tag/name"), digest)
}

fn is_config(media_type: &str) -> bool {
    CONFIGS.contains(&media_type)
}

fn happened(body: &Value, event: &str, rules: &Rules) -> Result<Happening, String> {
    match event {
        "release" => released(body, rules),
        "workflow_run" => workflow_run(body),
        "create" => forge::created(body),
        "push" => forge::pushed(body),
        _ => Err(format!("the event is `{event:.100}`, which deploys nothing")),
    }
}

/// GitHub tells of a release as `published` when it is out, and as `released` when it is no pre-release, or none any more.
/// A plain one is both, so both have one name: the second makes no second job. A pre-release that is made a release is
/// `released` alone; whoever takes pre-releases had it when it was `published`.
fn released(body: &Value, rules: &Rules) -> Result<Happening, String> {
    if rules.prereleases {
        return forge::release(body, rules, &["published"]);
    }
    let happening = forge::release(body, rules, &["published", "released"])?;
    let id = body.pointer("/release/id").and_then(scalar);
    // Taken back and published again, it is another.
    let told = [id.as_deref(), at(body, "/release/tag_name"), at(body, "/release/published_at")];
    let [id, tag, published_at] = told;
    Ok(Happening { delivery: delivery([Some("release"), id, tag, published_at]), ..happening })
}

fn workflow_run(body: &Value) -> Result<Happening, String> {
    let run = body.get("workflow_run").unwrap_or(&Value::Null);
    forge::run_succeeded(body, run)?;
    // Anybody may send a change from a repository of their own, and have its workflows run.
    let ids = run.pointer("/head_repository/id").zip(body.pointer("/repository/id"));
    let name = at(run, "/head_repository/full_name").map(str::to_lowercase);
    let same_name = name == at(body, "/repository/full_name").map(str::to_lowercase);
    if name.is_none() || !same_name || ids.is_some_and(|(head, here)| head != here) {
        return Err("the workflow ran on another repository, as on a fork".to_owned());
    }
    let name = text(run, "name").or(at(body, "/workflow/name"));
    let path = text(run, "path").or(at(body, "/workflow/path"));
    let run_of = Run {
        trigger: text(run, "event").map(str::to_owned),
        workflows: run::names_of(at(body, "/workflow/name").or(name), path),
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
    let branch = text(run, "head_branch").ok_or("the workflow run has no branch")?;
    Ok(happening.at_branch_or_tag(branch))
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
        let rules = template("ghcr.io/{owner}/{repo}:{ref}");
        match read_event(Kind::Github, &[("x-github-event", event)], body, &rules).unwrap() {
            Reading::Sightings(seen) => seen[0].image.to_string(),
            Reading::Ignored(_) => "ignored".to_owned(),
            Reading::Acknowledged(_) | Reading::Handshake(_) | Reading::NeedsRule(_) => "other".to_owned(),
        }
    }

    #[test]
    fn workflow_runs_of_forks_and_failures_are_ignored() {
        let run = |conclusion: &str, head: &str, trigger: &str| {
            json!({
            "action": "completed", "repository": {"full_name": "Acme/Api"},
            "workflow_run": {"conclusion": conclusion, "event": trigger, "head_branch": "main",
                "head_repository": {"full_name": head}}})
        };
        assert_eq!(told("workflow_run", &run("success", "acme/api", "push")), "ghcr.io/acme/api:main");
        assert_eq!(told("workflow_run", &run("failure", "acme/api", "push")), "ignored");
        assert_eq!(told("workflow_run", &run("success", "mallory/api", "push")), "ignored");
        assert_eq!(told("workflow_run", &run("success", "acme/api", "pull_request_target")), "ignored");
        let mut early = run("success", "acme/api", "push");
        early["action"] = json!("requested");
        assert_eq!(told("workflow_run", &early), "ignored");
        let mut headless = run("success", "acme/api", "push");
        headless["workflow_run"]["head_repository"] = Value::Null;
        assert_eq!(told("workflow_run", &headless), "ignored");
    }

    fn ran(rules: &Rules, branch: &str, trigger: &str, file: &str) -> bool {
        let body = json!({"action": "completed", "repository": {"full_name": "Acme/Api"},
            "workflow": {"name": "Build it", "path": format!(".github/workflows/{file}")},
            "workflow_run": {"conclusion": "success", "event": trigger, "head_branch": branch, "head_sha": "0123456789",
                "name": "Build it", "path": format!(".github/workflows/{file}"), "head_repository": {"full_name": "Acme/Api"}}});
        let read = read_event(Kind::Github, &[("x-github-event", "workflow_run")], &body, rules).unwrap();
        matches!(read, Reading::Sightings(_))
    }

    #[test]
    fn a_branch_called_like_a_version_does_not_pass_the_branches_of_a_source() {
        let mut rules = template("ghcr.io/{path}:{short_sha}");
        assert!(ran(&rules, "9.9", "push", "build.yml"));
        rules.branches = vec!["main".to_owned()];
        assert!(ran(&rules, "main", "push", "build.yml"));
        for branch in ["9.9", "1.x", "v1.2", "refs/tags/v1.2"] {
            assert!(!ran(&rules, branch, "push", "build.yml"), "{branch}");
        }
    }

    #[test]
    fn only_runs_that_writers_start_deploy_and_only_of_the_workflows_of_the_source() {
        let mut rules = template("ghcr.io/{path}:{branch}");
        for trigger in ["push", "workflow_dispatch", "repository_dispatch", "release", "schedule"] {
            assert!(ran(&rules, "main", trigger, "build.yml"), "{trigger}");
        }
        for trigger in ["issue_comment", "issues", "workflow_run", "watch", "fork", "discussion"] {
            assert!(!ran(&rules, "main", trigger, "build.yml"), "{trigger}");
        }
        rules.events = vec!["workflow_run".to_owned()];
        assert!(
            ran(&rules, "main", "workflow_run", "build.yml") && !ran(&rules, "main", "push", "build.yml")
        );
        rules.events.clear();
        rules.workflows = vec!["build.yml".to_owned(), "Ship*".to_owned()];
        assert!(ran(&rules, "main", "push", "build.yml") && !ran(&rules, "main", "push", "lint.yml"));
        rules.workflows = vec!["Build*".to_owned()];
        assert!(ran(&rules, "main", "push", "any.yml"), "by its name");
    }

    #[test]
    fn pre_releases_deploy_where_the_source_says_so() {
        let body = json!({"action": "published", "repository": {"full_name": "Acme/Api"},
            "release": {"tag_name": "v2.0.0-rc1", "prerelease": true}});
        let mut rules = template("ghcr.io/{path}:{version}");
        let read =
            |rules: &Rules| read_event(Kind::Github, &[("x-github-event", "release")], &body, rules).unwrap();
        assert!(matches!(read(&rules), Reading::Ignored(why) if why.contains("`prereleases: true`")));
        rules.prereleases = true;
        assert!(matches!(read(&rules), Reading::Sightings(_)));
    }

    fn release_told(action: &str, tag: &str, prerelease: bool, rules: &Rules) -> Option<String> {
        let guid = format!("{action} {tag}");
        let headers = [("x-github-event", "release"), ("x-github-delivery", guid.as_str())];
        let body = json!({"action": action, "repository": {"full_name": "Acme/Api"}, "release": {"id": 17_372_790,
            "tag_name": tag, "prerelease": prerelease, "published_at": "2026-11-23T04:00:00Z"}});
        let read = read_event(Kind::Github, &headers, &body, rules).unwrap();
        let Reading::Sightings(seen) = read else { return None };
        seen[0].delivery.clone()
    }

    #[test]
    fn a_release_that_was_a_pre_release_first_deploys_when_it_is_none_any_more() {
        let mut rules = template("ghcr.io/{path}:{version}");
        assert_eq!(release_told("published", "v2.0.0", true, &rules), None);
        assert_eq!(release_told("prereleased", "v2.0.0", true, &rules), None);
        assert!(release_told("released", "v2.0.0", false, &rules).is_some());
        assert_eq!(release_told("edited", "v2.0.0", false, &rules), None);
        // With pre-releases it was deployed when it was one.
        rules.prereleases = true;
        assert_eq!(release_told("published", "v2.0.0", true, &rules).as_deref(), Some("published v2.0.0"));
        assert_eq!(release_told("released", "v2.0.0", false, &rules), None);
    }

    #[test]
    fn a_plain_release_is_told_twice_and_is_one_delivery() {
        let rules = template("ghcr.io/{path}:{version}");
        let published = release_told("published", "v1.0.0", false, &rules);
        assert!(published.is_some());
        assert_eq!(release_told("released", "v1.0.0", false, &rules), published);
        assert_ne!(release_told("released", "v1.0.1", false, &rules), published);
    }

    #[test]
    fn tags_and_releases_take_the_template() {
        let repository = json!({"full_name": "Acme/Api"});
        let push = |reference: &str, deleted: bool| json!({"ref": reference, "deleted": deleted, "before": "0", "after": "1", "repository": repository});
        assert_eq!(told("push", &push("refs/tags/v1", false)), "ghcr.io/acme/api:v1");
        assert_eq!(told("push", &push("refs/tags/v1", true)), "ignored");
        assert_eq!(told("push", &push("refs/heads/main", false)), "ignored");
        let release = |action: &str, draft: bool| json!({"action": action, "release": {"tag_name": "v1", "draft": draft}, "repository": repository});
        assert_eq!(told("release", &release("published", false)), "ghcr.io/acme/api:v1");
        assert_eq!(told("release", &release("edited", false)), "ignored");
        assert_eq!(told("release", &release("published", true)), "ignored");
        let create = |kind: &str| json!({"ref": "v1", "ref_type": kind, "repository": repository});
        assert_eq!(told("create", &create("tag")), "ghcr.io/acme/api:v1");
        assert_eq!(told("create", &create("branch")), "ignored");
        assert_eq!(told("delete", &create("tag")), "ignored");
    }

    #[test]
    fn charts_and_children_are_no_images() {
        let package = |config: &str, tag: &str| {
            let metadata = json!({"tag": {"name": tag}, "manifest": {"config": {"media_type": config}}});
            let version =
                json!({"version": format!("sha256:{}", "a".repeat(64)), "container_metadata": metadata});
            json!({"action": "published", "package": {"package_type": "CONTAINER", "name": "Sub/Api",
                "owner": {"login": "Acme"}, "package_version": version}})
        };
        let digest = "a".repeat(64);
        assert_eq!(told("package", &package("", "v1")), format!("ghcr.io/acme/sub/api:v1@sha256:{digest}"));
        assert_eq!(
            told("package", &package(CONFIGS[1], "v1")),
            format!("ghcr.io/acme/sub/api:v1@sha256:{digest}")
        );
        assert_eq!(told("package", &package("application/vnd.cncf.helm.config.v1+json", "v1")), "ignored");
        assert_eq!(told("package", &package("", "")), "ignored");
        let mut deleted = package("", "v1");
        deleted["action"] = json!("deleted");
        assert_eq!(told("package", &deleted), "ignored");
    }
}
