//! `longshore targets`: what can be deployed to.

use std::time::Duration;

use config::Span;
use proto::api::{StackList, Target, TargetFault, TargetList};

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
        let TargetFault { pool, system, thing, text: why, hint } = fault;
        text.push_str(&format!("\nno target: {thing} on {pool}/{system}: {why}\n  hint: {hint}\n"));
    }
    text
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
            "faults": [{"pool": "default", "system": "swarm", "thing": "service `api`", "text": "wrong", "hint": "mend it"}],
        });
        let text = told(&serde_json::from_value(list).unwrap());
        assert!(text.starts_with("TARGET       AT             FOLLOWS\n"), "{text}");
        assert!(text.contains("default/web  swarm (label)  acme/web:*\n"), "{text}");
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
