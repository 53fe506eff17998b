//! What an operation would change on a service, field by field.

use proto::{
    ImageRef, Operation,
    ask::{Change, Plan},
};
use serde_json::Value;

use super::{
    SwarmService,
    apply::FoundService,
    effect, hold,
    lifecycle::{Concern, attempted, edit_for},
    service::{Edit, Service},
};
use crate::{
    put_on_hold::WOULD_WAIT,
    target::{Found, Target, TargetError, difference::differences},
};

/// What stands below this in the labels is Longshore's own note.
const OWN_LABELS: &str = "longshore.";

impl SwarmService {
    /// The difference between the service as it stands and as the operation would write it.
    pub(super) async fn planned(&self, service: Service, operation: &Operation) -> Result<Plan, TargetError> {
        self.accepts(operation).map_err(|why| self.refused(attempted(operation), why))?;
        let concern = Concern::of(operation);
        let before = Box::pin(self.before_for(operation, &service)).await?;
        let found = FoundService { target: self.clone(), service, concern, before, known_bad: Vec::new() };
        if hold::is_hold(operation) {
            return Ok(Plan { changes: Vec::new(), notes: vec![effect::NONE.to_owned()] });
        }
        if concern == Concern::Nothing {
            let note = "what would be removed is known only once it is";
            return Ok(Plan { changes: Vec::new(), notes: vec![note.to_owned()] });
        }
        found.refuse_what_cannot_be_done(operation)?;
        let named = match operation.image() {
            Some(image) => Some(image.clone()),
            None => found.image_meant(operation)?,
        };
        let image = match &named {
            // As it would be written: some registries have another address for engines.
            Some(image) => Some(self.resolve(&self.pulled_as(image)).await?),
            None => None,
        };
        let mut edit = found.planned_edit(operation, image.as_ref())?;
        if let Some(image) = edit.image {
            edit.platforms = Box::pin(self.platforms_for(&found.service, image)).await;
        }
        let (before, after) = (found.service.spec(), found.service.edited(&edit));
        let mut changes = Vec::new();
        differences(before, &after, &mut Vec::new(), &mut |path, from, to| {
            if !is_own(path) {
                changes.push(change(&self.name, path, from, to));
            }
        });
        let mut notes = notes(&found.service, &changes);
        notes.extend(image.as_ref().and_then(|image| found.passes_over(image)));
        notes.extend(on_hold(&found, (operation, image.as_ref())));
        if found.on_hold().is_some() && image.is_some() && !matches!(operation, Operation::Rollback { .. }) {
            notes.push(WOULD_WAIT.to_owned());
        }
        Ok(Plan { changes, notes })
    }
}

impl FoundService {
    fn planned_edit<'a>(
        &self,
        operation: &Operation,
        image: Option<&'a ImageRef>,
    ) -> Result<Edit<'a>, TargetError> {
        let stands = image.is_some_and(|image| self.service.runs(image));
        // What stands there already is not written again, but for a rollout of it that was given up half-way.
        let force = image.is_some_and(|image| self.rolls_anew(image));
        let image = image.filter(|_| !stands);
        let edit = edit_for(&self.service, operation, image)
            .map_err(|why| self.target.refused(attempted(operation), why))?;
        Ok(Edit { force: edit.force || force, ..edit })
    }
}

/// A note where the image would wait instead of being deployed.
fn on_hold(found: &FoundService, (operation, image): (&Operation, Option<&ImageRef>)) -> Option<String> {
    // Who rolls back to an image by name has seen what became of it.
    let image =
        image.filter(|image| found.is_bad(image) && !matches!(operation, Operation::Rollback { .. }))?;
    Some(format!(
        "{} was rolled back here before: the job would be held until somebody releases it",
        image.familiar()
    ))
}

fn change(service: &str, path: &[String], from: Option<&Value>, to: Option<&Value>) -> Change {
    Change { of: format!("service {service}"), field: path.join("."), from: from.cloned(), to: to.cloned() }
}

fn is_own(path: &[String]) -> bool {
    matches!(path, [labels, label] if labels == "Labels" && label.starts_with(OWN_LABELS))
}

fn notes(service: &Service, changes: &[Change]) -> Vec<String> {
    match changes.is_empty() {
        true => vec!["everything is as wished already".to_owned()],
        false => vec![effect::on_tasks(service, changes.iter())],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_that_differs_is_told_once() {
        let before = json!({
            "Labels": {"team": "a"}, "Mode": {"Replicated": {"Replicas": 2}},
            "TaskTemplate": {"ContainerSpec": {"Image": "a:1", "Args": ["x"]}}
        });
        let after = json!({
            "Labels": {"longshore.job": "1"}, "Mode": {"Replicated": {"Replicas": 0}},
            "TaskTemplate": {"ContainerSpec": {"Image": "a:2", "Args": ["x"]}, "ForceUpdate": 1}
        });
        let mut told = Vec::new();
        differences(&before, &after, &mut Vec::new(), &mut |path, from, to| {
            if !is_own(path) {
                told.push((path.join("."), from.cloned(), to.cloned()));
            }
        });
        assert_eq!(
            told,
            [
                ("Labels.team".to_owned(), Some(json!("a")), None),
                ("Mode.Replicated.Replicas".to_owned(), Some(json!(2)), Some(json!(0))),
                ("TaskTemplate.ContainerSpec.Image".to_owned(), Some(json!("a:1")), Some(json!("a:2"))),
                ("TaskTemplate.ForceUpdate".to_owned(), None, Some(json!(1))),
            ]
        );
    }
}
