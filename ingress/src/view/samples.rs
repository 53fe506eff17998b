//! Jobs for tests.

use std::time::Duration;

use proto::{Cause, CauseKind, ChainId, Gates, Job, JobId, Operation, Timestamp};

/// A push of `demo:1` to a target.
pub(crate) fn job(id: JobId, target: &str) -> Job {
    let operation = Operation::SetImage { image: "demo:1".parse().unwrap(), service: None };
    Job {
        version: Job::VERSION,
        id,
        chain: ChainId::of(id),
        target: target.parse().unwrap(),
        slots: operation.slots(),
        operation,
        cause: Cause { kind: CauseKind::Hook, source: Some("hub".to_owned()), by: None, delivery: None },
        accepted_at: Timestamp::from_second(1_800_000_000).unwrap(),
        not_before: None,
        deadline: Timestamp::from_second(1_800_000_000).unwrap() + Duration::from_secs(3600),
        gates: Gates::default(),
        replays: None,
        traceparent: None,
    }
}
