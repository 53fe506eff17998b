//! What content a service runs whose image names no digest, as one that `--resolve-image never` was said for.

use std::slice;

use proto::ImageRef;

use super::{SwarmService, lookout::Which, service::Service, tasks::is_up};
use crate::target::TargetError;

impl SwarmService {
    /// The image that a service is meant to run. One without a digest is told with that of the content which all of its
    /// tasks run, as far as the engine that is asked can tell: each node pulled it when it needed it, and what runs on
    /// others is not known.
    pub(super) async fn image_with_content(
        &self,
        service: &Service,
    ) -> Result<Option<ImageRef>, TargetError> {
        let Some(image) = service.image().filter(|image| image.digest().is_none()) else {
            return Ok(service.image());
        };
        let tasks = self.swarm.lookout.tasks(&service.id, Which::Current).await?;
        let mut content = None;
        for task in tasks.iter().filter(|task| is_up(task)) {
            let pinned = self.pinned_by(slice::from_ref(task), &image).await;
            if pinned.digest().is_none() || content.as_ref().is_some_and(|content| *content != pinned) {
                return Ok(Some(image));
            }
            content = Some(pinned);
        }
        Ok(Some(content.unwrap_or(image)))
    }
}
