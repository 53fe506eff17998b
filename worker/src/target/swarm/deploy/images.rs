//! Which content a service of a text gets.

use proto::{ImageRef, JobId};

use super::super::{SwarmStack, lifecycle::Concern, service::Service};
use crate::target::{Target, TargetError};

impl SwarmStack {
    /// The image that a service gets from a text that names `image`: what a job newer than `id` brought stays, and so
    /// does what this very job brought before a crash.
    pub(super) async fn image_for(
        &self,
        image: &ImageRef,
        (name, found): (&str, Option<&Service>),
        id: JobId,
    ) -> Result<ImageRef, TargetError> {
        let image = self.pulled_as(image);
        if let Some(kept) = found.and_then(|found| kept(found, &image, id)) {
            return Ok(kept);
        }
        self.service(&self.scoped(name)).resolve(&image).await
    }
}

fn kept(found: &Service, image: &ImageRef, id: JobId) -> Option<ImageRef> {
    let is_newer = found.fence.job > Some(id);
    let is_mine = Concern::Stack.mark(found) == Some(id);
    let stands = found.image().filter(|stands| is_newer || stands.by_tag() == image.by_tag())?;
    ((is_newer || is_mine) && stands.digest().is_some()).then_some(stands)
}
