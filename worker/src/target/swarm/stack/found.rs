//! The services of a stack that a job concerns, as they were read.

use async_trait::async_trait;
use proto::{CauseKind, ImageRef, JobId, Operation, PutOnHold};

use super::{
    super::{
        apply::FoundService,
        hold,
        lifecycle::{Concern, attempted},
    },
    SwarmStack, end, unmarked,
};
use crate::target::{Found, Standing, Target, TargetError, Wanted};

/// The services of a stack that a job concerns, as they were read.
pub(super) struct FoundStack {
    pub(super) stack: SwarmStack,
    pub(super) parts: Vec<FoundService>,
    /// It is to be rolled back, and none of them tells to what: see [`super::unmarked`].
    pub(super) is_unmarked: bool,
}

#[async_trait]
impl Found for FoundStack {
    fn standing(&self, id: JobId) -> Standing {
        let brought = self.parts.iter().find_map(|part| part.brought_by(id));
        // Where the image stood already nothing was written, so nothing is left to write.
        let stands = |part: &FoundService| brought.as_ref().is_some_and(|image| part.stands_with(image));
        let standing = |part: &FoundService| {
            let standing = part.standing(id);
            if standing == Standing::Open && stands(part) { Standing::Applied } else { standing }
        };
        end::standing_of_all(self.parts.iter().map(standing))
    }

    fn stands_in_part(&self, id: JobId) -> bool {
        self.parts.iter().any(|part| part.standing(id) == Standing::Applied)
    }

    fn image(&self) -> Option<ImageRef> {
        end::same_for_all(self.parts.iter().map(Found::image))
    }

    fn images(&self) -> Vec<ImageRef> {
        unmarked::images(&self.parts)
    }

    fn has_no_marks(&self) -> bool {
        self.is_unmarked
    }

    fn before(&self) -> Option<ImageRef> {
        end::same_for_all(self.parts.iter().map(Found::before))
    }

    fn tried(&self, id: JobId) -> Option<ImageRef> {
        match self.is_unmarked {
            // What it was begun with on one is what is meant for all.
            true => self.parts.iter().find_map(|part| part.tried(id)),
            false => end::same_for_all(self.parts.iter().map(|part| part.tried(id))),
        }
    }

    fn on_hold(&self) -> Option<JobId> {
        self.parts.iter().filter_map(Found::on_hold).max()
    }

    /// A digest is put on hold, and released, for all of them alike.
    fn meant(&self, operation: &Operation) -> Result<Option<ImageRef>, TargetError> {
        match self.is_unmarked {
            true => Err(TargetError::Refused {
                system: self.stack.swarm.client.system().to_owned(),
                attempted: attempted(operation),
                answer: unmarked::nothing_known(&self.stack.name),
            }),
            false => Ok(hold::image_of(operation).cloned()),
        }
    }

    fn heed(&mut self, on_hold: &[PutOnHold]) {
        for part in &mut self.parts {
            let of_it = of_part(on_hold, self.stack.short(part.service.name()));
            part.heed(&of_it);
        }
    }

    fn remembers_bad(&self) -> bool {
        self.parts.iter().any(Found::remembers_bad)
    }

    fn is_bad(&self, image: &ImageRef) -> bool {
        self.parts.iter().any(|part| part.is_bad(image))
    }

    async fn would_take(&self, wanted: &Wanted) -> Result<(), TargetError> {
        self.wishes(&self.open(wanted), wanted).await.map(drop)
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
        let open = self.open(wanted);
        let wishes = self.wishes(&open, wanted).await?;
        for (part, wish) in open.into_iter().zip(&wishes) {
            match wish {
                Wish::Write(wanted) => part.write_wanted(wanted).await?,
                Wish::OnHold(_) => part.leave_as_it_is(wanted.job.id).await?,
            }
        }
        Ok(())
    }
}

