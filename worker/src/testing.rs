//! Jobs for tests.

use std::time::Duration;

use proto::{Cause, CauseKind, ChainId, Gates, Job, JobId, Operation, Timestamp};

/// The `n`th wish for the target `demo`.
pub(crate) fn job(n: i64, image: &str) -> Job {
    let now = Timestamp::now();
    let id = JobId::mint(now + Duration::from_millis(n.unsigned_abs()), None);
    let operation = Operation::SetImage { image: image.parse().unwrap(), service: None };
    Job {
        version: Job::VERSION,
        id,
        chain: ChainId::of(id),
        target: "demo".parse().unwrap(),
        slots: operation.slots(),
        operation,
        cause: Cause { kind: CauseKind::Api, source: None, by: None, delivery: None },
        accepted_at: now,
        not_before: None,
        deadline: now + Duration::from_secs(3600),
        gates: Gates::default(),
        replays: None,
        traceparent: None,
    }
}
