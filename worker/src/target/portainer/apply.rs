//! Bringing an image: what was read of the stack, and the one write that brings it.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use proto::{ImageRef, Job, JobId, Operation};

use super::{
    PortainerStack,
    accept::attempted,
    fence::{Mark, Marks},
    good::Before,
    ground::Ground,
    image::Edits,
    live::Live,
    objects::StackKind,
    write::{Writing, Written},
};
use crate::target::{Found, Standing, TargetError, Wanted, swarm::standing_of_all};

/// A stack, and the services of it that a job brings an image to.
struct FoundStack {
    target: PortainerStack,
    ground: Ground,
    live: Live,
    services: Vec<String>,
    /// What ran before somebody else changed a service, for an operation that goes back to it.
    ran_before: BTreeMap<String, Before>,
}

impl PortainerStack {
    pub(super) async fn read_for_image(&self, job: &Job) -> Result<Box<dyn Found>, TargetError> {
        let ground = self.ground(&job.operation).await?;
        let services = self.chosen(&ground, &job.operation, Some(job.id))?;
        let live = self.live(&ground.stack).await?;
        let (services, ran_before) = self.ways_back(&ground, &live, (&job.operation, services)).await?;
        Ok(Box::new(FoundStack { target: self.clone(), ground, live, services, ran_before }))
    }

    /// Of the services that an operation concerns, what ran before somebody else changed them, where it goes back to
    /// that. Where nothing is noted of any, those concern it of which that is known.
    pub(super) async fn ways_back(
        &self,
        ground: &Ground,
        live: &Live,
        (operation, mut services): (&Operation, Vec<String>),
    ) -> Result<(Vec<String>, BTreeMap<String, Before>), TargetError> {
        let mut ran_before = BTreeMap::new();
        let Operation::Rollback { image: None, service: named, .. } = operation else {
            return Ok((services, ran_before));
        };
        for service in &services {
            let before = self.ran_before(ground, live, service).await?;
            ran_before.extend(before.map(|before| (service.clone(), before)));
        }
        if named.is_none() && ground.marks.services.is_empty() {
            services.retain(|service| ran_before.contains_key(service));
        }
        if services.is_empty() {
            return Err(self.nothing_concerned(ground, operation));
        }
        Ok((services, ran_before))
    }
}

#[async_trait]
impl Found for FoundStack {
    fn standing(&self, id: JobId) -> Standing {
        standing_of_all(self.services.iter().map(|service| self.standing_of(service, id)))
    }

    fn image(&self) -> Option<ImageRef> {
        same(self.services.iter().map(|service| self.ground.image(service)))
    }

    fn before(&self) -> Option<ImageRef> {
        same(self.services.iter().map(|service| self.good_of(service).cloned()))
    }

    fn remembers_bad(&self) -> bool {
        self.marks().any(|mark| !mark.bad.is_empty())
    }

    fn is_bad(&self, image: &ImageRef) -> bool {
        self.marks().any(|mark| mark.is_bad(image))
            && !self.services.iter().all(|service| self.ground.image(service).as_ref() == Some(image))
    }

    fn meant(&self, operation: &Operation) -> Result<Option<ImageRef>, TargetError> {
        match operation {
            Operation::Rollback { image: None, .. } => match self.before() {
                Some(good) => Ok(Some(good)),
                None => Err(self.target.portainer.refused("roll back", self.why_not_as_one())),
            },
            Operation::SetImage { .. }
            | Operation::Rollback { image: Some(_), .. }
            | Operation::DeployStack(_)
            | Operation::RemoveStack { .. }
            | Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::Redeploy
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => Ok(None),
        }
    }

    fn in_question(&self, operation: &Operation) -> Option<(JobId, TargetError)> {
        let (service, before) =
            self.services.iter().find_map(|name| Some((name, self.ran_before.get(name)?)))?;
        let job = before.unproven?;
        let noted = self.ground.marks.services.get(service).and_then(|mark| mark.good.as_ref());
        let noted = noted.map(|good| format!(": {}", good.familiar())).unwrap_or_default();
        let why = format!(
            "somebody else changed the image of `{service}`, and {}, which stood there before, did not hold; deploy the one \
             to go back to by its name{noted}",
            before.image.familiar()
        );
        Some((job, self.target.portainer.refused(attempted(operation), why)))
    }

    async fn apply(self: Box<Self>, wanted: &Wanted) -> Result<(), TargetError> {
        self.bring(wanted).await
    }
}

