//! Restarting what runs of a stack: each service or container once, whatever becomes of the answers.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    PortainerStack,
    answer::Call,
    container::Container,
    live::Live,
    objects::Stack,
    patience::{BLIND_FOR, LOOK_EVERY, passes},
};
use crate::target::{CALL_TIMEOUT, TargetError, swarm::SeenService};

/// What helps where nothing is there to be restarted, or what is there is not what the file says.
pub(super) const REDEPLOY: &str = "`longshore stack redeploy` brings up what the stack's file says";
/// How much longer than it may a container takes to end.
const ENDS_LATE: Duration = Duration::from_secs(10);

impl PortainerStack {
    /// Replaces every task or container by one of the same.
    pub(super) async fn restart(&self, stack: &Stack) -> Result<(), TargetError> {
        let live = self.live(stack).await?;
        if live.is_empty() {
            let why = format!("nothing of the stack `{}` runs; {REDEPLOY}", self.name);
            return Err(self.portainer.refused("restart the stack", why));
        }
        match live {
            Live::Swarm(services) => {
                for service in services.into_iter().filter(|service| !service.is_job()) {
                    self.restart_service(stack, service).await?;
                }
            }
            Live::Compose(containers) => {
                for container in &containers {
                    self.restart_container(stack, container).await?;
                }
            }
        }
        Ok(())
    }

    async fn restart_service(&self, stack: &Stack, mut service: SeenService) -> Result<(), TargetError> {
        let (begun, times) = (Instant::now(), forced_times(&service.forced()));
        loop {
            let call = Call::write("restart a service", service.name());
            let path = format!("services/{}/update", service.id());
            let query = [("version", service.version().to_string()), ("registryAuthFrom", "spec".to_owned())];
            let forced = service.forced();
            let asked = self.portainer.client.have_docker(stack.environment, (&path, &query, &forced), call);
            let Err(error) = asked.await else { return Ok(()) };
            if !may_have_been_done(&error) || begun.elapsed() >= BLIND_FOR {
                return Err(error);
            }
            sleep(LOOK_EVERY).await;
            match self.docker(stack, (&format!("services/{}", service.id()), None)).await {
                Ok(raw) => service = SeenService::from_raw(raw).unwrap_or(service),
                // Nobody knows yet, and a write on the condition of the version that was read is taken once at most.
                Err(error) if passes(&error) => {}
                Err(error) => return Err(error),
            }
            if forced_times(&service.forced()) > times {
                return Ok(());
            }
        }
    }

    async fn restart_container(&self, stack: &Stack, container: &Container) -> Result<(), TargetError> {
        let begun = Instant::now();
        loop {
            let asked_at = Instant::now();
            let call = Call::write("restart a container", &container.service);
            // The engine answers once it has ended and runs again.
            let within = container.ends_within + CALL_TIMEOUT;
            let path = format!("containers/{}/restart", container.id);
            let asked = self.portainer.client.have_docker_within(
                within,
                stack.environment,
                (&path, &[], &Value::Null),
                call,
            );
            let Err(error) = asked.await else { return Ok(()) };
            if !may_have_been_done(&error) {
                return Err(error);
            }
            // No condition holds a second one back, so it has to be seen what became of the first.
            match self.is_restarted(stack, container, asked_at).await {
                Ok(true) => return Ok(()),
                Ok(false) if begun.elapsed() < container.ends_within + BLIND_FOR => {}
                Ok(false) => return Err(error),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a restart that nobody answered came about. While a container is told to end it runs as before, for as
    /// long as it may take to end.
    async fn is_restarted(
        &self,
        stack: &Stack,
        container: &Container,
        asked_at: Instant,
    ) -> Result<bool, TargetError> {
        let may_end_until = asked_at + container.ends_within + ENDS_LATE;
        let longest = self.portainer.client.longest_deploy();
        loop {
            sleep(LOOK_EVERY).await;
            match self.docker(stack, (&format!("containers/{}/json", container.id), None)).await {
                Ok(raw) => match Container::of(&raw) {
                    Some(now) if now.started_at != container.started_at => return Ok(true),
                    Some(now) if now.is_running() && Instant::now() >= may_end_until => return Ok(false),
                    // It ended, and is not up again yet.
                    Some(_) | None if asked_at.elapsed() >= longest => return Ok(false),
                    Some(_) | None => {}
                },
                Err(error) if passes(&error) && asked_at.elapsed() < longest => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// How often a service is forced by this spec.
fn forced_times(spec: &Value) -> u64 {
    spec.pointer("/TaskTemplate/ForceUpdate").and_then(Value::as_u64).unwrap_or_default()
}

/// Whether the engine may have taken a call that brought this. A conflict is one where our own first call was taken.
fn may_have_been_done(error: &TargetError) -> bool {
    passes(error) || matches!(error, TargetError::Conflict)
}
