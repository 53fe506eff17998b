//! `POST /v1/targets/{pool}/{name}/hold`.

use axum::{
    Extension,
    extract::{Path, Request, State as Extracted},
    http::HeaderMap,
    response::Response,
};
use proto::{Operation, api::HoldWish};
use serde_json::Value;

use super::{
    App, admit,
    body::{self, OfRequest},
    create::{Asked, make_jobs, target},
    query::Parameters,
    terms,
};
use crate::{problem::Problem, route::Wish};

pub(super) async fn hold(
    Extracted(ingress): Extracted<App>,
    Path((pool, name)): Path<(String, String)>,
    parameters: Parameters,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let principal = admit(&ingress, &headers).await?;
    let (mut head, body) = request.into_parts();
    let held = head.extensions.remove::<OfRequest>().map(Extension);
    let asked = Asked::of(&parameters, &headers, held)?;
    let target = target(Some(&Value::String(format!("{pool}/{name}"))), &ingress.known.targets())?;
    let HoldWish { image } = terms::optional("a hold", &body::read(body).await?, &["image"])?;
    let (operation, delivery) = (Operation::Hold { image }, asked.key.clone());
    let wish =
        Wish { target, operation, not_before: None, deadline: None, now: false, upward: false, delivery };
    make_jobs(&ingress, &principal, vec![wish], asked, &headers).await
}
