//! What an operation would change on a workload, field by field.

use proto::{
    JobId, Operation, Timestamp,
    ask::{Change, Plan},
};
use serde_json::Value;

use super::{
    KubernetesWorkload,
    apply::FoundWorkload,
    fence::{CHANGE_CAUSE, Concern, OWN},
    lifecycle::{accepts, attempted},
    object::Workload,
};
use crate::target::{Target, TargetError, difference::differences};

impl KubernetesWorkload {
    /// The difference between the workload as it stands and as the operation would write it.
    pub(super) async fn planned(&self, operation: &Operation) -> Result<Plan, TargetError> {
        accepts(self.place.kind, operation).map_err(|why| self.refused(attempted(operation), why))?;
        let Some(concern) = Concern::of(operation) else { return Ok(Plan::default()) };
        let workload = self.workload().await?;
        let container = self.container_for(&workload, operation)?;
        let found = FoundWorkload { target: self.clone(), workload, container, concern, tried: false };
        found.refuse_what_is_scaled_by_others(operation).await?;
        let named = match operation.image() {
            Some(image) => Some(image.clone()),
            None => found.image_meant(operation)?,
        };
        let image = match &named {
            Some(image) => Some(self.resolve(&self.pulled_as(image)).await?),
            None => None,
        };
        // Only the marks name it, and those are left out.
        let nobody = JobId::mint(Timestamp::now(), None);
        let edit = found.edit(operation, nobody, image.as_ref())?;
        let after = edit.applied(&found.workload);
        let mut changes = Vec::new();
        differences(&found.workload.raw, &after, &mut Vec::new(), &mut |path, from, to| {
            if !is_own(path) {
                tell(&mut changes, &self.place.to_string(), (path, from, to));
            }
        });
        let notes = notes(&found.workload, &changes);
        Ok(Plan { changes, notes })
    }
}

/// Of a list of containers, only those that differ are told, by their names.
fn tell(changes: &mut Vec<Change>, of: &str, (path, from, to): (&[String], Option<&Value>, Option<&Value>)) {
    let lists = from.and_then(Value::as_array).zip(to.and_then(Value::as_array));
    let Some((before, after)) = lists else {
        changes.push(Change {
            of: of.to_owned(),
            field: path.join("."),
            from: from.cloned(),
            to: to.cloned(),
        });
        return;
    };
    for (one, other) in before.iter().zip(after) {
        let mut path = path.to_vec();
        path.push(one["name"].as_str().unwrap_or_default().to_owned());
        differences(one, other, &mut path, &mut |path, from, to| {
            let (field, from, to) = (path.join("."), from.cloned(), to.cloned());
            changes.push(Change { of: of.to_owned(), field, from, to });
        });
    }
}

fn is_own(path: &[String]) -> bool {
    matches!(path, [metadata, annotations, name]
        if metadata == "metadata" && annotations == "annotations" && (name.starts_with(OWN) || name == CHANGE_CAUSE))
}

fn notes(workload: &Workload, changes: &[Change]) -> Vec<String> {
    if changes.is_empty() {
        return vec!["everything is as wished already".to_owned()];
    }
    let replaces = changes.iter().any(|change| change.field.starts_with("spec.template."));
    match (replaces, workload.wished()) {
        (_, None) => vec!["nothing starts now: the next run is as written".to_owned()],
        (true, Some(1)) => vec!["replaces its one pod".to_owned()],
        (true, Some(count)) => vec![format!("replaces all of its {count} pods")],
        (false, Some(_)) => vec!["replaces no pod".to_owned()],
    }
}
