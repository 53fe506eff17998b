//! Jobs that nobody is left to end: no worker came, or the last one fell silent.
//!
//! Every ingress looks for them. Several that find the same job say the same event, and the first end in the history
//! counts; a second letter of one job is closed with the first.

mod book;

use std::{collections::HashSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use proto::{Event, Job, JobId, Reason, State, reason};
use queue::{Closed, DeadLetter, LetterId, QueueError, SayError};
use tokio::time::sleep;

use crate::{
    ingress::Ingress,
    letters::{death_in, id_in},
    timeline::{self, Timeline, TimelineError},
};

pub(crate) use book::OpenJobs;

/// How long after its deadline a job without an end is given up, unless told otherwise.
pub(crate) const AFTER: Duration = Duration::from_secs(10 * 60);

/// How often it is looked for such jobs: twenty times in that time, within these bounds.
const LOOKS: u32 = 20;
const MOST_OFTEN: Duration = Duration::from_millis(250);
const LEAST_OFTEN: Duration = Duration::from_secs(30);

/// The letters are read in every so many rounds, and in each round that finds a job.
const ROUNDS_PER_READING: u32 = 10;

/// Most jobs ended in one round.
const MOST_AT_ONCE: usize = 200;

/// A letter older than this is left alone: the history may have forgotten its job's end.
const LETTERS_SINCE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long the history may take to show what was said.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// Who closes a letter that is void, where nobody did.
const LONGSHORE: &str = "longshore";

/// Looks for jobs that nobody is left to end, for ever.
pub(crate) struct Watch {
    ingress: Arc<Ingress>,
    after: Duration,
    /// Letters whose job's end was found in the history.
    accounted: HashSet<LetterId>,
    round: u32,
}

/// Why a round was left off. The next one goes on.
#[derive(Debug, thiserror::Error)]
enum Halt {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Said(#[from] SayError),
    #[error(transparent)]
    History(#[from] TimelineError),
}

impl Watch {
    pub(crate) fn new(ingress: Arc<Ingress>, after: Duration) -> Watch {
        Watch { ingress, after, accounted: HashSet::new(), round: 0 }
    }

    pub(crate) async fn keep(mut self) {
        let pause = (self.after / LOOKS).clamp(MOST_OFTEN, LEAST_OFTEN);
        let mut was_quiet = false;
        loop {
            // Not all replicas at once: the first says it, the others find it said.
            sleep(pause.mul_f64(0.5 + rand::random::<f64>())).await;
            // After the broker was away, workers and spools come first: they know better how a job ended.
            let is_quiet = self.is_quiet();
            if is_quiet
                && was_quiet
                && let Err(halt) = self.look().await
            {
                let error = &halt as &dyn std::error::Error;
                tracing::debug!(error, "jobs that nobody ends could not be looked for, trying again");
            }
            was_quiet = is_quiet;
        }
    }

    /// Whether the broker is there and has everything that was accepted here.
    fn is_quiet(&self) -> bool {
        let spooled = self.ingress.spool.as_ref().is_some_and(|spool| spool.status().jobs > 0);
        self.ingress.is_ready() && self.ingress.queue.is_available() && !spooled
    }

    async fn look(&mut self) -> Result<(), Halt> {
        let overdue = self.ingress.open_jobs.overdue(Timestamp::now(), self.after, MOST_AT_ONCE);
        let reads_letters = self.round.is_multiple_of(ROUNDS_PER_READING);
        self.round = self.round.wrapping_add(1);
        if overdue.is_empty() && !reads_letters {
            return Ok(());
        }
        // In this order: whoever wrote a letter that is read here has said before that its job is dead.
        let letters = self.ingress.letters.look_through(|letters| letters).await?;
        self.ingress.intake.chronicle().catch_up(SEEN_WITHIN).await?;
        let laid_aside: HashSet<JobId> = letters.iter().filter_map(id_in).collect();
        self.account_for(letters).await?;
        for id in overdue {
            self.end(id, laid_aside.contains(&id)).await?;
        }
        Ok(())
    }

    /// Ends a job whose time is over, unless the history knows better.
    async fn end(&self, id: JobId, is_laid_aside: bool) -> Result<(), Halt> {
        let ingress = &self.ingress;
        let Some(timeline) = timeline::of(&ingress.queue, &ingress.view, id).await? else {
            ingress.open_jobs.forget(id);
            return Ok(());
        };
        if timeline.is_cut {
            return Err(TimelineError::Away.into());
        }
        if timeline.state.is_end() {
            ingress.open_jobs.forget(id);
            return Ok(());
        }
        if timeline.state == State::Held {
            return Ok(());
        }
        let (reason, attempts) = verdict(&timeline);
        let job = &timeline.job;
        tracing::warn!(job = %id, target = %job.target, why = reason.text, "a job that nobody ended is given up");
        if !is_laid_aside {
            let body = job.encode().into();
            ingress.queue.bury(body, job.target.pool(), attempts, &reason).await?;
        }
        let mut event = Event::of(job, State::Dead, attempts, 0);
        event.data.reason = Some(reason);
        event.data.took_ms = took_ms(job, event.time);
        ingress.intake.chronicle().say(&event, SEEN_WITHIN).await?;
        Ok(())
    }

    /// Every letter is of a job whose end is `dead`: where nobody said so, it is said; where the job ended otherwise
    /// or was replayed, the letter is void and closed.
    async fn account_for(&mut self, letters: Vec<DeadLetter>) -> Result<(), Halt> {
        self.accounted.retain(|known| letters.iter().any(|letter| letter.id == *known));
        let replayed = self.ingress.view.replayed();
        let since = Timestamp::now() - LETTERS_SINCE;
        for letter in letters.iter().filter(|letter| letter.died_at >= since) {
            let Some(id) = id_in(letter) else { continue };
            if let Some(by) = replayed.get(&id) {
                self.close(letter, Closed::Replayed { by: *by }).await?;
            } else if !self.accounted.contains(&letter.id) {
                self.account_for_one(letter, id).await?;
            }
        }
        Ok(())
    }

    async fn account_for_one(&mut self, letter: &DeadLetter, id: JobId) -> Result<(), Halt> {
        let ingress = &self.ingress;
        let known = ingress.view.state(id).filter(|state| state.is_end());
        let end = match known {
            Some(end) => Some(end),
            None => timeline::end_of(&ingress.queue, &ingress.view, id).await?,
        };
        match end {
            Some(State::Dead) => _ = self.accounted.insert(letter.id),
            Some(_) => {
                self.close(letter, Closed::Discarded { by: Some(LONGSHORE.to_owned()) }).await?;
            }
            None => {
                let Some(event) = death_in(letter) else {
                    self.accounted.insert(letter.id);
                    return Ok(());
                };
                tracing::warn!(job = %id, why = letter.reason.text, "a job was laid aside, and nobody said so");
                ingress.intake.chronicle().say(&event, SEEN_WITHIN).await?;
            }
        }
        Ok(())
    }

    async fn close(&self, letter: &DeadLetter, how: Closed) -> Result<(), QueueError> {
        let _turn = self.ingress.letters.turn().await;
        tracing::info!(letter = %letter.id, ?how, "a dead letter is void and closed");
        self.ingress.letters.close(std::slice::from_ref(letter), &how).await
    }
}

/// Why a job without an end is given up, and which attempt was its last.
fn verdict(timeline: &Timeline) -> (Reason, u32) {
    let events = || timeline.events.iter().map(|(_, event)| event);
    let attempts = events().map(|event| event.data.attempt).max().unwrap_or(0);
    let pool = timeline.job.target.pool();
    let reason = if events().any(|event| event.state() == State::Started) {
        let text = "its deadline is long past, and no worker said how it ended";
        Reason::new(reason::NO_END, text).hint(format!(
            "look at the target and at the logs of the workers of the pool `{pool}`, then replay it"
        ))
    } else {
        let text = format!("no worker of the pool `{pool}` began with it before its deadline");
        Reason::new(reason::NO_WORKER, text).hint(format!(
            "start a worker whose configuration has a system in the pool `{pool}`, then replay it"
        ))
    };
    (reason, attempts)
}

fn took_ms(job: &Job, now: Timestamp) -> Option<u64> {
    u64::try_from(now.duration_since(job.accepted_at).as_millis()).ok()
}
