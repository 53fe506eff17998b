//! What an image's tag points to, asked of the registry through the engine behind Portainer.

use proto::ImageRef;

use super::{
    PortainerStack,
    answer::{Call, Failure},
};
use crate::target::{TargetError, wire::is_html};

impl PortainerStack {
    /// The image pinned to what its tag points to now. Portainer may have keys to registries that we have not: where
    /// the engine is not let in, the tag stays as it is, and the engine's own look-up decides.
    pub(super) async fn look_up(&self, image: &ImageRef) -> Result<ImageRef, TargetError> {
        let environment = self.portainer.environment().await?;
        let repository = image.repository();
        let reference = match (image.digest(), image.tag()) {
            (Some(digest), _) => format!("{repository}@{digest}"),
            (None, Some(tag)) => format!("{repository}:{tag}"),
            (None, None) => repository.to_string(),
        };
        let key = self.portainer.registries.header_for(repository);
        let call = Call::read("look up the image", &reference).known_to_all();
        let answer = self.portainer.client.distribution(environment.id, (&reference, key)).await;
        let answer = answer.map_err(|failure| failure.of(self.portainer.client.system(), call))?;
        let words = answer.words();
        let is_missing = ["manifest unknown", "name unknown", "not found: does not exist"];
        if is_missing.iter().any(|said| words.contains(said)) {
            return Err(TargetError::ImageNotFound { image: image.clone(), answer: words });
        }
        // An engine that does not know the question says so in JSON.
        if answer.status.as_u16() == 404 && !answer.is_json() && !is_html(&answer.body) {
            return Err(Failure::Answered(answer).of(self.portainer.client.system(), call));
        }
        let told = match answer.json() {
            // Portainer, or what stands before it, and not the registry.
            Err(failure) if failure.is_in_doubt() => {
                return Err(failure.of(self.portainer.client.system(), call));
            }
            told => told.ok(),
        };
        let digest = told.as_ref().and_then(|told| told.pointer("/Descriptor/digest")?.as_str());
        match digest.and_then(|digest| digest.parse().ok()) {
            Some(digest) => Ok(image.with_digest(digest)),
            None => {
                tracing::debug!(%image, words, "the engine does not tell what the tag points to");
                Ok(image.clone())
            }
        }
    }
}
