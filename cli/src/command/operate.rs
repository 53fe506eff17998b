//! `longshore target rollback`, `target hold`, `prune` and `plan`.

use proto::{
    Operation, TargetName,
    api::{TargetPlan, Wish},
    ask::Change,
};
use serde_json::Value;

use crate::{
    arguments::{Hold, OfTarget, Plan, Prune, Reach, Rollback, Waiting},
    command::{
        deploy::{self, Wait},
        stack::text_of,
    },
    exit::Exit,
    failure::Failure,
    output::Output,
    typed,
};

pub(crate) async fn roll_back(rollback: Rollback, output: Output) -> Result<Exit, Failure> {
    let Rollback { name, to, service, following, reach } = rollback;
    let operation = Operation::Rollback { service, job: to, image: None };
    carry_out(Asked { target: name, operation, now: false }, (&following, &reach), output).await
}

/// Starts, stops or restarts a target, be it a stack or not.
pub(crate) async fn run_state(
    (of, operation): (OfTarget, Operation),
    output: Output,
) -> Result<Exit, Failure> {
    let asked = Asked { target: of.target, operation, now: false };
    carry_out(asked, (&of.following, &of.reach), output).await
}

pub(crate) async fn hold(hold: Hold, output: Output) -> Result<Exit, Failure> {
    let Hold { name, image, following, reach } = hold;
    let operation = Operation::Hold { image };
    carry_out(Asked { target: name, operation, now: false }, (&following, &reach), output).await
}

pub(crate) async fn prune(prune: Prune, output: Output) -> Result<Exit, Failure> {
    let Prune { target, older_than, labels, following, reach } = prune;
    let operation = Operation::PruneImages { older_than_s: Some(older_than.0.as_secs()), labels };
    carry_out(Asked { target, operation, now: false }, (&following, &reach), output).await
}

/// What is to be done with a target.
pub(super) struct Asked {
    pub(super) target: TargetName,
    pub(super) operation: Operation,
    /// Whether its window is passed over.
    pub(super) now: bool,
}

pub(super) async fn carry_out(
    asked: Asked,
    (following, reach): (&Waiting, &Reach),
    output: Output,
) -> Result<Exit, Failure> {
    let client = super::client(reach)?;
    let Asked { target, operation, now } = asked;
    let accepted = client
        .deploy(&Wish::Operation { target, operation, not_before: None, deadline: None, version: None, now })
        .await?;
    deploy::outcome(&client, &accepted, Wait::of(following), (output, &typed::reach(reach))).await
}

pub(crate) async fn plan(plan: Plan, output: Output) -> Result<Exit, Failure> {
    let found = super::client(&plan.reach)?.plan(&plan.target, &planned(&plan)?).await?;
    output.document(&found, || told(&found));
    Ok(Exit::Succeeded)
}

/// The operation it asks about; one is required.
fn planned(plan: &Plan) -> Result<Operation, Failure> {
    if let Some(file) = &plan.file {
        return Ok(Operation::DeployStack(text_of(file, &plan.with)?));
    }
    if plan.with.is_typed() {
        let text = "variables and files go with a compose file, and none is named";
        return Err(Failure::setup(text, "add `--file compose.yml`, or leave them out"));
    }
    let service = plan.service.clone();
    Ok(match (&plan.image, plan.start, plan.stop, plan.restart, plan.redeploy) {
        (Some(image), ..) => Operation::SetImage { image: image.clone(), service },
        (None, true, ..) => Operation::Start,
        (None, _, true, ..) => Operation::Stop,
        (None, _, _, true, _) => Operation::Restart,
        (None, _, _, _, true) => Operation::Redeploy,
        (None, false, false, false, false) => Operation::Rollback { service, job: None, image: None },
    })
}

fn told(found: &TargetPlan) -> String {
    let what = found.operation.image().map(proto::ImageRef::familiar).unwrap_or_default();
    let mut text = format!("{} {}  {what}", found.target, found.operation.type_name()).trim_end().to_owned();
    let mut of = None;
    for change in &found.plan.changes {
        if of != Some(&change.of) {
            text.push_str(&format!("\n\n{}", change.of));
            of = Some(&change.of);
        }
        text.push_str(&line(change));
    }
    if !found.plan.notes.is_empty() {
        text.push_str(&format!("\n\n{}", found.plan.notes.join("\n")));
    }
    text
}

fn line(change: &Change) -> String {
    let side = |sign: char, value: &Option<Value>| {
        value.as_ref().map(|value| format!("\n    {sign} {}", shown(value))).unwrap_or_default()
    };
    format!("\n  {}{}{}", change.field, side('-', &change.from), side('+', &change.to))
}

/// A text without its quotes; all else as JSON.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_is_told_field_by_field() {
        let found: TargetPlan = serde_json::from_value(json!({
            "target": "default/web", "operation": {"type": "set-image", "image": "acme/web:2"},
            "changes": [
                {"of": "service a", "field": "Image", "from": "acme/web:1", "to": "acme/web:2"},
                {"of": "service a", "field": "Replicas", "from": 2, "to": 0},
                {"of": "service b", "field": "Labels.x", "to": "y"}
            ],
            "notes": ["replaces all of its 2 tasks"]
        }))
        .unwrap();
        assert_eq!(
            told(&found),
            "default/web set-image  acme/web:2\n\nservice a\n  Image\n    - acme/web:1\n    + acme/web:2\n  Replicas\n    \
             - 2\n    + 0\n\nservice b\n  Labels.x\n    + y\n\nreplaces all of its 2 tasks"
        );
    }
}
