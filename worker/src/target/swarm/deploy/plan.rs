//! What a text, or the removal of a stack, would change: which services come, go, get another image, and what else is
//! written.

use std::collections::BTreeSet;

use proto::{
    JobId, StackText, Timestamp,
    ask::{Change, Plan},
};
use serde_json::{Value, json};

use super::{
    super::{SwarmStack, effect, service::Service},
    FoundText, Part,
    compose::{self, Compose},
    marks::running_as_newer,
    otherwise,
    watch::kept_of_newer,
};
use crate::target::TargetError;

const IMAGE: &str = "TaskTemplate.ContainerSpec.Image";

impl SwarmStack {
    pub(in crate::target::swarm) async fn planned_text(&self, text: &StackText) -> Result<Plan, TargetError> {
        self.accepts_text(text).map_err(|why| self.declined(why))?;
        let found = self.found_for(text).await?;
        found.refuse_anothers().await?;
        found.refuse_without_externals().await?;
        let mut plan = Plan::default();
        // As a job would have it that is made now; another's id may be ahead of this clock.
        let id = JobId::mint(Timestamp::now(), None);
        let compose = found.plan_images(id, &mut plan).await?;
        found.plan_those_not_named(&mut plan);
        found.plan_options(&compose, &mut plan).await?;
        let effects = found.effects(&plan);
        plan.notes.extend(effects);
        if plan.changes.is_empty() {
            plan.notes.push("everything is as wished already".to_owned());
        }
        Ok(plan)
    }

    pub(in crate::target::swarm) async fn planned_removal(&self, force: bool) -> Result<Plan, TargetError> {
        let services = self.services().await?;
        self.refuse_to_remove_anothers(&services, force).await?;
        let mut notes: Vec<String> = services.iter().map(removal).collect();
        notes.push(match services.is_empty() {
            true => "no service of it is there; networks, configs and secrets that are left go".to_owned(),
            false => "its networks, configs and secrets go as well; volumes stay".to_owned(),
        });
        Ok(Plan { changes: services.iter().map(gone).collect(), notes })
    }
}

impl FoundText {
    /// Which services come, or get another image than stands; the text with what it would be deployed with.
    async fn plan_images(&self, id: JobId, plan: &mut Plan) -> Result<Compose, TargetError> {
        let mut compose = self.compose.clone();
        let parts: Vec<&Part> = self.parts.iter().collect();
        for (part, image) in parts.iter().zip(self.images((&parts, id)).await?) {
            let (full, found) =
                (self.stack.scoped(&part.name), part.found.as_ref().map(|found| &found.service));
            let kept = found.map(|service| kept_of_newer(service, id)).unwrap_or_default();
            plan.notes.extend(kept.iter().map(|what| format!("{full}: {what}")));
            if found.is_some_and(|service| service.fence.is_bad(&image) && !service.runs(&image)) {
                plan.notes.push(format!(
                    "{full}: {} is on hold here: the job would wait until it is released, or another image is deployed",
                    image.familiar()
                ));
            }
            if !found.is_some_and(|service| service.runs(&image)) {
                let from = found.and_then(Service::image_text).map(|text| json!(text));
                plan.changes.push(change(&full, from, Some(json!(image.to_string()))));
            }
            let replicas = found.and_then(|service| running_as_newer(service, id));
            let edit = compose::Edit { image: image.to_string(), replicas, ..compose::Edit::default() };
            compose.edit(&part.name, &edit).map_err(|why| self.stack.declined(why))?;
        }
        Ok(compose)
    }

    /// What becomes of services that the text does not have.
    fn plan_those_not_named(&self, plan: &mut Plan) {
        for service in &self.others {
            match self.text.prune {
                true => plan.changes.push(gone(service)),
                false => plan.notes.push(format!("{}: not in the text, and left alone", service.name())),
            }
        }
    }

    /// What becomes of the tasks of those that are there. One that nothing is changed of keeps them.
    fn effects(&self, plan: &Plan) -> Vec<String> {
        let mut effects = Vec::new();
        for found in self.parts.iter().filter_map(|part| part.found.as_ref()) {
            let service = &found.service;
            let of = of_service(service.name());
            let mut changes = plan.changes.iter().filter(|change| change.of == of).peekable();
            if changes.peek().is_some() {
                effects.push(format!("{}: {}", service.name(), effect::on_tasks(service, changes)));
            }
        }
        effects.extend(self.others.iter().filter(|_| self.text.prune).map(removal));
        effects
    }

    /// What the networks of the services are called, by their ids.
    async fn networks(&self) -> Result<Vec<(String, String)>, TargetError> {
        let specs =
            self.parts.iter().filter_map(|part| part.found.as_ref()).map(|found| found.service.spec());
        let ids: BTreeSet<&str> = specs.flat_map(otherwise::networks).collect();
        let mut networks = Vec::new();
        for id in ids {
            let name = self.stack.swarm.client.network_name(id).await?;
            networks.extend(name.map(|name| (id.to_owned(), name)));
        }
        Ok(networks)
    }

    /// What else the docker command would write, whoever made what stands there as it is.
    async fn plan_options(&self, compose: &Compose, plan: &mut Plan) -> Result<(), TargetError> {
        let written = self.would_write(compose).await?;
        let swarm = &self.stack.swarm;
        let networks = self.networks().await?;
        let stands = |name: &str| {
            let mut found = self.parts.iter().filter_map(|part| part.found.as_ref());
            found.find(|found| found.service.name() == name)
        };
        for spec in &written.services {
            let Some(name) = spec["Name"].as_str() else { continue };
            // Of one that comes, all is new.
            let Some(found) = stands(name) else { continue };
            plan.changes.extend(otherwise::changes(name, (found.service.spec(), spec), &networks));
        }
        plan.changes.extend(otherwise::made(&written.made));
        for change in &mut plan.changes {
            for value in [&mut change.from, &mut change.to].into_iter().flatten() {
                redact(value, &|text| swarm.command.redacted(text));
            }
        }
        plan.notes.extend(written.secrets.iter().map(|name| {
            format!("secret {name}: nobody can see whether it holds the same; with other content the deploy would be refused")
        }));
        Ok(())
    }
}

fn redact(value: &mut Value, redacted: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = redacted(text),
        Value::Array(all) => all.iter_mut().for_each(|value| redact(value, redacted)),
        Value::Object(fields) => fields.values_mut().for_each(|value| redact(value, redacted)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn gone(service: &Service) -> Change {
    change(service.name(), service.image_text().map(|text| json!(text)), None)
}

fn removal(service: &Service) -> String {
    format!("{}: {}", service.name(), effect::of_removal(service))
}

fn of_service(name: &str) -> String {
    format!("service {name}")
}

fn change(service: &str, from: Option<Value>, to: Option<Value>) -> Change {
    Change { of: of_service(service), field: IMAGE.to_owned(), from, to }
}
