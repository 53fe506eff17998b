//! The marks of a job that said nothing before the image came which it has to take back.

use proto::{ImageRef, JobId};

use super::Undone;
use crate::target::swarm::{
    lifecycle::BROUGHT,
    service::{Edit, Service},
};

impl<'a> Undone<'a> {
    /// Which job tried what.
    pub(super) fn tried(&self) -> (JobId, &'a ImageRef) {
        (self.wanted.job.id, self.image)
    }
}

impl<'a> Edit<'a> {
    /// With what a job says before it brings an image, where it said nothing: it joined somebody else's rollout, or took
    /// one over which the engine then gave up. `good`: where it goes back to. Without, the image that ran well would be
    /// the one from before the last job that said so.
    pub(super) fn announced_late(
        mut self,
        service: &Service,
        (id, image): (JobId, &'a ImageRef),
        good: Option<&'a str>,
    ) -> Edit<'a> {
        if service.fence.trying == Some(id) {
            return self;
        }
        // What the job before brought is not what is taken back.
        self.labels.push((BROUGHT, Some(id.to_string())));
        Edit { trying: Some(id), trying_image: Some(image), good: good.or(self.good), ..self }
    }
}
