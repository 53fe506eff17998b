//! A write that came too late: a worker was paused between reading a target and writing it, and a newer job
//! ran meanwhile. Where the target cannot refuse such a write, it is undone.

use std::time::Duration;

use proto::{Job, JobId, Operation, Reason, State, Timestamp, reason};

use crate::{
    conclusion::{Attempt, Conclusion, Telling},
    execute::{BUSY_PAUSE, Course, Executor, Step, left},
    schedule::left_until,
    target::{Found, Standing, Target},
};

/// The broker must have answered this lately before a write that the target cannot refuse.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// Pause before the target of a job is looked at again that another worker may still write.
const GUARD_AGAIN: Duration = Duration::from_secs(30);

/// Shortest time that putting a newer wish back may take.
pub(crate) const PUT_BACK_WITHIN: Duration = Duration::from_secs(600);

impl Executor {
    /// Hears all that was said until now, and makes sure that others are still kept away: asked before and after
    /// a write that the target cannot refuse.
    pub(crate) async fn hear_all(&self, attempt: &Attempt) -> Step<()> {
        self.chronicle.catch_up(ANSWERED_WITHIN).await.map_err(|error| left(&error))?;
        if attempt.keeps_others_away() {
            return Ok(());
        }
        let why = "others are not kept away from the target any more";
        Err(Conclusion::Left(Reason::new(reason::INTERRUPTED, why)))
    }

    /// After a write of its own: when a newer wish has ended meanwhile, carries out the newest that succeeded
    /// once more, and only then ends this one.
    pub(crate) async fn undo_if_late(&self, attempt: &Attempt, target: &dyn Target) -> Step<()> {
        if target.refuses_stale_writes(&attempt.job.operation) {
            return Ok(());
        }
        // What was said while this worker was paused may not have been read yet.
        self.hear_all(attempt).await?;
        let Some(newer) = self.index.newer_ended(&attempt.job) else { return Ok(()) };
        if let Some((best, by)) = self.index.stands_instead_of(&attempt.job) {
            return Err(self.put_back(attempt, &Undoing::late(&best, by), target).await?);
        }
        let reason = Reason::new(reason::NEWER_WISH, format!("the newer job {newer} has ended before"));
        Err(Telling::new(State::Superseded).reason(reason).by(Some(newer)).conclude())
    }

    /// Carries out what is to stand again, which a late write has undone.
    async fn put_back(&self, attempt: &Attempt, undoing: &Undoing, target: &dyn Target) -> Step<Conclusion> {
        tracing::warn!(job = %attempt.job.id, by = %undoing.job.id, "a late write is undone");
        // Read again first: a former attempt may have put it back already.
        let decide = |found: &dyn Found| match found.standing(undoing.job.id) {
            Standing::Applied => Ok(Course::Watch),
            Standing::Open | Standing::RolledBack | Standing::Newer(_) => Ok(Course::Apply),
        };
        let (mut wanted, change) = self.apply(attempt, &undoing.job, target, decide).await?;
        // The deadline of the wish that stands again may be long over; what counts now is that it stands.
        let within = Timestamp::now() + PUT_BACK_WITHIN;
        wanted.job.deadline = wanted.job.deadline.max(attempt.job.deadline).max(within);
        let conclusion = self.watch(attempt, &wanted, target, change).await;
        let Conclusion::End(telling) = &conclusion else { return Ok(conclusion) };
        if telling.state != State::Succeeded {
            return Ok(conclusion);
        }
        let telling = Telling { state: State::Superseded, ..(**telling).clone() };
        let reason = Reason::new(reason::PUT_BACK, undoing.told.clone());
        Ok(telling.reason(reason).by(undoing.wished).conclude())
    }

