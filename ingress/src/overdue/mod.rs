//! Jobs that nobody is left to end: no worker came, or the last one fell silent, or their message was lost.
//!
//! Every ingress looks for them. Several that find the same job say the same event, and the first end in the history
//! counts; a second letter of one job is closed with the first.

mod book;
mod letters;
mod past;
mod resend;
mod word;

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    mem,
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use proto::{Event, Job, JobId, Reason, State, reason};
use queue::{LetterId, Position, QueueError, SayError, Since};
use tokio::time::{Instant, sleep};

use self::past::Trace;
use crate::{
    ingress::Ingress,
    letters::id_in,
    settings::Settings,
    timeline::{TimelineError, told_since},
};

pub(crate) use book::OpenJobs;
pub(crate) use resend::AFTER as RESEND_AFTER;

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

/// How long a job can be open beside its hold: the longest deadline, and a day in which ingresses may be stopped.
const OPEN_FOR: SignedDuration = SignedDuration::from_hours(2 * 24);

/// How long the history may take to show what was said.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// Looks for jobs that nobody is left to end, for ever.
pub(crate) struct Watch {
    ingress: Arc<Ingress>,
    /// As the configuration said at the last look.
    after: Duration,
    /// Letters whose job's end was found in the history.
    accounted: HashSet<LetterId>,
    /// Since when the broker is there and has not everything that was accepted here.
    handing_over: Option<Instant>,
    round: u32,
    /// Something was put off in this round, or in the last one.
    complained: [bool; 2],
}

