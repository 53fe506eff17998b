//! Whether somebody is there to carry out the job that is followed.

use std::time::Duration;

use proto::{
    JobId, Reason,
    api::{JobName, Shown},
};
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::Client;

/// How long a job may wait before it is asked why, and how often then.
const FIRST_AFTER: Duration = Duration::from_secs(3);
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Looks after a job that waits.
pub(crate) struct Lookout<'a> {
    client: &'a Client,
    job: JobId,
    due: Instant,
}

impl<'a> Lookout<'a> {
    pub(crate) fn of(client: &'a Client, job: JobId) -> Lookout<'a> {
        Lookout { client, job, due: Instant::now() + FIRST_AFTER }
    }

    /// Something was heard of the job.
    pub(crate) fn heard(&mut self) {
        self.due = Instant::now() + FIRST_AFTER;
    }

    /// What the job waits for, as Longshore knew when it was time to ask: a worker, or nothing special. Whoever may not
    /// ask, or gets no answer, learns nothing, and goes on waiting for events.
    pub(crate) async fn found(&mut self) -> Option<Reason> {
        loop {
            sleep_until(self.due).await;
            let asked = timeout(ANSWER_WITHIN, self.client.job(JobName::Job(self.job))).await;
            self.due = Instant::now() + AGAIN_AFTER;
            if let Ok(Ok(Shown::Job(status))) = asked {
                return status.waits;
            }
        }
    }
}
