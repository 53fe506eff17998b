//! A Docker engine on which Compose runs stacks, as it is seen through Portainer.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::file::FileService;
use super::{BAD, CRASHING, MISSING};

const CANNOT_START: &str = "cannot start";

#[derive(Default)]
pub(super) struct ComposeEngine {
    containers: BTreeMap<(String, String), Container>,
    made: u64,
}

struct Container {
    id: String,
    image: String,
    restarts: u64,
}

impl ComposeEngine {
    /// `docker-compose up -d`. What has to be pulled is pulled before anything is touched.
    pub(super) fn deploy(&mut self, stack: &str, services: &[FileService], pull: bool) -> Result<(), String> {
        let name = |image: &str| image.split('@').next().unwrap_or_default().to_owned();
        let is_missing = |service: &&FileService| name(&service.image).ends_with(MISSING);
        if services.iter().any(|service| is_missing(&service)) {
            return Err(unpulled(services, is_missing, pull));
        }
        for service in services {
            self.run(stack, &service.name, &service.image);
            // It is made in the place of the former one before anybody sees that it does not start.
            if name(&service.image).ends_with(BAD) {
                let name = &service.name;
                return Err(format!(
                    "failed to deploy a stack: Container {stack}-{name}-1  Error: {CANNOT_START}"
                ));
            }
        }
        Ok(())
    }

    /// A container of a service, where there is none of that image.
    pub(super) fn run(&mut self, stack: &str, service: &str, image: &str) {
        let key = (stack.to_owned(), service.to_owned());
        if self.containers.get(&key).is_some_and(|container| container.image == image) {
            return;
        }
        self.made += 1;
        let id = format!("c{}", self.made);
        self.containers.insert(key, Container { id, image: image.to_owned(), restarts: 0 });
    }

    pub(super) fn remove(&mut self, stack: &str) {
        self.containers.retain(|(known, _), _| known != stack);
    }

    pub(super) fn has(&self, stack: &str) -> bool {
        self.containers.keys().any(|(known, _)| known == stack)
    }

    pub(super) fn image(&self, stack: &str, service: &str) -> String {
        let key = (stack.to_owned(), service.to_owned());
        self.containers.get(&key).map(|container| container.image.clone()).unwrap_or_default()
    }

    pub(super) fn list(&self, labels: &[String]) -> Value {
        let stack = labels.iter().find_map(|label| label.strip_prefix("com.docker.compose.project="));
        let of_it = self.containers.iter().filter(|((known, _), _)| stack.is_none_or(|stack| stack == known));
        of_it
            .map(|((stack, service), container)| {
                json!({
                    "Id": container.id, "Image": container.image, "Names": [format!("/{stack}-{service}-1")],
                    "Labels": {"com.docker.compose.project": stack, "com.docker.compose.service": service},
                })
            })
            .collect()
    }

    pub(super) fn show(&mut self, id: &str) -> Option<Value> {
        let ((stack, service), container) = self.containers.iter_mut().find(|(_, one)| one.id == id)?;
        let crashes = container.image.split('@').next().unwrap_or_default().ends_with(CRASHING);
        if crashes {
            container.restarts += 1;
        }
        let is_bad = container.image.split('@').next().unwrap_or_default().ends_with(BAD);
        let (state, exit_code, error) = match (crashes, is_bad) {
            (true, _) => ("restarting", 1, ""),
            (false, true) => ("created", 128, CANNOT_START),
            (false, false) => ("running", 0, ""),
        };
        Some(json!({
            "Id": container.id,
            "Image": format!("sha256:{}", container.id),
            "RestartCount": container.restarts,
            "State": {
                "Status": state, "ExitCode": exit_code, "Error": error,
                "StartedAt": format!("2026-11-22T12:00:00.{:09}Z", container.restarts),
            },
            "Config": {
                "Image": container.image,
                "Env": [format!("PORT={service}"), "POWER_PASSWORD=of the container"],
                "Labels": {"com.docker.compose.project": stack, "com.docker.compose.service": service},
            },
            "HostConfig": {"RestartPolicy": {"Name": "always"}},
        }))
    }

    pub(super) fn restart(&mut self, id: &str) -> bool {
        let found = self.containers.values_mut().find(|container| container.id == id);
        found.map(|container| container.restarts += 1).is_some()
    }
}

/// Its words for each service, as they come to its standard error (recorded: "compose put missing image" and others).
/// Without `pull` it pulls only what the machine does not have.
fn unpulled(services: &[FileService], is_missing: impl Fn(&&FileService) -> bool, pull: bool) -> String {
    let missing = services.iter().find(&is_missing).map(|service| service.image.as_str()).unwrap_or_default();
    let why = format!("manifest for {missing} not found: manifest unknown: manifest unknown");
    let pulled: Vec<&FileService> = services.iter().filter(|service| pull || is_missing(service)).collect();
    let pulling: String = pulled.iter().map(|service| format!(" {} Pulling \n", service.name)).collect();
    // The first one that fails breaks the others off, in its own words.
    let errors: String = pulled.iter().map(|service| format!(" {} Error {why}\n", service.name)).collect();
    let attempted = if pull { "failed to pull images of the stack" } else { "failed to deploy a stack" };
    format!("{attempted}: {pulling}{errors}Error response from daemon: {why}")
}