/// Why a round was left off, or a job was put off. The next round goes on.
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
    pub(crate) fn new(ingress: Arc<Ingress>) -> Watch {
        Watch {
            after: ingress.settings().overdue_after,
            ingress,
            accounted: HashSet::new(),
            handing_over: None,
            round: 0,
            complained: [false; 2],
        }
    }

    pub(crate) async fn keep(mut self) {
        let mut was_quiet = false;
        loop {
            self.after = self.ingress.settings().overdue_after;
            let pause = (self.after / LOOKS).clamp(MOST_OFTEN, LEAST_OFTEN);
            // Not all replicas at once: the first says it, the others find it said.
            sleep(pause.mul_f64(0.5 + rand::random::<f64>())).await;
            // After the broker was away, workers and spools come first: they know better how a job ended.
            let is_quiet = self.is_quiet();
            if is_quiet
                && was_quiet
                && let Err(halt) = self.look().await
            {
                self.complain("jobs that nobody ends could not be looked for, trying again", &halt);
            }
            was_quiet = is_quiet;
        }
    }

    /// Whether the broker is there and has everything that was accepted here, or would have it by now: what it will
    /// not take, as where a queue is full for good, keeps no other job from its end.
    fn is_quiet(&mut self) -> bool {
        let spooled = self.ingress.spool.as_ref().is_some_and(|spool| spool.is_handing_over());
        if !self.ingress.is_ready() || !self.ingress.queue.is_available() || !spooled {
            self.handing_over = None;
            return self.ingress.is_ready() && self.ingress.queue.is_available();
        }
        self.handing_over.get_or_insert_with(Instant::now).elapsed() >= self.after
    }

    async fn look(&mut self) -> Result<(), Halt> {
        self.complained = [false, self.complained[0]];
        self.know_the_past().await?;
        self.resend_unheard().await?;
        let overdue = self.ingress.open_jobs.overdue(Timestamp::now(), self.after, MOST_AT_ONCE);
        let reads_letters = self.round.is_multiple_of(ROUNDS_PER_READING);
        self.round = self.round.wrapping_add(1);
        if overdue.is_empty() && !reads_letters {
            return Ok(());
        }
        // In this order: whoever wrote a letter that is read here has said before that its job is dead.
        let read = self.ingress.letters.look_through(|letters| letters).await;
        let overdue = if self.may_judge(&overdue).await? { overdue } else { Vec::new() };
        let head = self.ingress.intake.chronicle().catch_up(SEEN_WITHIN).await?;
        match read {
            Ok(letters) => {
                let laid_aside = letters.iter().filter_map(id_in).collect();
                self.end_all(overdue, head, &laid_aside).await?;
                self.account_for(letters, head).await
            }
            Err(error) => {
                self.go_on_without("the dead letters could not be read", error.into())?;
                // A second letter of a job is closed with the first.
                self.end_all(overdue, head, &HashSet::new()).await
            }
        }
    }

    /// Whether this machine's clock may say of other machines' jobs that their time is over.
    async fn may_judge(&mut self, overdue: &[(JobId, Position)]) -> Result<bool, Halt> {
        if overdue.is_empty() {
            return Ok(true);
        }
        let chronicle = self.ingress.intake.chronicle();
        match chronicle.is_ahead(Timestamp::now(), self.after / 2).await {
            Ok(false) => Ok(true),
            Ok(true) => {
                tracing::debug!(jobs = overdue.len(), "no job is given up by a clock that is ahead");
                Ok(false)
            }
            Err(error) => {
                self.go_on_without("the clock could not be compared with the broker's", error.into())?;
                Ok(true)
            }
        }
    }

    /// Takes in the jobs that were open before the history was followed, and those for which there was no room.
    async fn know_the_past(&mut self) -> Result<(), Halt> {
        let ingress = &self.ingress;
        let Some(head) = ingress.view.head() else { return Ok(()) };
        if !ingress.open_jobs.asks_for_the_past() {
            return Ok(());
        }
        let since = Since::Time(Timestamp::now() - OPEN_FOR - longest_hold(&ingress.settings()));
        match past::open_jobs(&ingress.queue, since, head).await {
            Ok((past, held)) => {
                ingress.open_jobs.add(past);
                held.iter().for_each(|(first, event)| ingress.view.remember(*first, event));
            }
            Err(error) => {
                ingress.open_jobs.ask_again();
                self.go_on_without("jobs of some days ago could not be looked for yet", error.into())?;
            }
        }
        Ok(())
    }

    /// Ends the jobs whose time is over, unless the history knows better.
    async fn end_all(
        &mut self,
        overdue: Vec<(JobId, Position)>,
        head: Position,
        laid_aside: &HashSet<JobId>,
    ) -> Result<(), Halt> {
        let traces = self.traces(self.places(&overdue), head).await?;
        for (id, _) in overdue {
            let Some(trace) = traces.get_or_put_off(id) else {
                self.put_off(id);
                continue;
            };
            if let Err(halt) = self.end(id, trace, laid_aside.contains(&id)).await {
                self.go_on_without("a job that nobody ends could not be ended, it is put off", halt)?;
                self.put_off(id);
            }
        }
        Ok(())
    }

    /// Where the history begins to tell of each of these, the oldest first. Of a job that the view has forgotten something may
    /// have been said behind its end, by which alone it seemed to be open: it is looked for from when it was made.
    fn places(&self, jobs: &[(JobId, Position)]) -> Vec<(JobId, Since)> {
        let (known, forgotten): (Vec<_>, Vec<_>) =
            jobs.iter().partition(|(id, _)| self.ingress.view.get(*id).is_some());
        let made = forgotten.iter().map(|(id, _)| told_since(*id, None)).min();
        let forgotten = forgotten.into_iter().zip(made.into_iter().cycle());
        let forgotten = forgotten.map(|((id, _), made)| (id, Since::Time(made)));
        forgotten.chain(known.into_iter().map(|(id, first)| (id, after_what_is_before(first)))).collect()
    }

    /// What the history says of each job; `wanted` tells where it begins to, the oldest first. Where it cannot be
    /// read from there on, the older half is left out.
    async fn traces(&mut self, mut wanted: Vec<(JobId, Since)>, head: Position) -> Result<Traces, Halt> {
        let mut traces = Traces::default();
        while let Some((_, since)) = wanted.first() {
            let ids = wanted.iter().map(|(id, _)| *id).collect();
            match past::traces(&self.ingress.queue, (*since, head), ids).await {
                Ok(found) => {
                    traces.found = found;
                    break;
                }
                Err(error) => {
                    self.go_on_without("the history of some jobs could not be read", error.into())?;
                    let older = wanted.len().div_ceil(2);
                    traces.left_out.extend(wanted.drain(..older).map(|(id, _)| id));
                }
            }
        }
        Ok(traces)
    }

    /// Lets a job be looked at again later.
    fn put_off(&self, id: JobId) {
        self.ingress.open_jobs.put_off(id, Timestamp::now());
    }

    /// Ends a job whose time is over, unless what was found in the history knows better.
    async fn end(&self, id: JobId, trace: Option<&Trace>, is_laid_aside: bool) -> Result<(), Halt> {
        let ingress = &self.ingress;
        let nothing = Trace::default();
        let trace = trace.unwrap_or(&nothing);
        if !ingress.open_jobs.has(id) {
            // Ended while others were looked at.
            return Ok(());
        }
        let (known, state) = ingress.view.get(id).unzip();
        // What is said of a job behind its end makes it seem open, and its trace begins there.
        let end = trace.end.or(state.filter(|state| state.is_end()));
        let (None, Some(job)) = (end, trace.job.clone().or(known)) else {
            ingress.open_jobs.forget(id);
            return Ok(());
        };
        if let Some(open) = trace.open.filter(|open| !open.is_overdue(Timestamp::now(), self.after)) {
            ingress.open_jobs.put_off(id, open.due);
            return Ok(());
        }
        let (reason, attempts) = (verdict(&job, trace.was_taken), trace.attempts);
        tracing::warn!(job = %id, target = %job.target, why = reason.text, "a job that nobody ended is given up");
        if !is_laid_aside {
            let body = job.encode().into();
            ingress.queue.bury(body, job.target.pool(), attempts, &reason).await?;
        }
        let mut event = Event::of(&job, State::Dead, attempts, 0);
        event.data.reason = Some(reason);
        event.data.took_ms = took_ms(&job, event.time);
        ingress.intake.chronicle().say(&event, SEEN_WITHIN).await?;
        Ok(())
    }

    /// Leaves the rest of the round when the broker is away; else the round goes on without what failed.
    fn go_on_without(&mut self, what: &'static str, halt: Halt) -> Result<(), Halt> {
        if !self.ingress.queue.is_available() {
            return Err(halt);
        }
        self.complain(what, &halt);
        Ok(())
    }

    /// Tells of a failure, aloud once until two rounds went well.
    fn complain(&mut self, what: &'static str, halt: &Halt) {
        let error = halt as &dyn Error;
        let is_known = mem::replace(&mut self.complained[0], true) || self.complained[1];
        if is_known || !self.ingress.queue.is_available() {
            tracing::debug!(error, "{what}");
        } else {
            tracing::warn!(error, "{what}");
        }
    }
}

