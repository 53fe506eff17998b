//! Reading the history of a target further back than the worker did at its start: for a job that was held longer.

use std::time::Duration;

use proto::{Event, Job, Operation, Reason, TargetName, Timestamp, reason};
use queue::{Entry, Recorded, Since};

use crate::{
    conclusion::Conclusion,
    execute::{Executor, SEEN_WITHIN, Step},
    verdict::chain,
};

/// How much earlier than a job's id its `accepted` may stand in the history: ids run ahead of clocks, and the
/// clocks of brokers and ingresses differ.
const MARGIN: Duration = Duration::from_secs(600);

/// How long reading that far back may take.
const WITHIN: Duration = Duration::from_secs(60);

impl Executor {
    /// Whether the history was read back to where `job` was accepted. While a job is held it is enough to know it:
    /// what was carried out since then is not forgotten.
    pub(crate) fn has_read_back(&self, job: &Job) -> bool {
        self.index.reaches_back_to(&job.target, accepted_at(job))
            || job.hold(Timestamp::now()).is_some() && self.index.knows(job.id)
    }

    /// A job older than what the worker has read is decided only after the history was read from its time on.
    pub(crate) async fn read_back(&self, job: &Job) -> Step<()> {
        if self.has_read_back(job) {
            return Ok(());
        }
        let since = accepted_at(job).checked_sub(MARGIN).unwrap_or(Timestamp::MIN);
        let read = tokio::time::timeout(WITHIN, self.history_of(&job.target, since)).await;
        let entries = read
            .unwrap_or_else(|_| Err("the history could not be read in time".to_owned()))
            .map_err(|why| Conclusion::Left(Reason::new(reason::INTERRUPTED, why)))?;
        // All of it or nothing: half a life, read again, would look like a crash. And nothing of a life whose later
        // part is known already: what came of its earlier part would not be read again.
        let is_new = |recorded: &Recorded| matches!(&recorded.entry, Entry::Event(event) if !self.index.knows(event.job_id()));
        let unknown: Vec<Recorded> = entries.into_iter().filter(is_new).collect();
        unknown.iter().for_each(|recorded| self.index.read(recorded));
        self.index.reached_back(&job.target, since);
        Ok(())
    }

    /// What was said of a target from `since` to now.
    async fn history_of(&self, target: &TargetName, since: Timestamp) -> Result<Vec<Recorded>, String> {
        let until = self.chronicle.catch_up(SEEN_WITHIN).await.map_err(|error| chain(&error))?;
        let mut history = self.queue.history(Since::Time(since)).await.map_err(|error| chain(&error))?;
        let mut entries = Vec::new();
        loop {
            let recorded = history.next().await.map_err(|error| chain(&error))?;
            if recorded.position >= until {
                return Ok(entries);
            }
            if matches!(&recorded.entry, Entry::Event(event) if concerns(event, target)) {
                entries.push(recorded);
            }
        }
    }
}

/// When a job was accepted, as far as it can be told: its id's time runs ahead where a clock did.
fn accepted_at(job: &Job) -> Timestamp {
    job.id.time().min(job.accepted_at)
}

/// Whether an event is of the target, or of a job that calls another off, wherever that one's target is.
fn concerns(event: &Event, target: &TargetName) -> bool {
    event.subject == *target
        || event.job().is_some_and(|job| matches!(job.operation, Operation::Cancel { .. }))
}
