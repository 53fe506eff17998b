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
    terms::only_keys,
};
use crate::{
    problem::{Kind, Problem},
    route::Wish,
};

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
    let HoldWish { image } = read(&body::read(body).await?)?;
    let (operation, delivery) = (Operation::Hold { image }, asked.key.clone());
    let wish =
        Wish { target, operation, not_before: None, deadline: None, now: false, upward: false, delivery };
    make_jobs(&ingress, &principal, vec![wish], asked, &headers).await
}

fn read(body: &[u8]) -> Result<HoldWish, Problem> {
    if body.is_empty() {
        return Ok(HoldWish::default());
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Kind::NotJson.with(format!("the body is not JSON: {error}")))?;
    let Value::Object(keys) = &value else {
        return Err(Kind::BadJob.with("the body is not an object"));
    };
    only_keys("a hold", keys, &["image"])?;
    serde_json::from_value(value)
        .map_err(|error| Kind::BadJob.with(format!("the hold cannot be used: {error}")))
}
