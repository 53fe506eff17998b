//! The services of a swarm that are targets by their labels.

use futures::{StreamExt, stream::BoxStream};
use proto::Timestamp;

use super::{
    Swarm,
    labels::{self, FOLLOW},
    service::Service,
};
use crate::target::TargetError;

pub(crate) use labels::{Described, Mistake};

/// The label with which the docker CLI marks the services of a stack.
const STACK: &str = "com.docker.stack.namespace";

/// A service with the label that makes it a target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Labelled {
    /// The service's name.
    pub(crate) service: String,
    /// Its id.
    pub(crate) id: String,
    /// When it was made, on the engine's clock, as it writes it: such texts sort by time.
    pub(crate) created_at: String,
    /// The stack that it belongs to.
    pub(crate) stack: Option<String>,
    /// What its labels say.
    pub(crate) described: Result<Described, Mistake>,
}

/// What a service's labels say; none where nobody meant it to be a target.
fn described(service: &Service) -> Option<Result<Described, Mistake>> {
    let spelled = labels::spelled_right(service.label_names())
        .and_then(|()| labels::on_the_service(service.container_label_names()));
    match (spelled, service.label(FOLLOW)) {
        (Ok(()), None) => None,
        (Ok(()), Some(_)) => Some(labels::read(|label| service.label(label))),
        (Err(mistake), _) => Some(Err(mistake)),
    }
}

impl Swarm {
    /// Every service that is meant to be a target, whether its labels say it well or not.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub(crate) async fn labelled(&self) -> Result<Vec<Labelled>, TargetError> {
        let services = self.client.services().await?;
        let labelled = services.iter().filter_map(|service| {
            Some(Labelled {
                service: service.name().to_owned(),
                id: service.id.clone(),
                created_at: service.created_at().to_owned(),
                stack: service.label(STACK).map(str::to_owned),
                described: described(service)?,
            })
        });
        Ok(labelled.collect())
    }

    /// Tells whenever a service is made, changed or removed from `since` on, by the engine's clock; ends when the
    /// engine is lost.
    ///
    /// # Errors
    /// When the engine cannot be reached.
    pub(crate) async fn changes(&self, since: Timestamp) -> Result<BoxStream<'static, ()>, TargetError> {
        let events = self.client.service_events(Some(since)).await?;
        Ok(events.take_while(|event| std::future::ready(event.is_ok())).map(drop).boxed())
    }
}