    /// How much later a job that ended has to be looked at again, if at all: another attempt at it has not been
    /// answered for, and its worker may only be paused and yet write where the target cannot refuse. One that was
    /// called off has left nothing there by which any target could refuse it.
    ///
    /// Its message is kept for that, so that a look is due even when that worker dies right after its write.
    pub(crate) fn guard(&self, job: &Job) -> Option<Duration> {
        let takes_it = self.fleet.target(&job.target).is_some_and(|target| {
            !target.refuses_stale_writes(&job.operation)
                || self.index.end_of(job.id) == Some(State::Cancelled)
        });
        let unanswered = self.index.crashes(job.id, |started| self.answers.owes(started));
        let may_write = takes_it && unanswered.in_company + unanswered.alone > 0;
        (may_write && !left_until(job.deadline).is_zero()).then_some(GUARD_AGAIN)
    }

    /// A message of a job that ended: a copy, or one kept as a guard. Where the job's image was written late over
    /// a newer one, or though it was called off, that is undone.
    pub(crate) async fn look_after(&self, attempt: &Attempt, state: State) -> Step<Conclusion> {
        let job = &attempt.job;
        let is_called_off = state == State::Cancelled;
        let target = self.fleet.target(&job.target);
        let target = target.filter(|target| is_called_off || !target.refuses_stale_writes(&job.operation));
        let Some(target) = target.filter(|_| state != State::Dead && !job.slots.is_empty()) else {
            return Ok(Conclusion::Copy(state));
        };
        let Ok(Some(lock)) = self.queue.lock(&job.target).await else {
            return Ok(Conclusion::Guarded { after: BUSY_PAUSE });
        };
        attempt.hold((lock, None));
        self.hear_all(attempt).await?;
        let Ok(found) = target.read(job).await else {
            return Ok(Conclusion::Guarded { after: GUARD_AGAIN });
        };
        if found.standing(job.id) != Standing::Applied {
            return Ok(Conclusion::Copy(state));
        }
        let undoing = match (self.index.succeeded(job), is_called_off) {
            (best, true) => self.undoing_called_off(job, best.as_deref()),
            (best, false) => best.filter(|best| best.id > job.id).map(|best| Undoing::late(&best, best.id)),
        };
        match undoing {
            Some(undoing) => self.put_back(attempt, &undoing, &*target).await,
            None => {
                // Its worker may have died right after a late write, or wait for the next look.
                let told = self.put_neighbours_back(attempt, &*target).await?;
                if told.is_empty() {
                    return Ok(Conclusion::Copy(state));
                }
                let reason = Reason::new(reason::PUT_BACK, told.join("; "));
                Ok(Telling::new(State::Superseded).reason(reason).conclude())
            }
        }
    }

    /// What undoes `job`, which was called off and yet written: `best` once more, the newest that succeeded where it
    /// writes, unless something that reaches further was carried out since; then the image goes back to what ran well.
    fn undoing_called_off(&self, job: &Job, best: Option<&Job>) -> Option<Undoing> {
        let is_newest = |best: &&Job| self.index.newer_carried_out(best).is_none();
        let (again, wished, what) = match (best.filter(is_newest), &job.operation) {
            (Some(best), _) => (best.clone(), Some(best.id), format!("what the job {} wished", best.id)),
            (None, Operation::SetImage { service, .. }) => {
                let operation = Operation::Rollback { service: service.clone(), job: None, image: None };
                (Job { operation, ..job.clone() }, None, "what ran well before".to_owned())
            }
            (None, _) => return None,
        };
        // Its mark is above that of the job, which would keep away what is older.
        let job = Job { id: job.id.successor(), ..again };
        let told = format!("it was called off, and written all the same: {what} stands again");
        Some(Undoing { job, wished, told })
    }
}

/// What is carried out once more to undo a late write.
struct Undoing {
    job: Job,
    /// Whose wish stands again.
    wished: Option<JobId>,
    /// What becomes of the job that came late, in words.
    told: String,
}

impl Undoing {
    /// Of a job that was overtaken by the job `by`: what `best` wished, which may be an older one's.
    fn late(best: &Job, by: JobId) -> Undoing {
        let told = if best.id == by {
            format!("it came too late: what the newer job {by} wished stands again")
        } else {
            format!(
                "it came too late: the newer job {by} did not hold, and what ran well before it stands again"
            )
        };
        Undoing { job: best.clone(), wished: Some(by), told }
    }
}
