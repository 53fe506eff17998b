//! A job of which only some services of its stack were written: the engine refused the rest, or nobody may carry it
//! out any more.

use futures::future::join_all;
use proto::{Operation, Reason};
use tokio::sync::mpsc;

use super::{
    super::{
        deploy::half_way::InPart,
        lifecycle::Concern,
        redeploy::{brings_another_image, image_of},
        service::Service,
    },
    SwarmStack,
    end::end_of_all,
    gather::gather,
};
use crate::target::{Outcome, Progress, Standing, Target, TargetError, Wanted};

impl SwarmStack {
    /// Takes back what was written where the target asks for that; watches it to its end otherwise. Either way it is
    /// told.
    pub(super) async fn services_half_way(
        &self,
        wanted: &Wanted,
        why: Reason,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let (operation, id) = (&wanted.job.operation, wanted.job.id);
        let concern = Concern::of(operation);
        let (mut written, mut missing, mut newer) = (Vec::new(), Vec::new(), Vec::new());
        for service in self.concerned(operation, Some(id)).await? {
            let name = self.short(service.name()).to_owned();
            match concern.standing(&service, id) {
                Standing::Applied | Standing::RolledBack => written.push((name, service)),
                Standing::Open => missing.push(name),
                Standing::Newer(job) => newer.push((name, job)),
            }
        }
        let names: Vec<String> = written.iter().map(|(name, _)| name.clone()).collect();
        let (reports, gathering) = gather(&names, progress);
        let following = written.into_iter().zip(reports).map(|((name, service), report)| async {
            let (outcome, report) = (self.follow_part(service, wanted, &why, &report).await?, report);
            drop(report);
            Ok::<_, TargetError>((name, outcome))
        });
        let (outcomes, ()) = tokio::join!(join_all(following), gathering);
        let outcomes = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
        let hint = format!("mend the cause, then deploy `{}` again", wanted.job.target);
        let in_part =
            InPart { outcomes: &outcomes, missing: &missing, why: why.clone(), hint, as_wished: "as wished" };
        let end = in_part.end();
        Ok(Outcome { end, ..end_of_all(outcomes, newer) })
    }

    async fn follow_part(
        &self,
        service: Service,
        wanted: &Wanted,
        why: &Reason,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let image = image_of(&service, wanted);
        let brings_another = match &wanted.job.operation {
            Operation::SetImage { .. } => true,
            Operation::Redeploy => image.as_ref().is_some_and(|image| brings_another_image(&service, image)),
            Operation::Rollback { .. }
            | Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::DeployStack(_)
            | Operation::RemoveStack { .. }
            | Operation::DeployGit(_)
            | Operation::Migrate { .. }
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => false,
        };
        let target = self.service(service.name());
        let wanted = Wanted { job: wanted.job.clone(), image };
        if self.policy.rollback && brings_another {
            let why = Reason { text: "the rest of the stack was not written".to_owned(), ..why.clone() };
            return Box::pin(target.take_back(&wanted, why, progress)).await;
        }
        target.watch(&wanted, progress).await
    }
}
