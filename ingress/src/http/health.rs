//! `GET /healthz` and `GET /readyz`, for those who watch the process.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::App;

/// The process lives.
pub(super) async fn alive() -> Json<Value> {
    Json(json!({"status": "alive"}))
}

/// Hooks would be taken.
pub(super) async fn ready(State(ingress): State<App>) -> Response {
    let (code, status) = match (ingress.is_ready(), ingress.queue.is_available()) {
        (true, true) => (StatusCode::OK, "ready"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        (true, false) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    (code, Json(json!({"status": status}))).into_response()
}
