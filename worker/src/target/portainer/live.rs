//! What runs of a stack, as the Docker engine behind Portainer tells it.

use std::{collections::BTreeSet, time::Duration};

use proto::{ImageRef, Tasks, Timestamp};
use serde_json::{Value, json};

use super::{
    PortainerStack,
    answer::Call,
    container::Container,
    lookout::Seat,
    objects::{Stack, StackKind},
};
use crate::target::{
    TargetError,
    swarm::{SeenService, Sight, tasks_to_stop},
};

/// Everything that runs of a stack.
pub(super) enum Live {
    Swarm(Vec<SeenService>),
    Compose(Vec<Container>),
}

/// Whether what runs, `is`, is what was wanted, as far as both say it: where one of them names no digest, the tag
/// decides.
pub(super) fn is_wanted(is: &ImageRef, wanted: &ImageRef) -> bool {
    let same = match (is.digest(), wanted.digest()) {
        (Some(is), Some(wanted)) => is == wanted,
        (None, _) | (_, None) => is.tag() == wanted.tag(),
    };
    same && is.repository() == wanted.repository()
}

impl Live {
    /// Whether nothing runs.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many services or containers there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Live::Swarm(services) => services.len(),
            Live::Compose(containers) => containers.len(),
        }
    }

    /// The services that stay up, with what each is meant to run.
    pub(super) fn images(&self, stack: &Stack) -> Vec<(String, ImageRef)> {
        let prefix = format!("{}_", stack.name);
        let mut images: Vec<(String, ImageRef)> = match self {
            Live::Swarm(services) => {
                let staying = services.iter().filter(|service| !service.is_job());
                let name = |service: &SeenService| service.name().strip_prefix(&prefix).map(str::to_owned);
                staying.filter_map(|service| Some((name(service)?, service.image()?))).collect()
            }
            Live::Compose(containers) => containers
                .iter()
                .filter_map(|one| Some((one.service.clone(), one.image().cloned()?)))
                .collect(),
        };
        images.sort_by(|(a, _), (b, _)| a.cmp(b));
        images.dedup_by(|(a, _), (b, _)| a == b);
        images
    }

    /// Whether a service is there, and by its spec runs what is wanted.
    pub(super) fn runs(&self, stack: &Stack, service: &str, wanted: &ImageRef) -> bool {
        match self {
            Live::Swarm(_) => {
                let image = self.swarm_service(stack, service).and_then(SeenService::image);
                image.is_some_and(|image| is_wanted(&image, wanted))
            }
            Live::Compose(_) => {
                let mut all = self.containers(service).peekable();
                all.peek().is_some() && all.all(|container| container.is_of(wanted))
            }
        }
    }

    /// Whether there is anything of a service, whatever it runs.
    pub(super) fn has_any_of(&self, stack: &Stack, service: &str) -> bool {
        self.swarm_service(stack, service).is_some() || self.containers(service).next().is_some()
    }

    /// The services that stay up, by their names in the file.
    pub(super) fn staying(&self, stack: &Stack) -> BTreeSet<String> {
        let prefix = format!("{}_", stack.name);
        match self {
            Live::Swarm(services) => {
                let staying = services.iter().filter(|service| !service.is_job());
                staying
                    .filter_map(|service| service.name().strip_prefix(&prefix).map(str::to_owned))
                    .collect()
            }
            Live::Compose(containers) => containers.iter().map(|one| one.service.clone()).collect(),
        }
    }

    /// Whether the engine took a service back.
    pub(super) fn went_back(&self, stack: &Stack, service: &str) -> bool {
        self.swarm_service(stack, service).is_some_and(SeenService::went_back)
    }

    /// The services that run, as the file calls them.
    pub(super) fn services(&self, stack: &Stack) -> Vec<String> {
        let prefix = format!("{}_", stack.name);
        let mut names: Vec<String> = match self {
            Live::Swarm(services) => {
                let names = services.iter().map(SeenService::name);
                names.map(|name| name.strip_prefix(&prefix).unwrap_or(name).to_owned()).collect()
            }
            Live::Compose(containers) => containers.iter().map(|one| one.service.clone()).collect(),
        };
        names.sort();
        names.dedup();
        names
    }

    /// Whether no container of a service is down; a swarm sees to that itself.
    pub(super) fn is_running(&self, service: &str) -> bool {
        self.containers(service).all(Container::is_running)
    }

    /// Whether all containers of a service run well, those that were started again for longer than `believed`; of a
    /// swarm, tasks have to be asked for.
    pub(super) fn runs_well(&self, service: &str, believed: Duration) -> bool {
        let (now, mut all) = (Timestamp::now(), self.containers(service).peekable());
        all.peek().is_some() && all.all(|container| container.runs_well(believed, now))
    }

    pub(super) fn swarm_service(&self, stack: &Stack, service: &str) -> Option<&SeenService> {
        match self {
            Live::Swarm(services) => {
                let full = format!("{}_{service}", stack.name);
                services.iter().find(|known| known.name() == full)
            }
            Live::Compose(_) => None,
        }
    }

    pub(super) fn containers<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Container> {
        let all = match self {
            Live::Swarm(_) => &[],
            Live::Compose(containers) => containers.as_slice(),
        };
        all.iter().filter(move |container| container.service == service)
    }
}

