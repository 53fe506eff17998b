//! `longshore targets`: what can be deployed to.

use std::time::Duration;

use config::Span;
use proto::{
    FaultKind,
    api::{StackList, Target, TargetFault, TargetList},
};

use crate::{
    arguments::Targets,
    exit::Exit,
    failure::Failure,
    output::{Output, table},
};

pub(crate) async fn run(asked: Targets, output: Output) -> Result<Exit, Failure> {
    let client = super::client(&asked.reach)?;
    if asked.stacks {
        let stacks = client.stacks().await?;
        output.document(&stacks, || told_stacks(&stacks));
        // A list that lacks some looks like one of all that there are.
        let is_whole = stacks.missing.is_empty();
        return Ok(if is_whole { Exit::Succeeded } else { Exit::Failed });
    }
    let targets = client.targets().await?;
    output.document(&targets, || told(&targets));
    Ok(Exit::Succeeded)
}

fn told_stacks(list: &StackList) -> String {
    let rows = list.stacks.iter().map(|stack| {
        let number = format!("{}/{}", stack.number.environment, stack.number.stack);
        let target = stack.target.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let at = format!("{} ({})", stack.system, stack.environment_name);
        [
            stack.name.clone(),
            at,
            number,
            stack.kind.clone(),
            stack.state.clone(),
            target,
            stack.images.join(", "),
        ]
    });
    let mut text = match list.stacks.is_empty() {
        true => "no stacks\n".to_owned(),
        false => table(["STACK", "AT", "NUMBER", "KIND", "STATE", "TARGET", "IMAGES"], rows),
    };
    for missing in &list.missing {
        text.push_str(&format!("\nnot listed: {missing}\n"));
    }
    text
}

fn told(list: &TargetList) -> String {
    let has_gates = list.targets.iter().any(|target| !gates(target).is_empty());
    let rows = list.targets.iter().map(|target| {
        let follows = target.follows.iter().map(ToString::to_string).collect::<Vec<_>>();
        let system =
            if target.discovered { format!("{} (label)", target.system) } else { target.system.clone() };
        [target.target.to_string(), system, follows.join(", "), gates(target).join(", ")]
    });
    let mut text = match list.targets.is_empty() {
        true => "no targets\n".to_owned(),
        false => table(["TARGET", "AT", "FOLLOWS", if has_gates { "WAITS FOR" } else { "" }], rows),
    };
    for fault in &list.faults {
        text.push_str(&format!("\n{}\n  hint: {}\n", about(fault), fault.hint));
    }
    text
}

/// What is wrong, and with what.
pub(crate) fn about(fault: &TargetFault) -> String {
    let TargetFault { pool, system, thing, text, kind, targets, .. } = fault;
    match kind {
        FaultKind::NoTarget => format!("no target: {thing} on {pool}/{system}: {text}"),
        FaultKind::System => format!("system {pool}/{system}: {thing}: {text}"),
        FaultKind::Look => {
            let followers: Vec<String> = targets.iter().map(ToString::to_string).collect();
            format!("not looked after: {thing} for {}: {text}", followers.join(", "))
        }
    }
}

/// What a deploy to a target waits for.
pub(crate) fn gates(target: &Target) -> Vec<String> {
    let gates = &target.gates;
    let approval = gates.approve.then(|| "an approval".to_owned());
    let window = gates.window.as_ref().map(|window| format!("window {window}"));
    let age = gates.min_age_s.map(|seconds| format!("image age {}", Span(Duration::from_secs(seconds))));
    approval.into_iter().chain(window).chain(age).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_targets_and_mistakes_are_told() {
        let list = serde_json::json!({
            "targets": [{"target": "default/web", "system": "swarm", "follows": ["acme/web:*"], "deadline": "1h", "discovered": true}],
            "faults": [
                {"pool": "default", "system": "swarm", "thing": "asking it", "text": "no socket", "hint": "x", "kind": "system"},
                {"pool": "default", "system": "p", "thing": "image `a:1`", "text": "gone", "hint": "x", "kind": "look",
                 "targets": ["default/web", "default/api"]},
                {"pool": "default", "system": "swarm", "thing": "service `api`", "text": "wrong", "hint": "mend it"},
            ],
        });
        let text = told(&serde_json::from_value(list).unwrap());
        assert!(text.starts_with("TARGET       AT             FOLLOWS\n"), "{text}");
        assert!(text.contains("default/web  swarm (label)  acme/web:*\n"), "{text}");
        assert!(text.contains("\nsystem default/swarm: asking it: no socket\n"), "{text}");
        let look = "\nnot looked after: image `a:1` for default/web, default/api: gone\n";
        assert!(text.contains(look), "{text}");
        assert!(
            text.ends_with("\nno target: service `api` on default/swarm: wrong\n  hint: mend it\n"),
            "{text}"
        );
    }

    #[test]
    fn what_a_target_waits_for_is_told() {
        let gates = serde_json::json!({"approve": true, "window": "nights", "min_age_s": 7200});
        let web = serde_json::json!({"target": "default/web", "system": "s", "follows": ["web:*"], "deadline": "1h", "gates": gates});
        let text = told(&serde_json::from_value(serde_json::json!({"targets": [web]})).unwrap());
        assert!(text.contains("FOLLOWS  WAITS FOR\n"), "{text}");
        assert!(text.contains("web:*    an approval, window nights, image age 2h"), "{text}");
    }
}
