//! `longshore targets`: what can be deployed to.

use proto::api::{TargetFault, TargetList};

use crate::{
    arguments::Reach,
    exit::Exit,
    failure::Failure,
    output::{Output, table},
};

pub(crate) async fn run(reach: Reach, output: Output) -> Result<Exit, Failure> {
    let targets = super::client(&reach)?.targets().await?;
    output.document(&targets, || told(&targets));
    Ok(Exit::Succeeded)
}

fn told(list: &TargetList) -> String {
    let rows = list.targets.iter().map(|target| {
        let follows = target.follows.iter().map(ToString::to_string).collect::<Vec<_>>();
        let system =
            if target.discovered { format!("{} (label)", target.system) } else { target.system.clone() };
        [target.target.to_string(), system, follows.join(", ")]
    });
    let mut text = match list.targets.is_empty() {
        true => "no targets\n".to_owned(),
        false => table(["TARGET", "AT", "FOLLOWS"], rows),
    };
    for fault in &list.faults {
        let TargetFault { pool, system, thing, text: why, hint } = fault;
        text.push_str(&format!("\nno target: {thing} on {pool}/{system}: {why}\n  hint: {hint}\n"));
    }
    text
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
        assert!(text.contains("default/web  swarm (label)  acme/web:*"), "{text}");
        assert!(
            text.ends_with("\nno target: service `api` on default/swarm: wrong\n  hint: mend it\n"),
            "{text}"
        );
    }
}
