//! `GET /healthz`, `GET /readyz` and `GET /metrics`, for those who watch the process.

use std::fmt::Write;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use queue::SpoolStatus;
use serde_json::{Value, json};

use super::App;

/// The form in which Prometheus reads.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The process lives.
pub(super) async fn alive() -> Json<Value> {
    Json(json!({"status": "alive"}))
}

/// Hooks would be taken.
pub(super) async fn ready(State(ingress): State<App>) -> Response {
    let (code, body) = readiness(&ingress);
    (code, Json(body)).into_response()
}

fn readiness(ingress: &App) -> (StatusCode, Value) {
    let spool = ingress.spool.as_ref().map(|spool| spool.status());
    match (ingress.is_ready(), ingress.queue.is_available(), spool) {
        (false, ..) => (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "starting"})),
        (true, ..) if ingress.queue.is_failing() => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "unavailable"}))
        }
        (true, ..) if ingress.queue.is_damaged() => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "damaged"}))
        }
        (true, true, Some(spool)) if spool.jobs > 0 => {
            (StatusCode::OK, json!({"status": "ready", "spooled": spool.jobs}))
        }
        (true, true, _) => (StatusCode::OK, json!({"status": "ready"})),
        (true, false, None) => (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "unavailable"})),
        (true, false, Some(spool)) => without_broker(&spool),
    }
}

/// Without the broker it is the spool that takes hooks, or does not.
fn without_broker(spool: &SpoolStatus) -> (StatusCode, Value) {
    let (code, status) = match (spool.failing, spool.damaged, spool.full) {
        (true, ..) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (false, true, _) => (StatusCode::SERVICE_UNAVAILABLE, "damaged"),
        (false, false, true) => (StatusCode::SERVICE_UNAVAILABLE, "full"),
        (false, false, false) => (StatusCode::OK, "spooling"),
    };
    let since = spool.since.map(|since| since.to_string());
    (code, json!({"status": status, "spooled": spool.jobs, "bytes": spool.bytes, "since": since}))
}

/// Numbers for Prometheus.
pub(super) async fn metrics(State(ingress): State<App>) -> Response {
    let spool = ingress.spool.as_ref().map(|spool| spool.status());
    let (jobs, bytes) = spool.map_or((0, 0), |spool| (spool.jobs, spool.bytes));
    let failing = ingress.queue.is_failing() || spool.is_some_and(|spool| spool.failing);
    let damaged = ingress.queue.is_damaged() || spool.is_some_and(|spool| spool.damaged);
    let mut text = String::new();
    let mut one = |name: &str, kind: &str, help: &str, value: u64| {
        // Infallible: it is a string.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    one(
        "longshore_broker_available",
        "gauge",
        "Whether the job queue can be reached.",
        u64::from(ingress.queue.is_available()),
    );
    one("longshore_spooled_jobs", "gauge", "Jobs kept here until the broker is back.", jobs);
    one("longshore_spooled_bytes", "gauge", "Their bodies' size in bytes.", bytes);
    one(
        "longshore_spool_failing",
        "gauge",
        "Whether jobs, here or in the embedded queue, cannot be kept because the last write to the disk failed.",
        u64::from(failing),
    );
    one(
        "longshore_queue_damaged",
        "gauge",
        "Whether the queue's file in the data directory was found damaged since the start.",
        u64::from(damaged),
    );
    one(
        "longshore_jobs_accepted_total",
        "counter",
        "Jobs accepted since the start.",
        ingress.counters.jobs_accepted(),
    );
    let refused = "longshore_hooks_refused_total";
    let _ = writeln!(text, "# HELP {refused} Hooks refused since the start.\n# TYPE {refused} counter");
    for (kind, count) in ingress.counters.hooks_refused() {
        let _ = writeln!(text, "{refused}{{reason=\"{}\"}} {count}", kind.slug());
    }
    let refused = "longshore_access_refused_total";
    let _ = writeln!(text, "# HELP {refused} Callers not let in, or not for this.\n# TYPE {refused} counter");
    for (kind, count) in ingress.audit.refused() {
        let _ = writeln!(text, "{refused}{{reason=\"{}\"}} {count}", kind.slug());
    }
    write_backfills(&mut text, &ingress);
    ([(header::CONTENT_TYPE, METRICS)], text).into_response()
}

fn write_backfills(text: &mut String, ingress: &App) {
    let settled = "longshore_missed_deliveries_total";
    let help = "Deliveries that never came and were asked for, by what became of them.";
    let _ = writeln!(text, "# HELP {settled} {help}\n# TYPE {settled} counter");
    for ((source, fate), count) in ingress.counters.backfills.fates() {
        let _ = writeln!(text, "{settled}{{source=\"{source}\",result=\"{}\"}} {count}", fate.name());
    }
    let failed = "longshore_missed_deliveries_failures_total";
    let help = "Times that missed deliveries could not be asked for.";
    let _ = writeln!(text, "# HELP {failed} {help}\n# TYPE {failed} counter");
    for (source, count) in ingress.counters.backfills.failures() {
        let _ = writeln!(text, "{failed}{{source=\"{source}\"}} {count}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_broker_and_a_disk_no_hook_is_taken() {
        let spool =
            SpoolStatus { jobs: 1, bytes: 600, since: None, full: false, failing: false, damaged: false };
        let of = |spool| {
            let (code, body) = without_broker(&spool);
            (code.as_u16(), body["status"].as_str().map(str::to_owned).unwrap_or_default())
        };
        assert_eq!(of(spool), (200, "spooling".to_owned()));
        assert_eq!(of(SpoolStatus { full: true, ..spool }), (503, "full".to_owned()));
        assert_eq!(of(SpoolStatus { failing: true, ..spool }), (503, "unavailable".to_owned()));
        assert_eq!(of(SpoolStatus { failing: true, full: true, ..spool }), (503, "unavailable".to_owned()));
        assert_eq!(of(SpoolStatus { damaged: true, full: true, ..spool }), (503, "damaged".to_owned()));
    }
}
