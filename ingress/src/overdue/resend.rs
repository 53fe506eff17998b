//! Jobs whose message is gone though the history has them: somebody deleted or purged a queue, or a broker lost it.
//!
//! Such a job is published once more, with its id. Where its message was only late there are two then, which is harmless: copies
//! of one id meet at the lock and in the history, and what is left of a job that has ended is settled in silence.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;
use proto::{Event, Job, JobId, PoolName, Reason, State, reason};
use queue::Position;

use super::{Halt, MOST_AT_ONCE, SEEN_WITHIN, Watch, past::Trace};

/// How long nothing may be said of a job that waits, unless told otherwise: the longest pause between two attempts (ten
/// minutes), the longest time a worker has a job in hand without a word (eight), and a margin.
pub(crate) const AFTER: Duration = Duration::from_secs(20 * 60);

/// How many of them are looked at in one round: most may be of a pool that has much to do.
const MOST_LOOKED_AT: usize = 10_000;

impl Watch {
    /// Publishes once more what waits in no queue any more.
    pub(super) async fn resend_unheard(&mut self) -> Result<(), Halt> {
        let after = self.ingress.settings().resend_after;
        let unheard = self.ingress.open_jobs.unheard(Timestamp::now(), after, MOST_LOOKED_AT);
        let mut unheard = self.of_idle_pools(unheard).await;
        unheard.truncate(MOST_AT_ONCE);
        if unheard.is_empty() || !self.may_judge(&unheard).await? {
            return Ok(());
        }
        let head = self.ingress.intake.chronicle().catch_up(SEEN_WITHIN).await?;
        let traces = self.traces(self.places(&unheard), head).await?;
        for (id, _) in unheard {
            // Whatever comes of it, the next look is not at this one again.
            let is_unheard = self.ingress.open_jobs.is_unheard(id, Timestamp::now(), after);
            self.ingress.open_jobs.let_rest(id, Timestamp::now());
            let Some(Some(trace)) = traces.get_or_put_off(id) else { continue };
            if is_unheard && let Err(halt) = self.resend(id, trace, after).await {
                self.go_on_without(
                    "a job whose message seems to be lost could not be published again",
                    halt,
                )?;
            }
        }
        Ok(())
    }

    /// Those in whose pool workers have nothing to do, and on whose target nothing else is at work: what waits for that says
    /// so once, and then nothing for as long as it takes.
    async fn of_idle_pools(&self, unheard: Vec<(JobId, Position)>) -> Vec<(JobId, Position)> {
        let ingress = &self.ingress;
        let (mut idle, mut those) = (HashMap::<PoolName, bool>::new(), Vec::new());
        let at_work = if unheard.is_empty() { HashSet::new() } else { ingress.view.at_work() };
        for (id, first) in unheard {
            let Some((job, state)) = ingress.view.get(id) else { continue };
            if state.is_end() {
                // Something was said of it behind its end.
                ingress.open_jobs.forget(id);
                continue;
            }
            let pool = job.target.pool();
            if !idle.contains_key(pool) {
                idle.insert(pool.clone(), ingress.outlook.pools.is_idle(&*ingress.queue, pool).await);
            }
            if idle.get(pool) == Some(&true) && !at_work.contains(&job.target) {
                those.push((id, first));
            }
        }
        those
    }

    async fn resend(&self, id: JobId, trace: &Trace, after: Duration) -> Result<(), Halt> {
        // Without its words in the history there is nothing to publish: it is given up once its time is over.
        let (None, Some(job)) = (trace.end, &trace.job) else { return Ok(()) };
        tracing::warn!(job = %id, target = %job.target, "nothing was heard of a job for long though workers are free: it is published once more");
        self.ingress.queue.publish_again(job).await?;
        self.ingress.intake.chronicle().say(&sent_again(job, trace.attempts, after), SEEN_WITHIN).await?;
        Ok(())
    }
}

/// What people and other ingresses are told.
fn sent_again(job: &Job, attempts: u32, after: Duration) -> Event {
    let mut event = Event::of(job, State::Retrying, attempts, rand::random());
    let minutes = after.as_secs().div_ceil(60);
    let text = format!(
        "nothing was heard of it for {minutes} minutes though workers of the pool `{}` are free: its message was taken for \
         lost, and it was handed to them once more",
        job.target.pool()
    );
    event.data.counted = Some(false);
    event.data.reason = Some(Reason::new(reason::UNHEARD, text));
    event
}
