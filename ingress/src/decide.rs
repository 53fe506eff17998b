//! What people decide of a job after it was accepted: replay it, discard it, call it off.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proto::{
    Cause, CauseKind, ChainId, Gates, Job, JobId, Operation, State,
    api::{JobName, LetterName},
};
use queue::{Closed, DeadLetter, QueueError, SayError};

use crate::{
    ingress::Ingress,
    letters::{death_in, id_in, name_of},
    refusal::Refusal,
    timeline::{self, TimelineError, told_since},
};

/// How long the ingress may take to have read everything that was said.
const READY_WITHIN: Duration = Duration::from_secs(5);
/// A `dead` is said before its letter is written: for this long after it the letter may be on its way.
const LETTER_FOLLOWS_WITHIN: Duration = Duration::from_secs(60);
/// How far the broker's clock may be behind that of whoever accepted a job.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);
/// The longest deadline of a job, and how much longer than the job it calls off a cancel is kept.
const LONGEST_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);
const CANCEL_OUTLIVES: Duration = Duration::from_secs(15 * 60);

impl Ingress {
    /// Makes a new job of a dead one, and closes the letters of the dead one. `force`: also where a newer job was
    /// applied since.
    pub(crate) async fn replay(&self, name: JobName, force: bool) -> Result<Job, Refusal> {
        self.know_all().await?;
        let _turn = self.letters.turn().await;
        let letters = self.letters_of(name).await?;
        let Some((letter, dead)) = letters.iter().find_map(|letter| Some((letter, letter.job()?))) else {
            let unreadable = |letter| not_to_be_replayed(letter);
            return Err(letters.first().map_or(Refusal::Unknown(name), unreadable));
        };
        self.check_not_replayed(dead.id, &letters).await?;
        if !force && let Some((newer, state)) = self.weighed(&dead).await? {
            return Err(Refusal::NewerApplied { newer, state });
        }
        self.tell_death(letter).await?;
        let dead = self.as_it_waited(dead).await?;
        // All that took its time, in which another ingress may have decided.
        self.letters_of(name).await?;
        let deadline = self.known.targets().get(&dead.target).map(|target| target.deadline);
        let job = self.intake.add(|id, now| again(&dead, id, now, deadline)).await?;
        match self.letters.close(&letters, &Closed::Replayed { by: job.id }).await {
            Ok(Closed::Replayed { by }) if by == job.id => {}
            // Within the moment between the look and the publish: the new job is durable, and goes its way.
            Ok(first) => {
                tracing::warn!(job = %dead.id, by = %job.id, ?first, "replayed, though somebody decided otherwise in the same moment")
            }
            Err(error) => {
                // The new job says what it replays: the letters are closed when that is seen.
                let error = &error as &dyn std::error::Error;
                tracing::warn!(job = %dead.id, by = %job.id, error, "replayed, and its dead letter could not be closed yet");
            }
        }
        Ok(job)
    }

    /// Closes the letters of what nobody wants carried out any more. `force`: also where one could be replayed, were it known
    /// who left it.
    pub(crate) async fn discard(
        &self,
        name: JobName,
        force: bool,
        by: String,
    ) -> Result<Vec<LetterName>, Refusal> {
        self.know_all().await?;
        let _turn = self.letters.turn().await;
        let letters = self.letters_of(name).await?;
        let stranger = letters.iter().find_map(|letter| Some((name_of(letter), letter.left_behind()?.1)));
        if let Some((letter, user)) = stranger.filter(|_| !force) {
            return Err(Refusal::Replayable { letter, user: user.to_owned() });
        }
        if let Some(letter) = letters.first() {
            self.tell_death(letter).await?;
        }
        let how = Closed::Discarded { by: Some(by) };
        let first = self.letters.close(&letters, &how).await?;
        if first == how {
            // What was replayed before the letter was closed has been said by now, and is read here.
            if let Err(error) = self.know_all().await {
                tracing::debug!(job = %name, error = &error as &dyn std::error::Error, "closed, and it is not known whether it was replayed");
            }
        }
        let id = letters.first().and_then(id_in);
        let replay = id.and_then(|id| self.view.replayed().get(&id).copied());
        match (id, first) {
            (Some(id), Closed::Replayed { by }) => Err(Refusal::Closed { id, by: Some(by) }),
            (Some(id), _) if replay.is_some() => Err(Refusal::Closed { id, by: replay }),
            (Some(id), first) if first != how => Err(Refusal::Closed { id, by: None }),
            _ => Ok(letters.iter().map(name_of).collect()),
        }
    }

