//! A write that came too late: a worker was paused between reading a target and writing it, and a newer job
//! ran meanwhile. Where the target cannot refuse such a write, it is undone.

use proto::{ImageChange, Reason, State, reason};

use crate::{
    conclusion::{Attempt, Conclusion, Telling},
    execute::{Course, Executor, SEEN_WITHIN, Step, left},
    target::{Found, Standing, Target, Wanted},
};

impl Executor {
    /// After a write of its own: when a newer wish has ended meanwhile, carries out the newest that succeeded
    /// once more, and only then ends this one.
    pub(crate) async fn undo_if_late(&self, attempt: &Attempt, target: &dyn Target) -> Step<()> {
        if target.refuses_stale_writes() {
            return Ok(());
        }
        // What was said while this worker was paused may not have been read yet.
        self.chronicle.catch_up(SEEN_WITHIN).await.map_err(|error| left(&error))?;
        let Some(newer) = self.index.newer_ended(&attempt.job) else { return Ok(()) };
        let Some(best) = self.index.succeeded(&attempt.job) else {
            let reason = Reason::new(reason::NEWER_WISH, format!("the newer job {newer} has ended before"));
            return Err(Telling::new(State::Superseded).reason(reason).by(Some(newer)).conclude());
        };
        tracing::warn!(job = %attempt.job.id, by = %best.id, "a late write is undone");
        // Read again first: a former attempt may have put it back already.
        let decide = |found: &dyn Found| match found.standing(best.id) {
            Standing::Applied => Ok(Course::Watch),
            Standing::Open | Standing::RolledBack | Standing::Newer(_) => Ok(Course::Apply),
        };
        let (wanted, change) = self.apply(attempt, &best, target, decide).await?;
        Err(self.watch_put_back(attempt, &wanted, target, change).await)
    }

    async fn watch_put_back(
        &self,
        attempt: &Attempt,
        wanted: &Wanted,
        target: &dyn Target,
        change: ImageChange,
    ) -> Conclusion {
        let conclusion = self.watch(attempt, wanted, target, change).await;
        let Conclusion::End(telling) = &conclusion else { return conclusion };
        if telling.state != State::Succeeded {
            return conclusion;
        }
        let text = format!("it came too late: what the newer job {} wished stands again", wanted.job.id);
        let reason = Reason::new(reason::PUT_BACK, text);
        let telling = Telling { state: State::Superseded, ..(**telling).clone() };
        telling.reason(reason).by(Some(wanted.job.id)).conclude()
    }
}
