//! Watching every service of a text to its end. The docker command only says that it wrote them.

use futures::future::join_all;
use proto::{JobId, Reason, StackText, TargetName, reason};
use tokio::sync::mpsc;

use super::{
    super::{
        SwarmStack,
        lifecycle::{Concern, last_job},
        service::{Mode, Service},
        stack::{end::end_of_all, gather::gather, watch::Until},
    },
    compose::Compose,
    gaps,
    one_shot::Told,
    runs_out,
};
use crate::target::{End, Outcome, Progress, TargetError, Wanted};

/// What is to be done about one service of a text.
enum Course {
    /// It was written: how does that end?
    Watch(Box<Service>),
    /// It is not what this job made of it, and no newer job says why.
    Changed(&'static str),
    /// Does it run to its end?
    OneShot(Box<Service>),
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
        let compose = Compose::read(text).map_err(|why| self.declined(why))?;
        let services = self.services_put_right(id).await?;
        let (mut watched, mut one_shots) = (Vec::new(), Vec::new());
        let (mut ended, mut newer, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        for name in compose.services().map_err(|why| self.declined(why))? {
            let service = services.iter().find(|service| service.name() == self.scoped(&name));
            match course(service, id) {
                Course::Watch(service) => watched.push((name, service)),
                Course::Changed(what) => ended.push((name, changed_elsewhere(what))),
                Course::OneShot(service) => one_shots.push((name, service)),
                Course::Newer(job) => newer.push((name, job)),
            }
        }
        let mut notes = self.notes((wanted, text), &compose, &services);
        lines.extend(self.others(text, &compose, &services));
        let names: Vec<String> = watched.iter().map(|(name, _)| name.clone()).collect();
        let (reports, gathering) = gather(&names, progress);
        let watching = watched.into_iter().zip(reports).map(|((name, service), report)| async move {
            let outcome = self.watch_written(*service, wanted, (until, report)).await?;
            Ok::<_, TargetError>((name, outcome))
        });
        let jobs = one_shots.iter().map(|(_, service)| self.watch_one_shot(service, until));
        let (outcomes, told, ()) = tokio::join!(join_all(watching), join_all(jobs), gathering);
        ended.extend(outcomes.into_iter().collect::<Result<Vec<_>, _>>()?);
        for ((name, _), told) in one_shots.into_iter().zip(told) {
            match told? {
                Told::Line(line) => lines.push(format!("{name}: {line}")),
                Told::Note(note) => notes.push(Reason::new(reason::LEFT_ALONE, format!("{name}: {note}"))),
                Told::Failed(end) => ended.push((name, Outcome::of(end))),
            }
        }
        lines.extend(notes.iter().map(|note| note.text.clone()));
        let untouched = is_untouched(&services, id) && newer.is_empty();
        let only_jobs = ended.is_empty() && newer.is_empty();
        let newest = newer.iter().map(|(_, job)| *job).max();
        let mut outcome = end_of_all(ended, newer);
        if only_jobs {
            outcome.end = End::Converged;
        }
        outcome.output.extend(lines);
        outcome.notes.extend(notes);
        if outcome.end == End::Converged && untouched {
            outcome.notes.push(Reason::new(reason::UNCHANGED, "every service stood as the text has it"));
        }
        if let (Some(by), End::Converged) = (newest, &outcome.end) {
            let reason = Reason::new(reason::NEWER_WISH, "a newer job deployed another text meanwhile");
            outcome.end = End::Superseded { by: Some(by), reason };
        }
        match outcome.end {
            End::Converged if text.prune => self.prune(id, &compose, &mut outcome).await?,
            End::RolledBack(_) => self.tell_what_stays(wanted, &mut outcome).await?,
            End::Converged | End::Failed(_) | End::Superseded { .. } => {}
        }
        self.swarm.let_go_of_old(&self.name).await?;
        Ok(outcome)
    }

    /// The services, with what newer jobs had written on them between our reading and the command's writing.
    async fn services_put_right(&self, id: JobId) -> Result<Vec<Service>, TargetError> {
        let mut services = Vec::new();
        for service in self.services().await? {
            services.push(self.put_back_newer(id, service).await?);
        }
        Ok(services)
    }

    /// What is left of a text that was taken back, which one has to know to mend it.
    async fn tell_what_stays(&self, wanted: &Wanted, outcome: &mut Outcome) -> Result<(), TargetError> {
        let stays = self.let_go_of_what_is_back(wanted.job.id).await?;
        if let (End::RolledBack(reason), false) = (&mut outcome.end, stays.is_empty()) {
            reason.hint = Some(half_back(&wanted.job.target, &stays));
        }
        Ok(())
    }

    /// A text that every service went back from is none that the stack was deployed from; one that it changed nothing of
    /// does not count. Else those on which it stands.
    async fn let_go_of_what_is_back(&self, id: JobId) -> Result<Vec<String>, TargetError> {
        let services = self.services().await?;
        // Those that were new are not there any more.
        let stays = |service: &&Service| {
            let is_of_it = Concern::Stack.mark(service) == Some(id) && !runs_out(service);
            is_of_it && service.fence.back != Some(id) && !service.was_relabelled()
        };
        let stays: Vec<String> =
            services.iter().filter(stays).map(|service| self.short(service.name()).to_owned()).collect();
        if stays.is_empty() {
            self.swarm.let_go_of(&self.name, id).await?;
        }
        Ok(stays)
    }

    /// Removes the services that the text does not have, but for those a newer job has to do with: once all it has
    /// runs, so that a text that fails takes nothing away.
    async fn prune(&self, id: JobId, compose: &Compose, outcome: &mut Outcome) -> Result<(), TargetError> {
        let named = compose.services().map_err(|why| self.declined(why))?;
        let (mut removed, mut refused) = (Vec::new(), Vec::new());
        for service in self.services().await? {
            let name = self.short(service.name()).to_owned();
            if named.contains(&name) {
                continue;
            }
            if let Some(newer) = last_job(&service).filter(|last| *last > id) {
                outcome.output.push(format!("{name}: not in the text, and left to the newer job {newer}"));
                continue;
            }
            match self.swarm.client.remove_service(&service.id).await {
                Ok(()) => removed.push(name),
                Err(TargetError::Refused { answer, .. }) => refused.push(format!("{name} ({answer})")),
                Err(error) => return Err(error),
            }
        }
        outcome.output.extend(removed.iter().map(|name| format!("{name}: not in the text, and removed")));
        if !refused.is_empty() {
            outcome.end = End::Failed(not_removed(&removed, &refused));
        }
        Ok(())
    }

    pub(super) async fn watch_written(
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

    /// What whoever deployed the text has to know beside how it ended.
    fn notes(
        &self,
        (wanted, text): (&Wanted, &StackText),
        compose: &Compose,
        services: &[Service],
    ) -> Vec<Reason> {
        let (id, named) = (wanted.job.id, compose.services().unwrap_or_default());
        let mut notes = Vec::new();
        let unset = gaps::unset(&compose.texts(), text);
        if !unset.is_empty() {
            let text = format!("{} not given: nothing stands in the place", gaps::listed(&unset));
            notes.push(Reason::new(reason::UNSET_VARIABLES, text));
        }
        for service in services {
            let name = self.short(service.name());
            if !named.iter().any(|named| named == name) || Concern::Stack.mark(service) > Some(id) {
                continue;
            }
            let kept = kept_of_newer(service, id).into_iter();
            notes.extend(kept.map(|what| Reason::new(reason::NEWER_KEPT, format!("{name}: {what}"))));
        }
        notes
    }

    /// Lines on what is beside the text, and what it leaves to be guessed.
    fn others(&self, text: &StackText, compose: &Compose, services: &[Service]) -> Vec<String> {
        let named = compose.services().unwrap_or_default();
        let bare = named.iter().filter(|name| compose.means_latest(name, text));
        let bare = bare.map(|name| format!("{name}: its image names no tag, which means `latest`"));
        let short = services.iter().map(|service| self.short(service.name()));
        let other = short.filter(|name| !text.prune && !named.iter().any(|named| named == name));
        bare.chain(other.map(|name| format!("{name}: not in the text, and left alone"))).collect()
    }
}

/// What stays on a service though the text would have it otherwise.
pub(super) fn kept_of_newer(service: &Service, id: JobId) -> Vec<String> {
    let newer = |concern: Concern| concern.mark(service).filter(|job| *job > id);
    let image = newer(Concern::Image).map(|job| format!("keeps the image of the newer job {job}"));
    let running = newer(Concern::Running).map(|job| match service.mode() {
        Mode::Replicated(0) => format!("stays stopped as the newer job {job} wishes"),
        Mode::Replicated(_) | Mode::Global | Mode::Job => format!("runs as the newer job {job} wishes"),
    });
    [image, running].into_iter().flatten().collect()
}

/// The text stands, and yet not all of what was wished was done.
fn not_removed(removed: &[String], refused: &[String]) -> Reason {
    let mut text = format!("all of the text runs, but not removed: {}", refused.join("; "));
    if !removed.is_empty() {
        text = format!("{text}; removed: {}", removed.join(", "));
    }
    Reason::new(reason::REFUSED, text)
}

/// Whether the text changed nothing of any service but marks.
fn is_untouched(services: &[Service], id: JobId) -> bool {
    let of_it = || services.iter().filter(|service| Concern::Stack.mark(service) == Some(id));
    of_it().next().is_some() && of_it().all(Service::was_relabelled)
}

fn half_back(target: &TargetName, stays: &[String]) -> String {
    format!(
        "mend the compose file, then deploy it again; what else it changed stands ({}): to take that back too, deploy the \
         file from before (`longshore stack show {target} --before`)",
        stays.join(", ")
    )
}

fn course(service: Option<&Service>, id: JobId) -> Course {
    let Some(service) = service else { return Course::Changed("somebody else removed the service") };
    match Concern::Stack.mark(service) {
        Some(newer) if newer > id => Course::Newer(newer),
        Some(_) | None if runs_out(service) => Course::OneShot(Box::new(service.clone())),
        Some(mine) if mine == id => Course::Watch(Box::new(service.clone())),
        Some(_) | None if service.fence.trying == Some(id) => Course::Watch(Box::new(service.clone())),
        Some(_) | None => Course::Changed("somebody else deployed the service meanwhile"),
    }
}

fn changed_elsewhere(what: &str) -> Outcome {
    let end = End::Superseded { by: None, reason: Reason::new(reason::CHANGED_ELSEWHERE, what) };
    Outcome::of(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_removed_is_told_with_what_was() {
        let refused = not_removed(&["old".to_owned()], &["side (no)".to_owned(), "tail (no)".to_owned()]);
        assert_eq!(refused.text, "all of the text runs, but not removed: side (no); tail (no); removed: old");
        assert_eq!(
            not_removed(&[], &["a (no)".to_owned()]).text,
            "all of the text runs, but not removed: a (no)"
        );
    }
}
