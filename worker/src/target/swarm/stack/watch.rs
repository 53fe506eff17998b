//! Watching the services of a stack side by side.

use futures::future::join_all;
use proto::{Operation, Reason, reason};
use tokio::sync::mpsc;

use super::{
    super::{SwarmService, hold, lifecycle::Concern, redeploy::image_of, service::Service},
    SwarmStack,
    end::end_of_all,
    gather::gather,
    undone::rolled_back_to,
};
use crate::target::{Outcome, Progress, Target, TargetError, Wanted};

/// For how long a service is watched.
pub(in crate::target::swarm) enum Until {
    TheEnd,
    /// The deadline has passed: what is not done by now is given up, for this reason.
    Now(Reason),
}

impl Until {
    pub(in crate::target::swarm) async fn watch(
        &self,
        service: &SwarmService,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        match self {
            Until::TheEnd => service.watch(wanted, progress).await,
            Until::Now(reason) => service.give_up(wanted, reason.clone(), progress).await,
        }
    }
}

impl SwarmStack {
    pub(super) async fn watch_all(
        &self,
        wanted: &Wanted,
        until: &Until,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let (operation, mine) = (&wanted.job.operation, wanted.job.id);
        let concern = Concern::of(operation);
        if let Operation::DeployStack(text) = operation {
            return self.watch_text(wanted, text, (until, progress)).await;
        }
        if let Operation::RemoveStack { .. } = operation {
            return self.watch_removal(wanted, progress).await;
        }
        if hold::is_hold(operation) {
            return Ok(hold::outcome(operation, &self.swarm.client.services_of(&self.name).await?));
        }
        if concern == Concern::Nothing {
            // It is of the engine, not of any service.
            return self.service(&self.name).watch(wanted, progress).await;
        }
        let services = self.concerned(operation, Some(mine)).await?;
        let left_out = |service: &Service| concern.mark(service).is_some_and(|job| job > mine);
        let (left, watched): (Vec<_>, Vec<_>) = services.into_iter().partition(left_out);
        let names: Vec<String> = watched.iter().map(|it| self.short(it.name()).to_owned()).collect();
        let (reports, gathering) = gather(&names, progress);
        let watching = join_all(
            watched
                .into_iter()
                .zip(reports)
                .map(|(service, report)| self.watch_part(service, wanted, (until, report))),
        );
        let (outcomes, ()) = tokio::join!(watching, gathering);
        let outcomes = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
        let newer = left
            .iter()
            .filter_map(|service| Some((self.short(service.name()).to_owned(), concern.mark(service)?)));
        let mut outcome = end_of_all(names.into_iter().zip(outcomes).collect(), newer.collect());
        let mut left = self.left_alone(operation, Some(mine)).await?;
        left.extend(self.left_idle(operation).await?);
        // Who reads of a success would believe that it was for all of them.
        outcome.notes.extend(left.iter().map(|line| Reason::new(reason::LEFT_ALONE, line.clone())));
        outcome.output.extend(left);
        Ok(outcome)
    }

    /// What is watched on one service: what was meant for it.
    async fn watch_part(
        &self,
        service: Service,
        wanted: &Wanted,
        (until, progress): (&Until, mpsc::Sender<Progress>),
    ) -> Result<Outcome, TargetError> {
        let operation = &wanted.job.operation;
        let image = match (&wanted.image, Concern::of(operation)) {
            (Some(image), _) => Some(image.clone()),
            (None, Concern::Image) => rolled_back_to(&service),
            (None, Concern::Redeploy) => image_of(&service, wanted),
            (None, Concern::Running | Concern::Stack | Concern::Nothing) => service.image(),
        };
        let went_back =
            image.clone().filter(|_| wanted.image.is_none() && Concern::of(operation) == Concern::Image);
        let wanted = Wanted { job: wanted.job.clone(), image };
        let mut outcome = until.watch(&self.service(service.name()), &wanted, &progress).await?;
        // Each service has an image of its own to go back to: the event has no place for them but its words.
        let back =
            went_back.map(|image| Reason::new(reason::WENT_BACK, format!("back to {}", image.familiar())));
        outcome.notes.splice(0..0, back);
        Ok(outcome)
    }
}
