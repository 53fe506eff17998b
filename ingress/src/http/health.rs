//! `GET /healthz` and `GET /readyz`, for those who watch the process.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use proto::PoolName;
use queue::SpoolStatus;
use serde_json::{Value, json};

use super::App;

/// What a job of a push has at most, in bytes.
const A_JOB: u64 = 2048;

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
        // The embedded queue as a whole: a broker's takes what it will for each pool.
        (true, true, None) if !ingress.queue.has_room(1, A_JOB) => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "full"}))
        }
        (true, true, spool) => (StatusCode::OK, with_broker(spool, &ingress.outlook.pools.full())),
        (true, false, None) => (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "unavailable"})),
        (true, false, Some(spool)) => without_broker(&spool),
    }
}

/// Hooks are taken, but for what some pools have no room for.
fn with_broker(spool: Option<SpoolStatus>, full: &[PoolName]) -> Value {
    let mut body = json!({"status": "ready"});
    if let Some(spool) = spool.filter(|spool| spool.jobs > 0) {
        body["spooled"] = spool.jobs.into();
    }
    if !full.is_empty() {
        body["full"] = full.iter().map(PoolName::as_str).collect();
    }
    body
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

    #[test]
    fn pools_without_room_are_named_beside_what_is_still_handed_over() {
        let spool =
            SpoolStatus { jobs: 2, bytes: 600, since: None, full: false, failing: false, damaged: false };
        assert_eq!(with_broker(None, &[]), json!({"status": "ready"}));
        assert_eq!(with_broker(Some(SpoolStatus { jobs: 0, ..spool }), &[]), json!({"status": "ready"}));
        let full = [PoolName::default()];
        let expected = json!({"status": "ready", "spooled": 2, "full": ["default"]});
        assert_eq!(with_broker(Some(spool), &full), expected);
    }
}
