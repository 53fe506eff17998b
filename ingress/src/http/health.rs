//! `GET /healthz` and `GET /readyz`, for those who watch the process.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use queue::SpoolStatus;
use serde_json::{Value, json};

use super::App;

/// The process lives.
pub(super) async fn alive() -> Json<Value> {
    Json(json!({"status": "alive"}))
}

/// Hooks would be taken.
pub(super) async fn ready(State(ingress): State<App>) -> Response {
    let (code, body) = readiness(&ingress);
    (code, Json(body)).into_response()
}

/// Whether hooks would be taken.
pub(super) fn takes_hooks(ingress: &App) -> bool {
    readiness(ingress).0 == StatusCode::OK
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