/// What the history says of some jobs.
#[derive(Default)]
struct Traces {
    found: HashMap<JobId, Trace>,
    /// Of these it could not be read.
    left_out: HashSet<JobId>,
}

impl Traces {
    /// None when the job is to be put off; within, none when the history has nothing of it.
    fn get_or_put_off(&self, id: JobId) -> Option<Option<&Trace>> {
        (!self.left_out.contains(&id)).then(|| self.found.get(&id))
    }
}

fn after_what_is_before(first: Position) -> Since {
    first.0.checked_sub(1).map_or(Since::Start, |before| Since::After(Position(before)))
}

/// Why a job without an end is given up.
fn verdict(job: &Job, was_taken: bool) -> Reason {
    let pool = job.target.pool();
    if was_taken {
        let text = "its deadline is long past, and no worker said how it ended";
        return Reason::new(reason::NO_END, text).hint(format!(
            "look at the target and at the logs of the workers of the pool `{pool}`, then replay it"
        ));
    }
    let text = if job.gates.approve {
        format!("it was not approved in time, and no worker of the pool `{pool}` said so")
    } else {
        format!("no worker of the pool `{pool}` began with it before its deadline")
    };
    let hint =
        format!("start a worker whose configuration has a system in the pool `{pool}`, then replay it");
    Reason::new(reason::NO_WORKER, text).hint(hint)
}

fn took_ms(job: &Job, now: Timestamp) -> Option<u64> {
    u64::try_from(now.duration_since(job.accepted_at).as_millis()).ok()
}

/// How long a job can be held at most.
fn longest_hold(settings: &Settings) -> SignedDuration {
    let configured = settings.declared.iter().filter_map(|target| target.hold_for);
    let configured = configured.filter_map(|hold| SignedDuration::try_from(hold).ok());
    configured.fold(Job::LONGEST_HOLD, SignedDuration::max)
}
