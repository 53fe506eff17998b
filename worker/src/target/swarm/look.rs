//! How it stands with a service now, outside any rollout.

use proto::{ImageRef, ask::TargetNow};

use super::{
    SwarmService,
    ages::Ages,
    hold::on_hold,
    lifecycle::last_job,
    lives::note_who_never_ran,
    lookout::Which,
    service::{Mode, Service},
    tasks::{Count, Counting, Failing},
    watch::window,
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
        let tasks = match &image {
            Some(image) => Some(self.count(&service, image).await?.tasks()),
            None => None,
        };
        Ok(TargetNow {
            kind: "swarm-service".to_owned(),
            images: image.into_iter().collect(),
            running: service.mode() != Mode::Replicated(0),
            tasks,
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
