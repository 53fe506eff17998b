//! How it stands with a stack now, and what an operation would change.

use std::collections::BTreeMap;

use proto::{
    ImageRef, Operation, StackText, Tasks,
    ask::{Change, Deployed, Plan, TargetNow},
};

use super::{
    PortainerStack,
    accept::{accepts, attempted},
    fence::{Marks, without_marks},
    image::Edits,
    objects::{Stack, Status},
};
use crate::target::TargetError;

/// The text that Longshore deployed, as Portainer keeps it now: without what is noted at its head, and with whatever was
/// changed in it since. The values of its variables stay in Portainer.
fn deployed(marks: &Marks, text: &str, stack: &Stack) -> Option<Deployed> {
    let by = marks.stack?;
    let mut notes = Vec::new();
    if marks.back == Some(by) {
        notes.push(format!("the text of {by} did not hold, and was taken back: this is the one before it"));
    }
    let names: Vec<&str> = stack.env.pairs().map(|(name, _)| name).collect();
    if !names.is_empty() {
        notes.push(format!(
            "its variables are kept in Portainer, and their values not told: {}",
            names.join(", ")
        ));
    }
    Some(Deployed { by, text: StackText::of(without_marks(text)), notes, before: None })
}

impl PortainerStack {
    pub(super) async fn now(&self) -> Result<TargetNow, TargetError> {
        let stack = self.found().await?;
        let live = self.live(&stack).await?;
        // Of a stack in git, nothing is noted: its file is others'.
        let text = match stack.git {
            Some(_) => String::new(),
            None => self.portainer.client.file(&stack).await?,
        };
        let marks = Marks::read(&text);
        let mut now = TargetNow {
            kind: "portainer-stack".to_owned(),
            images: Vec::new(),
            parts: BTreeMap::new(),
            running: stack.status != Status::Inactive && !live.is_empty(),
            tasks: None,
            last_job: marks.newest(),
            on_hold: None,
            held_images: Vec::new(),
            trouble: Vec::new(),
            deployed: deployed(&marks, &text, &stack),
        };
        for (service, image) in live.images(&stack) {
            if !now.images.contains(&image) {
                now.images.push(image.clone());
            }
            let tasks = self.tasks(&stack, &live, &service).await?;
            now.parts.insert(service, image);
            now.tasks = match (now.tasks, tasks) {
                (Some(a), Some(b)) => {
                    Some(Tasks { running: a.running + b.running, wanted: a.wanted + b.wanted })
                }
                (a, b) => a.or(b),
            };
        }
        Ok(now)
    }

    pub(super) async fn planned(&self, operation: &Operation) -> Result<Plan, TargetError> {
        let refused = |why: String| self.portainer.refused(attempted(operation), why);
        accepts(operation).map_err(refused)?;
        match operation {
            Operation::SetImage { .. } | Operation::Rollback { .. } => self.planned_image(operation).await,
            Operation::Stop | Operation::Start => {
                let stack = self.found().await?;
                let runs = stack.status != Status::Inactive;
                let wished = matches!(operation, Operation::Start);
                let mut plan = Plan::default();
                if runs != wished {
                    plan.changes.push(self.change("running", runs, wished));
                }
                Ok(plan)
            }
            Operation::DeployStack(text) => self.planned_text(text).await,
            Operation::Restart | Operation::Redeploy | Operation::RemoveStack { .. } => {
                let stack = self.found().await?;
                let live = self.live(&stack).await?;
                let what =
                    if matches!(operation, Operation::RemoveStack { .. }) { "removes" } else { "replaces" };
                let notes = vec![format!("{what} what runs: {} services or containers", live.len())];
                Ok(Plan { changes: Vec::new(), notes })
            }
            Operation::DeployGit(git) => self.planned_git(git).await,
            Operation::Migrate { environment, name } => {
                self.planned_migration((environment, name.as_deref())).await
            }
            Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => Ok(Plan::default()),
        }
    }

    async fn planned_image(&self, operation: &Operation) -> Result<Plan, TargetError> {
        let refused = |why: String| self.portainer.refused(attempted(operation), why);
        let ground = self.ground(operation).await?;
        self.refuse_by_status(&ground.stack, operation)?;
        let services = self.chosen(&ground, operation, None)?;
        let live = self.live(&ground.stack).await?;
        let (services, ran_before) = self.ways_back(&ground, &live, (operation, services)).await?;
        let mut plan = Plan::default();
        for service in &services {
            let before = || ran_before.get(service).map(|before| before.image.clone());
            let good = || before().or(ground.marks.services.get(service)?.good.clone());
            let named: Option<ImageRef> = operation.image().cloned().or_else(good);
            let named = named
                .ok_or_else(|| refused(format!("no image is known that `{service}` ran well before")))?;
            let image = self.look_up(&self.portainer.registries.pulled_as(&named)).await?;
            let one = std::slice::from_ref(service);
            let edits = Edits::to_bring(&image, (one, &services), &ground.file, &ground.stack.env)
                .map_err(refused)?;
            ground.file.with_images(&edits.file).map_err(refused)?;
            for (service, to) in &edits.file {
                let from = ground.file.image(service).unwrap_or_default();
                if from != to {
                    plan.changes.push(self.change(&format!("services.{service}.image"), from, to.as_str()));
                }
            }
            for (name, to) in &edits.env {
                let from = ground.stack.env.get(name);
                if from != Some(to.as_str()) {
                    plan.changes.push(self.change(&format!("variable {name}"), from, to.as_str()));
                }
            }
        }
        if plan.changes.is_empty() {
            plan.notes.push("everything is as wished already".to_owned());
        }
        Ok(plan)
    }

    fn change(
        &self,
        field: &str,
        from: impl Into<serde_json::Value>,
        to: impl Into<serde_json::Value>,
    ) -> Change {
        let of = format!("stack {}", self.name);
        let from = Some(from.into()).filter(|from: &serde_json::Value| !from.is_null());
        Change { of, field: field.to_owned(), from, to: Some(to.into()) }
    }
}
