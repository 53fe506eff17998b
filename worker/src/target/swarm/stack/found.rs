//! The services of a stack that a job concerns, as they were read.

use async_trait::async_trait;
use proto::{ImageRef, JobId, Operation};

use super::{
    super::{apply::FoundService, hold, lifecycle::Concern},
    SwarmStack, end,
};
use crate::target::{Found, Standing, Target, TargetError, Wanted};

/// The services of a stack that a job concerns, as they were read.
pub(super) struct FoundStack {
    pub(super) stack: SwarmStack,
    pub(super) parts: Vec<FoundService>,
}

#[async_trait]
impl Found for FoundStack {
    fn standing(&self, id: JobId) -> Standing {
        end::standing_of_all(self.parts.iter().map(|part| part.standing(id)))
    }

    fn stands_in_part(&self, id: JobId) -> bool {
        self.parts.iter().any(|part| part.standing(id) == Standing::Applied)
    }

    fn image(&self) -> Option<ImageRef> {
        end::same_for_all(self.parts.iter().map(Found::image))
    }

    fn before(&self) -> Option<ImageRef> {
        end::same_for_all(self.parts.iter().map(Found::before))
    }

    fn tried(&self, id: JobId) -> Option<ImageRef> {
        end::same_for_all(self.parts.iter().map(|part| part.tried(id)))
    }

    fn on_hold(&self) -> Option<JobId> {
        self.parts.iter().filter_map(Found::on_hold).max()
    }

    /// A digest is put on hold, and released, for all of them alike.
    fn meant(&self, operation: &Operation) -> Result<Option<ImageRef>, TargetError> {
        Ok(hold::image_of(operation).cloned())
    }

    fn remembers_bad(&self) -> bool {
        self.parts.iter().any(Found::remembers_bad)
    }

    fn is_bad(&self, image: &ImageRef) -> bool {
        self.parts.iter().any(|part| part.is_bad(image))
    }

    async fn would_take(&self, wanted: &Wanted) -> Result<(), TargetError> {
        self.wishes(&self.open(wanted.job.id), wanted).await.map(drop)
    }

    /// Service by service: what this job did before stays, and so does what a newer one did. Whatever cannot be
    /// done at all is refused before the first is written.
    async fn apply(self: Box<Self>, wanted: &Wanted) -> Result<(), TargetError> {
        if hold::is_hold(&wanted.job.operation) {
            for part in &self.parts {
                part.write_hold(wanted).await?;
            }
            return Ok(());
        }
        let open = self.open(wanted.job.id);
        let wishes = self.wishes(&open, wanted).await?;
        for (part, wanted) in open.into_iter().zip(&wishes) {
            part.write_wanted(wanted).await?;
        }
        Ok(())
    }
}

impl FoundStack {
    /// What the job has yet to write.
    fn open(&self, id: JobId) -> Vec<&FoundService> {
        self.parts.iter().filter(|part| part.standing(id) == Standing::Open).collect()
    }

    /// What is wished of each of these services.
    async fn wishes(&self, open: &[&FoundService], wanted: &Wanted) -> Result<Vec<Wanted>, TargetError> {
        let operation = &wanted.job.operation;
        let (mut wishes, mut looked_at) = (Vec::new(), Vec::new());
        if Concern::of(operation) == Concern::Nothing {
            return Ok(wishes);
        }
        for part in open {
            part.refuse_what_cannot_be_done(operation)?;
            let image = match (&wanted.image, part.meant(operation)?) {
                (Some(image), _) => {
                    // Most are bound to the same, and then one look is enough.
                    let bound = part.service.platforms();
                    if !bound.is_empty() && !looked_at.contains(&bound) {
                        part.target.resolve(image).await?;
                        looked_at.push(bound);
                    }
                    Some(image.clone())
                }
                (None, Some(meant)) => Some(self.stack.service(part.service.name()).resolve(&meant).await?),
                (None, None) => None,
            };
            wishes.push(Wanted { job: wanted.job.clone(), image });
        }
        Ok(wishes)
    }
}