    /// Makes a job that calls `id` off, unless one is under way.
    pub(crate) async fn cancel(&self, id: JobId, by: String) -> Result<Job, Refusal> {
        self.know_all().await?;
        let _turn = self.letters.turn().await;
        let found = timeline::of(&self.queue, &self.view, id).await?;
        let found = found.ok_or(Refusal::Unknown(JobName::Job(id)))?;
        let (job, state) = (found.job, found.state);
        if state.is_end() {
            return Err(Refusal::Ended { id, state });
        }
        if let Some(made) = self.stands_for(&job).await? {
            return Err(Refusal::Approved { id, made });
        }
        match (&job.operation, self.view.open_cancel_of(id)) {
            (Operation::Cancel { .. }, _) => Err(Refusal::IsCancel(id)),
            (_, Some(cancel)) => Ok(cancel),
            (_, None) => Ok(self.intake.add(|new, now| cancel(&job, new, now, by)).await?),
        }
    }

    /// Refuses to let go of a job that somebody called off: whoever did that is told that it worked, as soon as a worker is
    /// there to do it, so nothing may run in the meantime in its place.
    pub(crate) fn not_called_off(&self, id: JobId) -> Result<(), Refusal> {
        match self.view.open_cancel_of(id) {
            Some(cancel) => Err(Refusal::CalledOff { id, cancel: cancel.id }),
            None => Ok(()),
        }
    }

    /// Waits until everything that was said before has been read: nothing is decided on old news.
    pub(crate) async fn know_all(&self) -> Result<(), Refusal> {
        if !self.ready_within(READY_WITHIN).await {
            return Err(Refusal::Starting);
        }
        if !self.queue.is_available() {
            return Err(Refusal::Away);
        }
        self.intake.chronicle().catch_up(READY_WITHIN).await.map(drop).map_err(|error| match error {
            // No broker is away, and bringing one back would help nobody.
            SayError::Queue(error @ QueueError::Storage { .. }) => Refusal::Queue(error),
            error @ (SayError::Queue(_) | SayError::Unseen(_)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "nothing can be decided now");
                Refusal::Away
            }
        })
    }

    /// The open letters of a dead job, at least one; where there are none, the reason why.
    async fn letters_of(&self, name: JobName) -> Result<Vec<DeadLetter>, Refusal> {
        let letters = self.letters.of(name).await?;
        match (letters.first().map(id_in), name) {
            (Some(Some(id)), _) => self.check_not_ended_well(id).map(|()| letters),
            (Some(None), _) => Ok(letters),
            (None, JobName::Letter(_)) => Err(Refusal::Unknown(name)),
            (None, JobName::Job(id)) => Err(self.why_no_letter(id).await?),
        }
    }

    /// The first end counts: a letter of a job that ended otherwise is void.
    fn check_not_ended_well(&self, id: JobId) -> Result<(), Refusal> {
        match self.view.state(id) {
            Some(state) if state.is_end() && state != State::Dead => Err(Refusal::NotDead { id, state }),
            Some(_) | None => Ok(()),
        }
    }

    async fn why_no_letter(&self, id: JobId) -> Result<Refusal, TimelineError> {
        let Some(found) = timeline::of(&self.queue, &self.view, id).await? else {
            return Ok(Refusal::Unknown(JobName::Job(id)));
        };
        if found.state != State::Dead {
            return Ok(Refusal::NotDead { id, state: found.state });
        }
        let by = self.view.replayed().get(&id).copied();
        let died_at = found.events.last().map(|(_, event)| event.time);
        let is_fresh = died_at.is_some_and(|died_at| Timestamp::now() < died_at + LETTER_FOLLOWS_WITHIN);
        let is_closed = by.is_some() || self.letters.was_closed(id);
        if !is_closed {
            match self.letters.left_behind_of(id).await {
                Ok(Some(letter)) => return Ok(not_to_be_replayed(&letter)),
                Ok(None) => {}
                Err(error) => return Ok(Refusal::Queue(error)),
            }
        }
        if !is_fresh || is_closed {
            return Ok(Refusal::Closed { id, by });
        }
        // Where its letter was written before, another ingress has closed it meanwhile.
        let since = found.job.accepted_at.saturating_sub(CLOCKS_DIFFER).unwrap_or(Timestamp::UNIX_EPOCH);
        match self.queue.was_buried(id, since).await {
            Ok(true) => Ok(Refusal::Closed { id, by }),
            Ok(false) => Ok(Refusal::JustDied(id)),
            Err(error) => Ok(Refusal::Queue(error)),
        }
    }

    /// A replay whose letters could not be closed is finished, not repeated.
    async fn check_not_replayed(&self, id: JobId, letters: &[DeadLetter]) -> Result<(), Refusal> {
        let Some(by) = self.view.replayed().get(&id).copied() else { return Ok(()) };
        self.letters.close(letters, &Closed::Replayed { by }).await?;
        Err(Refusal::Closed { id, by: Some(by) })
    }

    /// The same as [`Ingress::newer_rival`], for one who may go on without knowing.
    pub(crate) async fn weighed(&self, job: &Job) -> Result<Option<(JobId, State)>, Refusal> {
        self.newer_rival(job).await.map_err(Refusal::Unweighed)
    }

    /// The newest job that stands in the way of an older one, as far back as that was accepted.
    async fn newer_rival(&self, dead: &Job) -> Result<Option<(JobId, State)>, TimelineError> {
        let known = self.view.newer_rival(dead);
        let since = told_since(dead.id, [dead.accepted_at]);
        if known.is_some() || (self.read_since <= since && self.view.remembers_from(dead.id)) {
            return Ok(known);
        }
        let past = timeline::of_target(&self.queue, &self.view, &dead.target, since).await?;
        Ok(past.newer_rival(dead))
    }

    /// Says that a job is dead which the broker itself put aside, before its letter is closed: who reads the
    /// history must not wait for ever.
    pub(crate) async fn tell_death(&self, letter: &DeadLetter) -> Result<(), Refusal> {
        let Some(event) = death_in(letter) else { return Ok(()) };
        let id = event.job_id();
        let ended = self.view.state(id).is_some_and(State::is_end);
        if !ended && timeline::end_of(&self.queue, &self.view, (id, letter)).await?.is_none() {
            self.queue.emit(&event).await?;
        }
        Ok(())
    }
}

