//! `POST /v1/targets/{pool}/{name}/plan`: what a wish would change, asked of a worker; nothing is changed.

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
};
use proto::{
    api::TargetPlan,
    ask::{Answer, Question},
};
use serde_json::json;

use super::{App, admit, body, create, query::Parameters, rollback, targets, terms};
use crate::{
    problem::{Kind, Problem},
    route::Wish,
};

/// How long a worker may take: it may have to ask a registry.
const ANSWER_WITHIN: Duration = Duration::from_secs(18);

pub(super) async fn plan(
    State(ingress): State<App>,
    Path((pool, name)): Path<(String, String)>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<TargetPlan>, Problem> {
    let principal = admit(&ingress, &headers).await?;
    parameters.only(&[])?;
    let mut asked = terms::json(&body::read(body).await?)?;
    if let Some(keys) = asked.as_object_mut() {
        super::only_keys("a plan", keys, &["image", "service", "operation"])?;
        keys.insert("target".to_owned(), json!(format!("{pool}/{name}")));
    }
    let (target, operation) = create::wish(&asked, &ingress.known.targets())?;
    principal.demand("plan", &target.name)?;
    let wish = Wish {
        target,
        operation,
        not_before: None,
        deadline: None,
        now: false,
        upward: false,
        delivery: None,
    };
    let wishes = rollback::with_images(&ingress, vec![wish]).await?;
    let Some(Wish { target, operation, .. }) = wishes.into_iter().next() else {
        return Err(Kind::Internal.with("the wish was lost"));
    };
    let name = target.name.clone();
    let question = Question::Plan { target: name.clone(), operation: operation.clone() };
    match targets::ask(&ingress, &name, &question, ANSWER_WITHIN).await? {
        Answer::Plan(plan) => Ok(Json(TargetPlan { target: name, operation, plan })),
        Answer::Failed { reason } => Err(targets::failed(reason)),
        other @ (Answer::Target(_)
        | Answer::PortainerListing { .. }
        | Answer::PortainerStacks { .. }
        | Answer::UnknownTarget
        | Answer::UnknownQuestion) => Err(targets::no_answer(&name, &other)),
    }
}