impl FoundStack {
    fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.services.iter().filter_map(|service| self.ground.marks.services.get(service))
    }

    /// What a service is to go back to.
    fn good_of(&self, service: &str) -> Option<&ImageRef> {
        match self.ran_before.get(service) {
            Some(before) => Some(&before.image),
            None => self.ground.marks.services.get(service)?.good.as_ref(),
        }
    }

    /// Why there is no one image to go back to.
    fn why_not_as_one(&self) -> String {
        let ran = |service: &String| {
            let good = self.good_of(service)?;
            Some(format!("`{service}` ran `{}`", good.familiar()))
        };
        let known: Vec<String> = self.services.iter().filter_map(ran).collect();
        match known.len() {
            0 => format!("no image is known that all of {} ran well before", self.services.join(", ")),
            _ => format!("{} before; roll back one service at a time, by its name", known.join(", ")),
        }
    }

    /// What was written counts only once the engine was told: Portainer may have died in between.
    fn standing_of(&self, service: &str, id: JobId) -> Standing {
        let mark = self.ground.marks.services.get(service);
        match mark.map_or(Standing::Open, |mark| mark.standing(id)) {
            Standing::Applied if !PortainerStack::has_arrived(&self.ground, &self.live, service) => {
                Standing::Open
            }
            Standing::Open => match self.ground.marks.newer_text(id) {
                Some(newer) => Standing::Newer(newer),
                None => Standing::Open,
            },
            standing @ (Standing::Applied | Standing::RolledBack | Standing::Newer(_)) => standing,
        }
    }

    async fn bring(&self, wanted: &Wanted) -> Result<(), TargetError> {
        let (operation, id) = (&wanted.job.operation, wanted.job.id);
        let (target, stack) = (&self.target, &self.ground.stack);
        let refused = |why: String| target.portainer.refused(attempted(operation), why);
        let image = wanted.image.as_ref().ok_or_else(|| refused("the job brings no image".to_owned()))?;
        target.refuse_by_status(stack, operation)?;
        // What a newer job brought to some of them stays.
        let open: Vec<String> = self
            .services
            .iter()
            .filter(|service| self.standing_of(service, id) == Standing::Open)
            .cloned()
            .collect();
        let is_mine =
            |service: &String| self.ground.marks.services.get(service).is_some_and(|mark| mark.job == id);
        target.look_on(&self.ground, open.iter().any(is_mine)).await?;
        let edits = Edits::to_bring(image, (&open, &open), &self.ground.file, &stack.env).map_err(refused)?;
        let file = self.ground.file.with_images(&edits.file).map_err(refused)?;
        let mut env = stack.env.clone();
        for (name, value) in &edits.env {
            env.set(name, value);
        }
        let is_same = file.text() == self.ground.file.text() && env == stack.env;
        let runs = open.iter().all(|service| self.live.runs(stack, service, image));
        if is_same && runs && edits.are_pinned() {
            // It is there already, and written again the engine would forget what it knows of its last update.
            return Ok(());
        }
        let live = target.live_after_rollouts(stack, &self.live).await?;
        let live = live.as_ref().unwrap_or(&self.live);
        let text = self.marked((&open, live), wanted).await?.written_into(file.text());
        let pull = stack.kind == StackKind::Compose || !edits.are_pinned();
        let before = self.ground.file.text();
        let writing = Writing { stack, before, text: &text, env: &env, prune: stack.prune, pull };
        if let Written::Refused(why) = target.write(&writing).await? {
            target.portainer.note_refusal(id, why);
        }
        Ok(())
    }

    /// The marks with those of the services that are about to be written.
    async fn marked(&self, (open, live): (&[String], &Live), wanted: &Wanted) -> Result<Marks, TargetError> {
        let mut marks = self.ground.marks.clone();
        let known: BTreeSet<&str> = self.ground.file.services().collect();
        marks.services.retain(|name, _| known.contains(name.as_str()));
        // Whoever goes back does not believe in what runs now.
        let believes = !matches!(wanted.job.operation, Operation::Rollback { .. });
        let next = wanted.image.as_ref();
        for service in open {
            let former = marks.services.remove(service);
            let is_same = next.is_some() && self.ground.image(service).as_ref() == next;
            let was_mine = former.as_ref().is_some_and(|mark| mark.job == wanted.job.id);
            let ran_well = match believes && !is_same && !was_mine {
                true => self.target.worth_noting(&self.ground, live, service).await?,
                // Repeated, a rollback stays where it went.
                false => self.ran_before.get(service).map(|before| before.image.clone()),
            };
            marks.services.insert(service.clone(), Mark::succeeding(former, wanted.job.id, (ran_well, next)));
        }
        Ok(marks)
    }
}

/// The image that all have; none where they differ.
fn same(mut images: impl Iterator<Item = Option<ImageRef>>) -> Option<ImageRef> {
    let first = images.next()??;
    images.all(|image| image.as_ref() == Some(&first)).then_some(first)
}
