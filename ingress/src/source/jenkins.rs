//! The Notification plugin of Jenkins: builds with their parameters, which may name an image.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Message, Reading, Rules, Unreadable,
    image::delivery,
    message::{at, scalar, text},
    template::Happening,
};

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    Ok(match built(&message.json()?) {
        Ok(happening) => happening.reading(rules),
        Err(why) => Reading::Ignored(why),
    })
}

/// A build is told of in each of its phases, of which the last one deploys.
fn built(body: &Value) -> Result<Happening, String> {
    let build = body.get("build").ok_or("the body is not a build of Jenkins")?;
    let phase = text(build, "phase").unwrap_or_default();
    if phase != "FINALIZED" {
        return Err(format!("the build is `{phase:.100}`, only one that is FINALIZED deploys"));
    }
    let status = text(build, "status").unwrap_or_default();
    if status != "SUCCESS" {
        return Err(format!("the build ended with `{status:.100}`"));
    }
    let number = build.get("number").and_then(scalar);
    // Of a branch it is told with its remote in front, whatever the branch is called.
    let told = at(build, "/scm/branch");
    let tag = told.and_then(|name| name.strip_prefix("refs/tags/").or(name.strip_prefix("tags/")));
    let branch = told.filter(|_| tag.is_none()).map(|name| name.strip_prefix("origin/").unwrap_or(name));
    let began = build.get("timestamp").and_then(scalar);
    let job = text(body, "name");
    Ok(Happening {
        what: "the build".to_owned(),
        path: at(build, "/scm/url").map(repository_of).unwrap_or_default(),
        tag: tag.map(str::to_owned),
        branch: branch.map(str::to_owned),
        sha: at(build, "/scm/commit").map(str::to_owned),
        name: job.map(str::to_owned),
        parameters: parameters(build),
        delivery: delivery([job, number.as_deref(), began.as_deref()]),
        number,
        ..Happening::default()
    })
}

fn parameters(build: &Value) -> BTreeMap<String, String> {
    let parameters = build.get("parameters").and_then(Value::as_object).into_iter().flatten();
    parameters.filter_map(|(name, value)| Some((name.clone(), scalar(value)?))).collect()
}

/// Owner and name out of `git@host:owner/name.git` or `https://host/owner/name.git`.
fn repository_of(url: &str) -> String {
    let rest = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => url.split_once(':').map_or(url, |(_, path)| path),
    };
    rest.strip_suffix(".git").unwrap_or(rest).trim_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{
        Kind,
        samples::{read_event, template},
    };

    fn told(image: &str, phase: &str, status: &str) -> String {
        let body = json!({"name": "api", "build": {"number": 7, "timestamp": 1, "phase": phase, "status": status,
            "scm": {"url": "git@git.lan:Acme/Api.git", "branch": "origin/main", "commit": "0123456789"},
            "parameters": {"IMAGE": "r.lan/acme/api", "TAG": "v1", "BUILD": 7}}});
        match read_event(Kind::Jenkins, &[], &body, &template(image)).unwrap() {
            Reading::Sightings(seen) => {
                assert_eq!(seen[0].delivery.as_deref(), Some("api 7 1"));
                seen[0].image.to_string()
            }
            Reading::Ignored(_) => "ignored".to_owned(),
            Reading::Acknowledged(_) | Reading::Handshake(_) | Reading::NeedsRule(_) => {
                panic!("not read as a push")
            }
        }
    }

    #[test]
    fn a_finished_build_deploys_by_its_parameters_or_its_repository() {
        assert_eq!(told("{IMAGE}:{TAG}", "FINALIZED", "SUCCESS"), "r.lan/acme/api:v1");
        assert_eq!(
            told("r.io/{owner}/{repo}:{branch}-{number}", "FINALIZED", "SUCCESS"),
            "r.io/acme/api:main-7"
        );
        assert_eq!(told("{IMAGE}:{NONE}", "FINALIZED", "SUCCESS"), "ignored");
        for (phase, status) in
            [("COMPLETED", "SUCCESS"), ("FINALIZED", "FAILURE"), ("FINALIZED", "UNSTABLE"), ("STARTED", "")]
        {
            assert_eq!(told("{IMAGE}:{TAG}", phase, status), "ignored", "{phase} {status}");
        }
    }

    #[test]
    fn a_branch_that_is_called_like_a_tag_is_a_branch() {
        let taken = |branch: &str| {
            let body = json!({"name": "api", "build": {"number": 7, "phase": "FINALIZED", "status": "SUCCESS",
                "scm": {"url": "git@git.lan:Acme/Api.git", "branch": branch}}});
            let rules = Rules { branches: vec!["main".to_owned()], ..template("r.io/x:{number}") };
            matches!(read_event(Kind::Jenkins, &[], &body, &rules).unwrap(), Reading::Sightings(_))
        };
        assert!(taken("origin/main") && taken("refs/tags/v1.2") && taken("tags/v1.2"));
        assert!(!taken("origin/tags/v1.2") && !taken("origin/refs/tags/v1.2") && !taken("origin/9.9"));
    }

    #[test]
    fn repositories_are_known_by_their_urls() {
        for url in ["git@h:a/b.git", "https://u@h:3000/a/b.git", "ssh://git@h:22/a/b", "https://h/a/b/"] {
            assert_eq!(repository_of(url), "a/b", "{url}");
        }
    }
}
