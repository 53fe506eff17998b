//! How it stands with a service now, outside any rollout.

use proto::{Digest, ImageRef, PutOnHold, ask::TargetNow};

use super::{
    SwarmService,
    ages::Ages,
    hold::on_hold,
    lifecycle::last_job,
    lives::note_who_never_ran,
    lookout::Which,
    service::{Mode, Service, UpdateState},
    tasks::{Count, Counting, Failing},
    watch::{each_once, window},
};
use crate::target::TargetError;

impl SwarmService {
    pub(super) async fn now(&self) -> Result<TargetNow, TargetError> {
        let service = self.client().service(&self.name).await?;
        self.now_of(service).await
    }

    /// The same of a service that was just read.
    pub(super) async fn now_of(&self, service: Service) -> Result<TargetNow, TargetError> {
        let image = service.image();
        let count = match &image {
            Some(image) => Some(self.count(&service, image).await?),
            None => None,
        };
        Ok(TargetNow {
            kind: "swarm-service".to_owned(),
            held_images: held_images(&service),
            trouble: trouble(&service, count.as_ref()),
            images: image.into_iter().collect(),
            parts: Default::default(),
            running: service.mode() != Mode::Replicated(0),
            tasks: count.as_ref().map(Count::tasks),
            last_job: last_job(&service),
            on_hold: on_hold(&service),
            deployed: None,
        })
    }

    /// The tasks of a service that run `image`, by the same count as a rollout's.
    pub(super) async fn count(&self, service: &Service, image: &ImageRef) -> Result<Count, TargetError> {
        let (lookout, mode) = (&self.swarm.lookout, service.mode());
        let nodes = lookout.nodes().await?;
        let current = lookout.tasks(&service.id, Which::Current).await?;
        let all = match mode {
            Mode::Global => lookout.tasks(&service.id, Which::All).await?,
            Mode::Replicated(_) | Mode::Job => Vec::new(),
        };
        let (now, ages) = (lookout.now().await, Ages::default());
        let counting =
            Counting { service: &self.name, mode, image, nodes: &nodes, since: None, now, ages: &ages };
        let mut count = counting.count(&current, &all);
        let window = window(service, self.policy.stable);
        note_who_never_ran(self.client(), &mut count.failing, window, now).await;
        Ok(count)
    }

    /// The tasks of `image` that came down, of every spec that the engine remembers, the newest first.
    pub(super) async fn failures_of(
        &self,
        service: &Service,
        image: &ImageRef,
    ) -> Result<Vec<Failing>, TargetError> {
        let (lookout, mode, ages) = (&self.swarm.lookout, service.mode(), Ages::default());
        let (nodes, now) = (lookout.nodes().await?, lookout.now().await);
        let all = lookout.tasks(&service.id, Which::All).await?;
        let counting =
            Counting { service: &self.name, mode, image, nodes: &nodes, since: None, now, ages: &ages };
        let mut failing = counting.failing(&all.iter().collect::<Vec<_>>());
        let window = window(service, self.policy.stable);
        note_who_never_ran(self.client(), &mut failing, window, now).await;
        Ok(failing)
    }
}

/// What is on hold on a service. Of what went back long ago, the digest is all that is noted.
fn held_images(service: &Service) -> Vec<PutOnHold> {
    let Some(image) = service.image() else { return Vec::new() };
    let by_digest = |digest: &Digest| format!("{}@{digest}", image.repository()).parse().ok();
    let held = service.fence.bad.iter().filter_map(by_digest).filter(|image| !service.runs(image));
    held.map(|image| PutOnHold { image, part: None }).collect()
}

fn trouble(service: &Service, count: Option<&Count>) -> Vec<String> {
    let what = match service.update() {
        Some(UpdateState::Paused) => Some("the engine paused its last update"),
        Some(UpdateState::RollbackPaused) => {
            Some("the engine began to roll it back, and the rollback failed too")
        }
        Some(
            UpdateState::Updating
            | UpdateState::Completed
            | UpdateState::RollbackStarted
            | UpdateState::RollbackCompleted,
        )
        | None => None,
    };
    let paused = what.map(|what| format!("{}: {what}: {}", service.name(), service.update_message()));
    let down = count.filter(|count| !count.complete());
    let failing = down.into_iter().flat_map(|count| each_once(&count.failing)).map(ToString::to_string);
    let waiting = down.and_then(|count| count.waiting.clone());
    paused.into_iter().chain(failing).chain(waiting).collect()
}
