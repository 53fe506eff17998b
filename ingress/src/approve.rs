//! Approving what waits for it: a job of its own is made of the held one, which ends once that has run.

use std::time::Duration;

use jiff::Timestamp;
use proto::{Cause, CauseKind, Event, Gates, Job, JobId, State, api::JobName};
use queue::Position;

use crate::{
    decide::had,
    ingress::Ingress,
    refusal::Refusal,
    timeline::{self, TimelineError, told_since},
    view::View,
};

impl Ingress {
    /// Makes a job of one that waits to be approved; where that was done before, names the job made then. `force`: also
    /// where a newer one for the same thing was applied since, or waits.
    pub(crate) async fn approve(&self, id: JobId, force: bool, by: String) -> Result<Job, Refusal> {
        self.know_all().await?;
        let _turn = self.letters.turn().await;
        let found = timeline::of(&self.queue, &self.view, id).await?;
        let found = found.ok_or(Refusal::Unknown(JobName::Job(id)))?;
        let (held, state) = (found.job.clone(), found.state);
        let made = self.made_of(&held).await?;
        if let Some((made, made_state)) = made
            && (state.is_end() || !leaves_it_held(made_state))
        {
            return Ok(made);
        }
        waits_for_approval(&held, state)?;
        self.not_called_off(id)?;
        // Once approved, it counts as wished now: what was wished after it, and waits, would give way to it.
        let newer = if force { None } else { self.weighed(&held).await?.or(self.view.newer_held(&held)) };
        if let Some((newer, state)) = newer {
            return Err(Refusal::NewerApplied { newer, state });
        }
        let held = self.with_its_image(held, &found.events);
        let declared = self.known.targets().get(&held.target).map(|target| target.deadline);
        let lasts = declared.unwrap_or_else(|| had(&held));
        let upward = held.gates.upward && !force;
        Ok(self.intake.add(|id, now| approved(&held, (id, now, lasts), upward, by)).await?)
    }

    /// A job that waits, or waited, for the very image that workers told it waits with: what its tag points to by now
    /// is none that somebody approved, or that has come of age.
    fn with_its_image(&self, job: Job, events: &[(Position, Event)]) -> Job {
        let told = || events.iter().find_map(|(_, event)| event.awaited_image().cloned());
        match self.view.awaited_image(job.id).or_else(told) {
            Some(image) => job.pinned_to(&image),
            None => job,
        }
    }

    /// The same of a job of which no more is known than its letter.
    pub(crate) async fn as_it_waited(&self, dead: Job) -> Result<Job, TimelineError> {
        if dead.image_that_waits().is_none_or(|image| image.digest().is_some()) {
            return Ok(dead);
        }
        let told = timeline::of(&self.queue, &self.view, dead.id).await?;
        let events = told.map(|told| told.events).unwrap_or_default();
        Ok(self.with_its_image(dead, &events))
    }

    /// The job that an approval made of a held one, where that one has run or is going to.
    pub(crate) async fn stands_for(&self, held: &Job) -> Result<Option<JobId>, TimelineError> {
        if !held.gates.approve {
            return Ok(None);
        }
        let made = self.made_of(held).await?;
        Ok(made.filter(|(_, state)| !leaves_it_held(*state)).map(|(job, _)| job.id))
    }

    /// The newest job that an approval made of `held`, and its state, as far back as that was accepted.
    async fn made_of(&self, held: &Job) -> Result<Option<(Job, State)>, TimelineError> {
        let made_in = |view: &View| {
            let made = view.get(view.replayed().get(&held.id).copied()?);
            made.filter(|(job, _)| job.cause.kind == CauseKind::Approve)
        };
        let (known, since) = (made_in(&self.view), told_since(held.id, [held.accepted_at]));
        if known.is_some() || (self.read_since <= since && self.view.remembers_from(held.id)) {
            return Ok(known);
        }
        let past = timeline::of_target(&self.queue, &self.view, &held.target, since).await?;
        Ok(made_in(&past))
    }
}

/// Whether the held job goes on waiting after the one made of it ended so: that one never ran.
fn leaves_it_held(made: State) -> bool {
    match made {
        State::Dead | State::Superseded | State::Rejected | State::Cancelled => true,
        State::Accepted
        | State::Held
        | State::Started
        | State::Progress
        | State::Retrying
        | State::Succeeded
        | State::RolledBack
        | State::Failed => false,
    }
}

fn waits_for_approval(held: &Job, state: State) -> Result<(), Refusal> {
    let id = held.id;
    if state.is_end() {
        return Err(Refusal::Ended { id, state });
    }
    if !held.gates.approve {
        return Err(Refusal::NeedsNoApproval { id, state });
    }
    let until = held.held_until();
    if until <= Timestamp::now() {
        return Err(Refusal::ApprovalExpired { id, until });
    }
    Ok(())
}

/// The held job once more, approved: it waits for its time and its window as before, and its time begins anew. `upward`:
/// not where a higher version runs.
fn approved(held: &Job, (id, now, lasts): (JobId, Timestamp, Duration), upward: bool, by: String) -> Job {
    // As long anew as it was to wait, for the window that it still has.
    let hold_until = held.gates.hold_until.map(|until| until.duration_since(held.accepted_at));
    let hold_until = hold_until.map(|hold| now.checked_add(hold).unwrap_or(Timestamp::MAX));
    let job = Job {
        id,
        cause: Cause { kind: CauseKind::Approve, by: Some(by), delivery: None, ..held.cause.clone() },
        accepted_at: now,
        not_before: held.not_before.filter(|not_before| *not_before > now),
        gates: Gates { approve: false, hold_until, upward, ..held.gates.clone() },
        replays: Some(held.id),
        ..held.clone()
    };
    job.lasting(lasts)
}
