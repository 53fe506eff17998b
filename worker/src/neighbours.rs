//! A write that came too late and took more with it than its own slot: some systems write a target as a whole, so that a
//! worker which was paused between reading and writing sends the rest of the target as it stood before.

use proto::{Job, Operation, Reason, State, Timestamp, reason};

use crate::{
    conclusion::{Attempt, Conclusion, Telling},
    execute::{Course, Executor, Step},
    late::PUT_BACK_WITHIN,
    target::{Found, Standing, Target},
};

impl Executor {
    /// After a write of its own: what other jobs brought to other parts of the target since this one was begun, and
    /// what stands there no more, is carried out once more. What was done is told in lines for people.
    pub(crate) async fn put_neighbours_back(
        &self,
        attempt: &Attempt,
        target: &dyn Target,
    ) -> Step<Vec<String>> {
        let mut told = Vec::new();
        if !target.writes_as_a_whole(&attempt.job.operation) {
            return Ok(told);
        }
        for other in self.index.succeeded_since_begun(&attempt.job) {
            if is_of_the_text(&other.operation) && self.is_lost(attempt, &other, target).await? {
                told.push(self.put_neighbour_back(attempt, &other, target).await?);
            }
        }
        Ok(told)
    }

    async fn is_lost(&self, attempt: &Attempt, other: &Job, target: &dyn Target) -> Step<bool> {
        let found = target.read(other).await.map_err(|error| self.unreadable(attempt, &error))?;
        Ok(match found.standing(other.id) {
            Standing::Open => true,
            Standing::Applied | Standing::RolledBack | Standing::Newer(_) => false,
        })
    }

    async fn put_neighbour_back(&self, attempt: &Attempt, other: &Job, target: &dyn Target) -> Step<String> {
        tracing::warn!(job = %attempt.job.id, lost = %other.id, "a late write took another job's with it: that is put back");
        let decide = |found: &dyn Found| match found.standing(other.id) {
            Standing::Open => Ok(Course::Apply),
            Standing::Applied | Standing::RolledBack | Standing::Newer(_) => Ok(Course::Watch),
        };
        let (mut wanted, change) = self.apply(attempt, other, target, decide).await?;
        wanted.job.deadline = wanted.job.deadline.max(Timestamp::now() + PUT_BACK_WITHIN);
        let conclusion = self.watch(attempt, &wanted, target, change).await;
        let Conclusion::End(ended) = conclusion else {
            // To be gone on with by the next attempt.
            return Err(conclusion);
        };
        let how = match (ended.state, &ended.reason) {
            (State::Succeeded, _) => "what that one wished stands again".to_owned(),
            (state, Some(reason)) => format!("putting that back ended {state}: {}", reason.text),
            (state, None) => format!("putting that back ended {state}"),
        };
        let image =
            other.operation.image().map(|image| format!(" ({})", image.familiar())).unwrap_or_default();
        Ok(format!(
            "it was written late and took away what the job {}{image} had brought meanwhile; {how}",
            other.id
        ))
    }
}

/// Whether what a job brought stands in the text that a later one writes as a whole.
fn is_of_the_text(operation: &Operation) -> bool {
    match operation {
        Operation::SetImage { .. } | Operation::Rollback { .. } | Operation::DeployStack(_) => true,
        Operation::RemoveStack { .. }
        | Operation::DeployGit(_)
        | Operation::Migrate { .. }
        | Operation::Start
        | Operation::Stop
        | Operation::Restart
        | Operation::Redeploy
        | Operation::PruneImages { .. }
        | Operation::Hold { .. }
        | Operation::Release { .. }
        | Operation::Cancel { .. } => false,
    }
}

/// The same conclusion, where it is an end, with these lines.
pub(crate) fn with_lines(conclusion: Conclusion, lines: Vec<String>) -> Conclusion {
    let Conclusion::End(telling) = conclusion else { return conclusion };
    if lines.is_empty() {
        return Conclusion::End(telling);
    }
    let reason = telling.reason.clone().unwrap_or_else(|| Reason::new(reason::PUT_BACK, lines.join("; ")));
    let mut output = telling.output.clone();
    output.extend(lines);
    Telling { reason: Some(reason), output, ..*telling }.conclude()
}