/// What is on hold on the part of that name: the same image may run well on another one.
pub(in crate::target::swarm) fn of_part(on_hold: &[PutOnHold], name: &str) -> Vec<PutOnHold> {
    let is_of_it = |noted: &&PutOnHold| noted.part.as_deref().is_none_or(|part| part == name);
    on_hold.iter().filter(is_of_it).cloned().collect()
}

/// What is wished of one service.
enum Wish {
    Write(Box<Wanted>),
    /// Nothing: what its tag names was rolled back there.
    OnHold(ImageRef),
}

impl FoundService {
    /// The image that a job brought here, or tried to.
    fn brought_by(&self, id: JobId) -> Option<ImageRef> {
        let is_it = self.concern == Concern::Image && self.standing(id) == Standing::Applied;
        is_it.then(|| self.tried(id).or_else(|| self.image())).flatten()
    }
}

impl FoundStack {
    /// What the job has yet to write.
    fn open(&self, wanted: &Wanted) -> Vec<&FoundService> {
        let is_open = |part: &&FoundService| part.standing(wanted.job.id) == Standing::Open;
        self.parts.iter().filter(is_open).filter(|part| self.is_meant(part, wanted)).collect()
    }

    /// Whether what the history tells is of this one. Nothing else tells which they are.
    fn is_meant(&self, part: &FoundService, wanted: &Wanted) -> bool {
        let is_of_it =
            |image: &ImageRef| part.image().is_some_and(|stands| stands.repository() == image.repository());
        !self.is_unmarked || wanted.image.as_ref().is_some_and(is_of_it)
    }

    /// What is wished of each of these services.
    async fn wishes(&self, open: &[&FoundService], wanted: &Wanted) -> Result<Vec<Wish>, TargetError> {
        let operation = &wanted.job.operation;
        let (mut wishes, mut looked_at) = (Vec::new(), Vec::new());
        if Concern::of(operation) == Concern::Nothing {
            return Ok(wishes);
        }
        for part in open {
            part.refuse_what_cannot_be_done(operation)?;
            // Of these, none tells itself.
            let meant = if self.is_unmarked { None } else { part.meant(operation)? };
            let image = match (&wanted.image, meant) {
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
            if let (Operation::Rollback { image: None, .. }, Some(image)) = (operation, &image) {
                Box::pin(part.refuse_what_did_not_hold(image)).await?;
            }
            let held = image.clone().filter(|image| is_on_hold(part, wanted, image));
            let wish = || Wish::Write(Box::new(Wanted { job: wanted.job.clone(), image }));
            wishes.push(held.map_or_else(wish, Wish::OnHold));
        }
        self.refuse_what_is_all_on_hold(&wishes, wanted)?;
        Ok(wishes)
    }

    /// With one service left out, the others are redeployed; with all of them, there is nothing to do.
    fn refuse_what_is_all_on_hold(&self, wishes: &[Wish], wanted: &Wanted) -> Result<(), TargetError> {
        let held = wishes.iter().map(|wish| match wish {
            Wish::OnHold(image) => Some(image.familiar()),
            Wish::Write(_) => None,
        });
        let Some(held) = held.collect::<Option<Vec<_>>>().filter(|held| !held.is_empty()) else {
            return Ok(());
        };
        if self.stands_in_part(wanted.job.id) {
            return Ok(());
        }
        let (held, target) = (held.join(", "), &wanted.job.target);
        Err(TargetError::Declined {
            system: self.stack.swarm.client.system().to_owned(),
            attempted: attempted(&wanted.job.operation),
            why: format!(
                "{held} was rolled back here before; deploy a newer image, or release it: `longshore target release {target}`"
            ),
        })
    }
}

/// Whether a redeploy found an image behind the tag that was rolled back on this service. The hold of any other image is
/// decided on before.
fn is_on_hold(part: &FoundService, wanted: &Wanted, image: &ImageRef) -> bool {
    let is_released = wanted.job.cause.kind == CauseKind::Release;
    part.concern == Concern::Redeploy && !is_released && part.is_bad(image)
}
