//! What an image's tag points to, asked of its registry: an API server tells nothing of registries.

use std::collections::BTreeMap;

use proto::{ImageRef, Repository};

use crate::{
    poll::registry::RegistryClient,
    settings::Registry,
    target::{TargetError, swarm::Registries},
    verdict::chain,
};

/// Where digests are looked up, with the keys of the configuration.
pub(super) struct Digests {
    client: RegistryClient,
    registries: BTreeMap<String, Registry>,
    keys: Registries,
}

impl Digests {
    pub(super) fn new(registries: BTreeMap<String, Registry>, keys: Registries) -> Digests {
        Digests { client: RegistryClient::new(registries.clone()), registries, keys }
    }

    pub(super) fn pulled_as(&self, image: &ImageRef) -> ImageRef {
        self.keys.pulled_as(image)
    }

    /// The image pinned to what its tag points to now. The cluster may have keys to registries that we have not: where
    /// ours does not tell, the tag stays as it is, and a note says so.
    pub(super) async fn look_up(&self, image: &ImageRef) -> Result<ImageRef, TargetError> {
        if image.digest().is_some() {
            return Ok(image.clone());
        }
        let asked = self.named_by_us(image);
        match self.client.digest(&asked).await {
            Ok(Some(digest)) => Ok(image.with_digest(digest)),
            // Without a login, a registry hides what it does not show to everybody.
            Ok(None) if self.has_login(asked.repository()) => Err(TargetError::ImageNotFound {
                image: image.clone(),
                answer: "there is no such tag".to_owned(),
            }),
            Ok(None) => Ok(image.clone()),
            Err(error) => {
                tracing::debug!(%image, error = chain(&error), "the registry does not tell what the tag points to");
                Ok(image.clone())
            }
        }
    }

    fn has_login(&self, repository: &Repository) -> bool {
        self.registries.get(repository.host()).is_some_and(|registry| registry.login().is_some())
    }

    /// The image under the name by which the configuration knows its registry.
    fn named_by_us(&self, image: &ImageRef) -> ImageRef {
        let repository = image.repository();
        let is_it = |registry: &Registry| registry.pull_from.as_deref() == Some(repository.host());
        let host = self.registries.iter().find(|(_, registry)| is_it(registry)).map(|(host, _)| host);
        let named = host.and_then(|host| format!("{host}/{}", repository.path()).parse::<Repository>().ok());
        let named = named.and_then(|named| ImageRef::new(named, image.tag(), None).ok());
        named.unwrap_or_else(|| image.clone())
    }
}
