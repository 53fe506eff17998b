//! What runs on this machine's engine, for people who have no configuration yet. Nothing is changed.

use std::{collections::BTreeSet, error::Error, path::Path, time::Duration};

use bollard::{API_DEFAULT_VERSION, Docker, models::Service};
use proto::ImageRef;
use tokio::time::timeout;

/// How long the engine may take for all of it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// Seconds for one call.
const CALL_SECONDS: u64 = 5;

/// What the images of Portainer's server are called.
const PORTAINER: [&str; 3] = ["portainer/portainer-ce", "portainer/portainer-ee", "portainer/portainer"];

/// The ports of Portainer's server inside its container, with how it speaks there.
const PORTAINER_PORTS: [(u16, &str); 2] = [(9443, "https"), (9000, "http")];

/// What was found on an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// It manages a swarm.
    pub is_manager: bool,
    /// The services of the swarm: name, and image with its tag where it has one.
    pub services: Vec<(String, String)>,
    /// Where Portainers can be reached from this machine.
    pub portainers: BTreeSet<String>,
}

/// Why an engine could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// It cannot be reached, or refuses.
    #[error("cannot ask the engine at {socket}")]
    Engine {
        /// Its socket.
        socket: String,
        /// Why not.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It did not answer in time.
    #[error("the engine at {socket} does not answer")]
    Silent {
        /// Its socket.
        socket: String,
    },
}

/// Looks at the engine behind a socket of this machine.
///
/// # Errors
/// When it does not tell.
pub async fn survey(socket: &Path) -> Result<Survey, SurveyError> {
    let name = || socket.display().to_string();
    match timeout(ANSWERED_WITHIN, look(&name())).await {
        Ok(Ok(survey)) => Ok(survey),
        Ok(Err(error)) => Err(SurveyError::Engine { socket: name(), source: error.into() }),
        Err(_) => Err(SurveyError::Silent { socket: name() }),
    }
}

async fn look(socket: &str) -> Result<Survey, bollard::errors::Error> {
    let docker = Docker::connect_with_unix(socket, CALL_SECONDS, API_DEFAULT_VERSION)?;
    let docker = docker.negotiate_version().await?;
    let swarm = docker.info().await?.swarm.unwrap_or_default();
    let mut survey = Survey { is_manager: swarm.control_available.unwrap_or_default(), ..Survey::default() };
    if survey.is_manager {
        for service in docker.list_services(None).await? {
            survey.add(&service);
        }
        survey.services.sort();
    }
    for container in docker.list_containers(None).await? {
        let ports = container.ports.unwrap_or_default();
        let ports = ports.into_iter().filter_map(|port| Some((port.private_port, port.public_port?)));
        survey.add_portainer(container.image.as_deref().unwrap_or_default(), ports);
    }
    Ok(survey)
}

impl Survey {
    fn add(&mut self, service: &Service) {
        let spec = service.spec.as_ref();
        let name = spec.and_then(|spec| spec.name.clone());
        let container = spec
            .and_then(|spec| spec.task_template.as_ref())
            .and_then(|template| template.container_spec.as_ref());
        let (Some(name), Some(image)) = (name, container.and_then(|container| container.image.as_deref()))
        else {
            return;
        };
        let endpoint = service.endpoint.as_ref().and_then(|endpoint| endpoint.ports.clone());
        let ports = endpoint.unwrap_or_default().into_iter().filter_map(|port| {
            Some((u16::try_from(port.target_port?).ok()?, u16::try_from(port.published_port?).ok()?))
        });
        if self.add_portainer(image, ports) {
            return;
        }
        // Without the digest that the engine adds: what is followed is the tag.
        if let Ok(image) = image.parse::<ImageRef>() {
            self.services.push((name, image.by_tag().familiar()));
        }
    }

    /// Notes a Portainer and where it is published, its encrypted port first; whether it is one.
    fn add_portainer(&mut self, image: &str, ports: impl Iterator<Item = (u16, u16)>) -> bool {
        // A container's image may have neither tag nor digest.
        let name = image.split('@').next().unwrap_or_default().trim_start_matches("docker.io/");
        let slash = name.rfind('/').unwrap_or_default();
        let repository = name[slash..].find(':').map_or(name, |colon| &name[..slash + colon]);
        if !PORTAINER.contains(&repository) {
            return false;
        }
        let ports: Vec<(u16, u16)> = ports.collect();
        let found = PORTAINER_PORTS.iter().find_map(|(inner, scheme)| {
            let (_, outer) = ports.iter().find(|(private, _)| private == inner)?;
            Some(format!("{scheme}://127.0.0.1:{outer}"))
        });
        self.portainers.extend(found);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portainer_is_known_by_its_image_and_its_port() {
        let mut survey = Survey::default();
        assert!(!survey.add_portainer("acme/portainer:1", [(9443, 1)].into_iter()));
        assert!(!survey.add_portainer("portainer/agent:2.19", [(9001, 9001)].into_iter()));
        assert!(survey.add_portainer("portainer/portainer-ce:2.19", [(9000, 80), (9443, 444)].into_iter()));
        assert!(survey.add_portainer(
            "portainer/portainer-ee@sha256:0a493af2551398c22cc36c3aad51bf0dcee8b9b8d78a58a04a521f15a63f6b46",
            [(9000, 81)].into_iter()
        ));
        assert!(survey.add_portainer("portainer/portainer", [].into_iter()));
        let expected = ["http://127.0.0.1:81", "https://127.0.0.1:444"];
        assert_eq!(survey.portainers, expected.map(str::to_owned).into());
    }
}
