//! `GET /v1/targets`: what can be deployed, and what it follows.

use axum::{Json, extract::State, http::HeaderMap};
use config::Span;
use proto::api::{Target, TargetList};

use super::{App, admit};
use crate::problem::Problem;

pub(super) async fn list(
    State(ingress): State<App>,
    headers: HeaderMap,
) -> Result<Json<TargetList>, Problem> {
    admit(&ingress, &headers)?;
    let targets = ingress.settings.targets.iter().map(|target| Target {
        target: target.name.clone(),
        system: target.at.clone(),
        follows: target.follows.clone(),
        deadline: Span(target.deadline).to_string(),
    });
    Ok(Json(TargetList { targets: targets.collect() }))
}
