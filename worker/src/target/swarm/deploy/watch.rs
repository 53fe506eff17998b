//! Watching every service of a text to its end. The docker command only says that it wrote them.

use futures::future::join_all;
use proto::{JobId, Reason, StackText, reason};
use tokio::sync::mpsc;

use super::{
    super::{
        SwarmStack,
        lifecycle::{Concern, last_job},
        service::Service,
        stack::{end::end_of_all, gather::gather, watch::Until},
    },
    compose::Compose,
    runs_out,
};
use crate::target::{End, Outcome, Progress, TargetError, Wanted};

/// What is to be done about one service of a text.
enum Course {
    /// It was written: how does that end?
    Watch(Box<Service>),
    /// It is not what this job made of it, and no newer job says why.
    Changed(&'static str),
    /// It runs to its end.
    LeftAlone,
    /// A newer job deployed another text.
    Newer(JobId),
}

impl SwarmStack {
    pub(in crate::target::swarm) async fn watch_text(
        &self,
        wanted: &Wanted,
        text: &StackText,
        (until, progress): (&Until, &mpsc::Sender<Progress>),
    ) -> Result<Outcome, TargetError> {
        let id = wanted.job.id;
        self.swarm.keep(&self.name, id, text).await?;
        let compose = Compose::read(text).map_err(|why| self.refused(why))?;
        let services = self.services().await?;
        let (mut watched, mut ended, mut newer, mut lines) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for name in compose.services().map_err(|why| self.refused(why))? {
            let service = services.iter().find(|service| service.name() == self.scoped(&name));
            match course(service, id) {
                Course::Watch(service) => watched.push((name, service)),
                Course::Changed(what) => ended.push((name, changed_elsewhere(what))),
                Course::LeftAlone => lines.push(format!("{name}: runs to its end, and is not watched")),
                Course::Newer(job) => newer.push((name, job)),
            }
        }
        lines.extend(self.notes((wanted, text), &compose, &services));
        let names: Vec<String> = watched.iter().map(|(name, _)| name.clone()).collect();
        let (reports, gathering) = gather(&names, progress);
        let watching = watched.into_iter().zip(reports).map(|((name, service), report)| async move {
            let outcome = self.watch_written(*service, wanted, (until, report)).await?;
            Ok::<_, TargetError>((name, outcome))
        });
        let (outcomes, ()) = tokio::join!(join_all(watching), gathering);
        ended.extend(outcomes.into_iter().collect::<Result<Vec<_>, _>>()?);
        let only_jobs = ended.is_empty() && newer.is_empty();
        let mut outcome = end_of_all(ended, newer);
        if only_jobs {
            outcome.end = End::Converged;
        }
        outcome.output.extend(lines);
        if text.prune && outcome.end == End::Converged {
            outcome.output.extend(self.prune(id, &compose).await?);
        }
        Ok(outcome)
    }

    /// Removes the services that the text does not have, but for those a newer job has to do with: once all it has
    /// runs, so that a text that fails takes nothing away.
    async fn prune(&self, id: JobId, compose: &Compose) -> Result<Vec<String>, TargetError> {
        let named = compose.services().map_err(|why| self.refused(why))?;
        let mut lines = Vec::new();
        for service in self.services().await? {
            let name = self.short(service.name()).to_owned();
            if named.contains(&name) {
                continue;
            }
            lines.push(match last_job(&service).filter(|last| *last > id) {
                Some(newer) => format!("{name}: not in the text, and left to the newer job {newer}"),
                None => {
                    self.swarm.client.remove_service(&service.id).await?;
                    format!("{name}: not in the text, and removed")
                }
            });
        }
        Ok(lines)
    }

    async fn watch_written(
        &self,
        service: Service,
        wanted: &Wanted,
        (until, progress): (&Until, mpsc::Sender<Progress>),
    ) -> Result<Outcome, TargetError> {
        let is_written = Concern::Stack.mark(&service) == Some(wanted.job.id);
        let is_back = is_written && service.fence.back == Some(wanted.job.id);
        let tried = service.fence.trying_image.clone();
        let image = if is_written && !is_back { service.image() } else { tried.or_else(|| service.image()) };
        let wanted = Wanted { job: wanted.job.clone(), image };
        until.watch(&self.service(service.name()), &wanted, &progress).await
    }

    /// What stays though the text would have it otherwise.
    fn notes(
        &self,
        (wanted, text): (&Wanted, &StackText),
        compose: &Compose,
        services: &[Service],
    ) -> Vec<String> {
        let (id, named) = (wanted.job.id, compose.services().unwrap_or_default());
        let note = |service: &Service| {
            let name = self.short(service.name()).to_owned();
            let newer = service.fence.job.filter(|job| *job > id);
            match (named.contains(&name), newer) {
                (true, Some(newer)) => Some(format!("{name}: keeps the image of the newer job {newer}")),
                (false, _) if text.prune => None,
                (false, _) => Some(format!("{name}: not in the text, and left alone")),
                (true, None) => {
                    let newer = Concern::Running.mark(service).filter(|job| *job > id)?;
                    Some(format!("{name}: runs or stays stopped as the newer job {newer} wishes"))
                }
            }
        };
        services.iter().filter_map(note).collect()
    }
}

fn course(service: Option<&Service>, id: JobId) -> Course {
    let Some(service) = service else { return Course::Changed("somebody else removed the service") };
    match Concern::Stack.mark(service) {
        Some(newer) if newer > id => Course::Newer(newer),
        Some(_) | None if runs_out(service) => Course::LeftAlone,
        Some(mine) if mine == id => Course::Watch(Box::new(service.clone())),
        Some(_) | None if service.fence.trying == Some(id) => Course::Watch(Box::new(service.clone())),
        Some(_) | None => Course::Changed("somebody else deployed the service meanwhile"),
    }
}

fn changed_elsewhere(what: &str) -> Outcome {
    let end = End::Superseded { by: None, reason: Reason::new(reason::CHANGED_ELSEWHERE, what) };
    Outcome { end, tasks: None, output: Vec::new() }
}
