//! What a text, or the removal of a stack, would change: which services come, go, and get another image.

use proto::{
    JobId, StackText, Timestamp,
    ask::{Change, Plan},
};
use serde_json::{Value, json};

use super::{
    super::{SwarmStack, service::Service},
    compose::Compose,
    watch::kept_of_newer,
    words,
};
use crate::target::TargetError;

/// What a plan cannot tell: options that somebody changed by other means.
const COMPARED: &str = "images are compared with those of the services now; all else, with the compose file that was deployed \
                        last: what was changed by other means since is not seen";
const IMAGE: &str = "TaskTemplate.ContainerSpec.Image";

impl SwarmStack {
    pub(in crate::target::swarm) async fn planned_text(&self, text: &StackText) -> Result<Plan, TargetError> {
        self.accepts_text(text).map_err(|why| self.declined(why))?;
        let compose = Compose::read(text).map_err(|why| self.declined(why))?;
        let services = self.services().await?;
        if !text.adopt && !self.is_ours(&services.iter().collect::<Vec<_>>()).await? {
            return Err(self.is_anothers());
        }
        let mut plan = Plan::default();
        // As a job would have it that is made now; another's id may be ahead of this clock.
        let id = JobId::mint(Timestamp::now(), None);
        let named = compose.services().map_err(|why| self.declined(why))?;
        for name in &named {
            let full = self.scoped(name);
            let image = compose.image(name, text).map_err(|why| self.declined(why))?;
            let found = services.iter().find(|service| service.name() == full);
            let image = self.image_for(&image, (name, found), id).await?;
            let kept = found.map(|service| kept_of_newer(service, id)).unwrap_or_default();
            plan.notes.extend(kept.iter().map(|what| format!("{full}: {what}")));
            if found.is_some_and(|service| service.fence.is_bad(&image) && !service.runs(&image)) {
                plan.notes.push(format!(
                    "{full}: {} is on hold here: the job would wait until it is released, or another image is deployed",
                    image.familiar()
                ));
            }
            match found {
                Some(service) if service.runs(&image) => {}
                Some(service) => {
                    let from = service.image_text().map(|text| json!(text));
                    plan.changes.push(change(&full, from, Some(json!(image.to_string()))));
                }
                None => plan.changes.push(change(&full, None, Some(json!(image.to_string())))),
            }
        }
        let is_other = |service: &&Service| !named.iter().any(|name| self.scoped(name) == service.name());
        for service in services.iter().filter(is_other) {
            match text.prune {
                true => plan.changes.push(gone(service)),
                false => plan.notes.push(format!("{}: not in the text, and left alone", service.name())),
            }
        }
        plan.changes.extend(self.other_words(text, &services).await?);
        if !services.is_empty() {
            plan.notes.push(COMPARED.to_owned());
        }
        Ok(plan)
    }

    /// What the text says otherwise than the one that was deployed last.
    async fn other_words(&self, text: &StackText, services: &[Service]) -> Result<Vec<Change>, TargetError> {
        if services.is_empty() {
            return Ok(Vec::new());
        }
        let deployed = self.deployed(services).await?;
        let of = format!("stack {}", self.name);
        Ok(words::changes(&of, deployed.as_ref().map(|deployed| &deployed.text), text))
    }

    pub(in crate::target::swarm) async fn planned_removal(&self, force: bool) -> Result<Plan, TargetError> {
        let services = self.services().await?;
        self.refuse_to_remove_anothers(&services, force).await?;
        let notes = match services.is_empty() {
            true => {
                vec!["no service of it is there; networks, configs and secrets that are left go".to_owned()]
            }
            false => vec!["its networks, configs and secrets go as well; volumes stay".to_owned()],
        };
        Ok(Plan { changes: services.iter().map(gone).collect(), notes })
    }
}

fn gone(service: &Service) -> Change {
    change(service.name(), service.image_text().map(|text| json!(text)), None)
}

fn change(service: &str, from: Option<Value>, to: Option<Value>) -> Change {
    Change { of: format!("service {service}"), field: IMAGE.to_owned(), from, to }
}
