//! A text of which only a part was written: the docker command refused the rest, or nobody may carry it out any more.
//! It writes the services one after the other, so this is no rare thing.

use futures::future::join_all;
use proto::{JobId, Reason, StackText, reason};
use tokio::sync::mpsc;

use super::{
    super::{
        SwarmStack,
        back::mend_the_text,
        lifecycle::{Concern, last_job},
        service::Service,
        stack::{end::end_of_all, gather::gather, watch::Until},
    },
    compose::Compose,
    runs_out,
};
use crate::target::{End, Outcome, Progress, Standing, TargetError, Wanted};

/// For the parts of a reason: the whole of it is told once.
const THE_REST: &str = "the rest of the text was not written";

impl SwarmStack {
    /// Takes back what was written where the target asks for that; watches it to its end otherwise. Either way it is told.
    pub(in crate::target::swarm) async fn text_half_way(
        &self,
        (wanted, text): (&Wanted, &StackText),
        why: Reason,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let id = wanted.job.id;
        let compose = Compose::read(text).map_err(|why| self.declined(why))?;
        let services = self.services().await?;
        let (mut written, mut missing) = (Vec::new(), Vec::new());
        for name in compose.services().map_err(|why| self.declined(why))? {
            let full = self.scoped(&name);
            match services.iter().find(|service| service.name() == full && is_written(service, id)) {
                Some(service) => written.push((name, self.put_back_newer(id, service.clone()).await?)),
                None => missing.push(name),
            }
        }
        let names: Vec<String> = written.iter().map(|(name, _)| name.clone()).collect();
        let (reports, gathering) = gather(&names, progress);
        let following = written.into_iter().zip(reports).map(|((name, service), report)| async move {
            let outcome = if self.policy.rollback {
                Box::pin(self.take_back(&service, wanted, &report)).await?
            } else if runs_out(&service) {
                Outcome::of(End::Converged)
            } else {
                self.watch_written(service, wanted, (&Until::TheEnd, report)).await?
            };
            Ok::<_, TargetError>((name, outcome))
        });
        let (outcomes, ()) = tokio::join!(join_all(following), gathering);
        let outcomes = outcomes.into_iter().collect::<Result<Vec<_>, TargetError>>()?;
        let hint = mend_the_text(&wanted.job.target);
        let as_wished = "runs as the text has it";
        let end = InPart { outcomes: &outcomes, missing: &missing, why, hint, as_wished }.end();
        Ok(Outcome { end, ..end_of_all(outcomes, Vec::new()) })
    }

    /// One service goes back to what it was; one that was not there goes.
    async fn take_back(
        &self,
        service: &Service,
        wanted: &Wanted,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Outcome, TargetError> {
        let id = wanted.job.id;
        if let Some(by) = last_job(service).filter(|last| *last > id && service.previous().is_none()) {
            let reason = Reason::new(reason::NEWER_WISH, format!("left to the newer job {by}"));
            return Ok(Outcome::of(End::Superseded { by: Some(by), reason }));
        }
        let is_new = service.previous().is_none() && service.update().is_none();
        if is_new && service.fence.back != Some(id) {
            self.swarm.client.remove_service(&service.id).await?;
            let gone = Reason::new(reason::ROLLED_BACK, "was not there before the text, and is removed");
            let output = vec![gone.text.clone()];
            return Ok(Outcome { output, ..Outcome::of(End::RolledBack(gone)) });
        }
        let tried = service.fence.trying_image.clone();
        let image = if service.fence.back == Some(id) {
            tried.or(service.image())
        } else {
            service.image().or(tried)
        };
        let wanted = Wanted { job: wanted.job.clone(), image };
        let why = Reason::new(reason::REFUSED, THE_REST);
        self.service(service.name()).take_back(&wanted, why, progress).await
    }
}

/// What is told of a job of which a part was written.
pub(in crate::target::swarm) struct InPart<'a> {
    pub(in crate::target::swarm) outcomes: &'a [(String, Outcome)],
    /// What was not written.
    pub(in crate::target::swarm) missing: &'a [String],
    pub(in crate::target::swarm) why: Reason,
    /// Where the reason has none of its own.
    pub(in crate::target::swarm) hint: String,
    /// How a service that runs as it should does so.
    pub(in crate::target::swarm) as_wished: &'static str,
}

impl InPart<'_> {
    pub(in crate::target::swarm) fn end(self) -> End {
        let went_back: Vec<String> = names(self.outcomes, |end| matches!(end, End::RolledBack(_)));
        let staying = |(name, outcome): &(String, Outcome)| staying(name, &outcome.end, self.as_wished);
        let stay: Vec<String> = self.outcomes.iter().filter_map(staying).collect();
        let mut text = self.why.text;
        let mut add = |what: &str, names: &[String]| {
            if !names.is_empty() {
                text = format!("{text}; {what}: {}", names.join(", "));
            }
        };
        add("not written", self.missing);
        add("written before that, and taken back", &went_back);
        let is_back = !went_back.is_empty() && stay.is_empty();
        add("written before that", &stay);
        match is_back {
            true => End::RolledBack(Reason::new(reason::ROLLED_BACK, text).hint(self.hint)),
            false => {
                let hint = self.why.hint.or(Some(self.hint));
                End::Failed(Reason { text, hint, code: self.why.code })
            }
        }
    }
}

fn names(outcomes: &[(String, Outcome)], is_it: impl Fn(&End) -> bool) -> Vec<String> {
    outcomes.iter().filter(|(_, outcome)| is_it(&outcome.end)).map(|(name, _)| name.clone()).collect()
}

/// How it stands with a service that did not go back.
fn staying(name: &str, end: &End, as_wished: &str) -> Option<String> {
    match end {
        End::RolledBack(_) => None,
        End::Converged => Some(format!("{name} ({as_wished})")),
        End::Failed(reason) | End::Superseded { reason, .. } => Some(format!("{name} ({})", reason.text)),
    }
}

/// Whether the service stands as the text of `id` has it, or went back from that already.
fn is_written(service: &Service, id: JobId) -> bool {
    Concern::Stack.standing(service, id) == Standing::Applied
}