impl PortainerStack {
    /// What runs of the stack now.
    pub(super) async fn live(&self, stack: &Stack) -> Result<Live, TargetError> {
        let filters = json!({"label": [format!("{}={}", stack.kind.label(), stack.name)]});
        match stack.kind {
            StackKind::Swarm | StackKind::Kubernetes => {
                let listed = self.docker(stack, ("services", Some(filters))).await?;
                let services = listed.as_array().cloned().unwrap_or_default();
                Ok(Live::Swarm(services.into_iter().filter_map(SeenService::from_raw).collect()))
            }
            StackKind::Compose => {
                let listed = self.docker(stack, ("containers/json", Some(filters))).await?;
                let mut containers = Vec::new();
                for container in listed.as_array().into_iter().flatten() {
                    let Some(id) = container["Id"].as_str() else { continue };
                    // One that is gone meanwhile does not run.
                    match self.docker(stack, (&format!("containers/{id}/json"), None)).await {
                        Ok(shown) => containers.extend(Container::of(&shown)),
                        Err(TargetError::NotFound { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(Live::Compose(containers.into_iter().filter(|container| !container.is_one_off).collect()))
            }
        }
    }

    /// The same for one who watches: of a swarm, one look is for all.
    pub(super) async fn live_watching(&self, stack: &Stack, seat: &Seat) -> Result<Live, TargetError> {
        match stack.kind {
            StackKind::Swarm => {
                let services = seat.services(&self.portainer.client, stack).await?;
                Ok(Live::Swarm(services.into_iter().filter_map(SeenService::from_raw).collect()))
            }
            StackKind::Compose | StackKind::Kubernetes => self.live(stack).await,
        }
    }

    /// The tasks of a service of a swarm.
    pub(super) async fn sight(
        &self,
        stack: &Stack,
        service: &SeenService,
        seat: &Seat,
    ) -> Result<Sight, TargetError> {
        seat.sight(&self.portainer.client, (stack.environment, service.id())).await
    }

    /// How many tasks or containers of a service run, and how many should.
    pub(super) async fn tasks(
        &self,
        stack: &Stack,
        live: &Live,
        service: &str,
    ) -> Result<Option<Tasks>, TargetError> {
        if let Some(seen) = live.swarm_service(stack, service) {
            let seat = self.portainer.client.lookout().seat(stack.environment);
            return Ok(seen.tasks(&self.sight(stack, seen, &seat).await?));
        }
        let all: Vec<_> = live.containers(service).collect();
        let running = all.iter().filter(|container| container.is_up()).count() as u64;
        Ok((!all.is_empty()).then_some(Tasks { running, wanted: all.len() as u64 }))
    }

    /// How much of a stack that is to go is left, and a line on that. Services of a swarm are gone before their tasks
    /// are, and until then the stack cannot be started again.
    pub(super) async fn left(&self, stack: &Stack) -> Result<(u64, String), TargetError> {
        let live = self.live(stack).await?;
        match live {
            Live::Swarm(services) if services.is_empty() => {
                self.tasks_left(stack.environment, &stack.name).await
            }
            Live::Swarm(_) | Live::Compose(_) => {
                let left = live.len() as u64;
                Ok((left, format!("{left} services or containers are left")))
            }
        }
    }

    /// How many tasks still run of services of a stack that are gone, and a line on that.
    pub(super) async fn tasks_left(
        &self,
        environment: u64,
        name: &str,
    ) -> Result<(u64, String), TargetError> {
        let client = &self.portainer.client;
        let filters = json!({"label": [format!("{}={name}", StackKind::Swarm.label())]});
        let call = Call::read("show what runs", "tasks");
        let mut tasks = client.docker(environment, ("tasks", Some(filters)), call).await?;
        // Those of a stack of the same name that Portainer does not know stay.
        if let Some(tasks) = tasks.as_array_mut() {
            tasks.retain(|task| task["DesiredState"] == "remove");
        }
        // Not everybody may see the nodes; without, none counts as down.
        let nodes = client.docker(environment, ("nodes", None), call).await.unwrap_or_default();
        Ok(tasks_to_stop(&tasks, &nodes))
    }

    pub(super) async fn docker(
        &self,
        stack: &Stack,
        (path, filters): (&str, Option<Value>),
    ) -> Result<Value, TargetError> {
        let call = Call::read("show what runs", path);
        self.portainer.client.docker(stack.environment, (path, filters), call).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_compared_as_far_as_both_say_it() {
        let (one, two) = (format!("sha256:{}", "a".repeat(64)), format!("sha256:{}", "b".repeat(64)));
        let image = |text: &str| text.parse::<ImageRef>().unwrap();
        for (is, wanted, same) in [
            ("a/b:1".to_owned(), "a/b:1".to_owned(), true),
            ("a/b:1".to_owned(), "a/b:2".to_owned(), false),
            ("a/b:1".to_owned(), format!("a/b:1@{one}"), true),
            (format!("a/b:1@{one}"), "a/b:1".to_owned(), true),
            (format!("a/b:1@{one}"), format!("a/b:1@{two}"), false),
            (format!("a/b:1@{one}"), format!("a/b:2@{one}"), true),
            (format!("a/b@{one}"), format!("a/b:2@{one}"), true),
            (format!("a/c:1@{one}"), format!("a/b:1@{one}"), false),
        ] {
            assert_eq!(is_wanted(&image(&is), &image(&wanted)), same, "{is} {wanted}");
        }
    }
}
