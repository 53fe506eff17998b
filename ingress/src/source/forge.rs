//! What forges of git tell alike, without naming an image: releases, new tags and pushes. GitHub has set the form.

use serde_json::Value;

use super::{
    Rules,
    message::{at, flag, text},
    template::Happening,
};

/// What may have started a run whose outcome deploys, where the source does not say: what only those can do who may
/// write to the repository. Anybody may comment, open an issue, or set off a run by that of another.
pub(super) const USUAL_EVENTS: &[&str] =
    &["push", "create", "release", "schedule", "workflow_dispatch", "repository_dispatch"];

/// A release that one of these `actions` tells of.
pub(super) fn release(body: &Value, rules: &Rules, actions: &[&str]) -> Result<Happening, String> {
    let action = text(body, "action").unwrap_or_default();
    if !actions.contains(&action) {
        return Err(format!("the release was `{action:.100}`, only a published one deploys"));
    }
    let release = body.get("release").unwrap_or(&Value::Null);
    if flag(release, "draft") {
        return Err("the release is a draft".to_owned());
    }
    if flag(release, "prerelease") && !rules.prereleases {
        return Err(
            "the release is a pre-release, which the source takes with `prereleases: true` only".to_owned()
        );
    }
    let tag = text(release, "tag_name").ok_or("the release has no tag")?;
    Ok(Happening { what: "the release".to_owned(), tag: Some(tag.to_owned()), ..Happening::default() })
}

pub(super) fn created(body: &Value) -> Result<Happening, String> {
    let kind = text(body, "ref_type").unwrap_or_default();
    if kind != "tag" {
        return Err(format!("a `{kind:.100}` was created, only a tag deploys"));
    }
    let name = text(body, "ref").ok_or("the event names no tag")?;
    let tag = name.strip_prefix("refs/tags/").unwrap_or(name).to_owned();
    let sha = text(body, "sha").map(str::to_owned);
    Ok(Happening { what: "the new tag".to_owned(), tag: Some(tag), sha, ..Happening::default() })
}

pub(super) fn pushed(body: &Value) -> Result<Happening, String> {
    let reference = text(body, "ref").unwrap_or_default();
    if flag(body, "deleted") || is_nothing(text(body, "after")) {
        return Err(format!("`{reference:.100}` was deleted"));
    }
    if !reference.starts_with("refs/tags/") {
        return Err(format!("`{reference:.100}` was pushed, only a tag deploys"));
    }
    let sha = at(body, "/head_commit/id").or(text(body, "after")).map(str::to_owned);
    Ok(Happening { what: "the pushed tag".to_owned(), sha, ..Happening::default() }.at_ref(reference))
}

/// Whether the `run` of a workflow, told of in `body`, has come to a good end, and not for a pull request, which anybody
/// may open.
pub(super) fn run_succeeded(body: &Value, run: &Value) -> Result<(), String> {
    let action = text(body, "action").unwrap_or_default();
    if action != "completed" {
        return Err(format!("the workflow run is `{action:.100}`, only a completed one deploys"));
    }
    let conclusion = text(run, "conclusion").unwrap_or_default();
    if conclusion != "success" {
        return Err(format!("the workflow run ended with `{conclusion:.100}`"));
    }
    let trigger = text(run, "event").unwrap_or_default();
    if trigger.starts_with("pull_request") {
        return Err(format!("the workflow ran for a `{trigger:.100}`"));
    }
    Ok(())
}

/// Whether a commit is the one of zeros that stands for none.
pub(super) fn is_nothing(commit: Option<&str>) -> bool {
    commit.is_some_and(|commit| commit.bytes().all(|b| b == b'0'))
}