/// Why no letter of some can be replayed.
fn not_to_be_replayed(letter: &DeadLetter) -> Refusal {
    let name = name_of(letter);
    match letter.left_behind() {
        Some((_, user)) => Refusal::LeftBy { letter: name, user: user.to_owned() },
        None => Refusal::Unreadable(name),
    }
}

/// The dead job once more: same cause, same chain, a new id, and its time begins anew. That it had to wait for its time is
/// left in it, also where that is over: a push that came of age is the image that it waited with, and not what its tag
/// points to when it is carried out.
fn again(dead: &Job, id: JobId, now: Timestamp, deadline: Option<Duration>) -> Job {
    let lasts = deadline.unwrap_or_else(|| had(dead));
    // Somebody asks for this very image now, whatever was pushed since.
    let gates = Gates { upward: false, ..dead.gates.clone() };
    Job { id, accepted_at: now, gates, replays: Some(dead.id), ..dead.clone() }.lasting(lasts)
}

/// How long a job had to be carried out in, from when it could run.
pub(crate) fn had(job: &Job) -> Duration {
    let had = job.deadline.duration_since(job.may_run_from());
    Duration::try_from(had).unwrap_or_default().clamp(Duration::from_secs(1), LONGEST_DEADLINE)
}

/// The wish that `job` be called off. It waits for as long as the job may.
fn cancel(job: &Job, id: JobId, now: Timestamp, by: String) -> Job {
    let operation = Operation::Cancel { job: job.id };
    let latest = now + LONGEST_DEADLINE;
    Job {
        version: Job::VERSION,
        id,
        chain: ChainId::of(id),
        target: job.target.clone(),
        slots: operation.slots(),
        operation,
        cause: Cause { kind: CauseKind::Api, source: None, by: Some(by), delivery: None },
        accepted_at: now,
        not_before: None,
        deadline: (job.deadline.max(now) + CANCEL_OUTLIVES).min(latest),
        gates: Gates::default(),
        replays: None,
        traceparent: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::samples;

    #[test]
    fn a_replay_of_what_came_of_age_still_says_that_it_had_to() {
        let (now, minute) = (Timestamp::now(), Duration::from_secs(60));
        let mut dead = samples::job(JobId::mint(now, None), "web");
        (dead.accepted_at, dead.not_before) = (now - 2 * minute, Some(now - minute));
        let replay = again(&dead, dead.id.successor(), now, None);
        assert_eq!(
            (replay.not_before, replay.is_gated()),
            (dead.not_before, false),
            "by it workers know the image"
        );
        assert_eq!((replay.may_run_from(), replay.cause == dead.cause), (now, true));
        dead.not_before = Some(now + minute);
        assert!(again(&dead, dead.id.successor(), now, None).is_gated(), "it waits on");
    }
}
