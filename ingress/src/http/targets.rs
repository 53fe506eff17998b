//! `GET /v1/targets`: what can be deployed, and what it follows; `GET /v1/targets/{pool}/{name}`: how one stands now.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    http::HeaderMap,
};
use config::Span;
use proto::{
    FaultKind, PoolName, Reason, TargetName,
    api::{Target, TargetFault, TargetList, TargetStatus},
    ask::{Answer, Question},
    reason,
};

use super::{App, admit, query::Parameters};
use crate::{
    problem::{Kind, Problem},
    route,
};

/// How long a worker may take to answer. It looks for somewhat less.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);

pub(super) async fn list(
    State(ingress): State<App>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Json<TargetList>, Problem> {
    let principal = admit(&ingress, &headers).await?;
    principal.demand_sight()?;
    parameters.only(&[])?;
    let targets = ingress.known.targets();
    let seen = targets.iter().filter(|target| principal.may_see(&target.name));
    let targets = seen.map(|target| declared(target)).collect();
    let may_see = |fault: &TargetFault| {
        let (all, mut concerned) = (principal.sees_all(), fault.targets.iter());
        all || !fault.targets.is_empty() && concerned.all(|target| principal.may_see(target))
    };
    let faults = ingress.known.faults().into_iter().filter(may_see).collect();
    Ok(Json(TargetList { targets, faults }))
}

pub(super) async fn show(
    State(ingress): State<App>,
    Path((pool, name)): Path<(String, String)>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Json<TargetStatus>, Problem> {
    let principal = admit(&ingress, &headers).await?;
    parameters.only(&[])?;
    let name = target_name(&pool, &name)?;
    principal.demand("read", &name)?;
    let targets = ingress.known.targets();
    let target = targets.get(&name);
    let target = target.ok_or_else(|| Kind::UnknownTarget.with(format!("there is no target `{name}`")))?;
    let question = Question::Target { target: name.clone() };
    match ask(&ingress, &name, &question, ANSWER_WITHIN).await? {
        Answer::Target(now) => {
            let concerns = |fault: &TargetFault| concerns(fault, target);
            let faults = ingress.known.faults().into_iter().filter(concerns).collect();
            Ok(Json(TargetStatus { target: declared(target), now: *now, faults }))
        }
        Answer::Failed { reason } if reason.code == reason::NOT_FOUND => {
            Err(Kind::NotDeployed.with(reason.text))
        }
        Answer::Failed { reason } => Err(failed(reason)),
        other @ (Answer::Plan(_)
        | Answer::PortainerListing { .. }
        | Answer::PortainerStacks { .. }
        | Answer::UnknownTarget
        | Answer::UnknownQuestion) => Err(no_answer(&name, &other)),
    }
}

/// What will be so until somebody mends it is told apart from what could not be found out now.
pub(super) fn failed(reason: Reason) -> Problem {
    let lasts = [
        reason::REFUSED,
        reason::NOT_FOUND,
        reason::IMAGE_NOT_FOUND,
        reason::CREDENTIALS_REFUSED,
        reason::UNTRUSTED,
    ];
    let kind = if lasts.contains(&&*reason.code) { Kind::WouldFail } else { Kind::TargetUnreadable };
    kind.with(reason.text)
}

/// Whether what is wrong is of the target itself, of looking for what it follows, or of its system.
fn concerns(fault: &TargetFault, target: &route::Target) -> bool {
    let of_system = || fault.pool == *target.name.pool() && fault.system == target.at;
    fault.targets.contains(&target.name) || fault.kind == FaultKind::System && of_system()
}

/// What an answer means that does not answer the question.
pub(super) fn no_answer(name: &TargetName, answer: &Answer) -> Problem {
    match answer {
        Answer::UnknownTarget => Kind::UnknownTarget
            .with(format!("the workers of the pool `{}` have no target `{}`", name.pool(), name.name()))
            .hint("declare it in the workers' configuration too"),
        Answer::UnknownQuestion => Kind::NoAnswer
            .with("the worker is of an older version and does not know the question")
            .hint("bring the workers to the version of this server"),
        Answer::Target(_)
        | Answer::Plan(_)
        | Answer::PortainerListing { .. }
        | Answer::PortainerStacks { .. }
        | Answer::Failed { .. } => Kind::NoAnswer.with("a worker answered another question"),
    }
}

/// The name of a target, as a path has it.
pub(super) fn target_name(pool: &str, name: &str) -> Result<TargetName, Problem> {
    format!("{pool}/{name}")
        .parse()
        .map_err(|error| Kind::UnknownTarget.with(format!("no target has this name: {error}")))
}

/// Asks any worker of the target's pool.
pub(super) async fn ask(
    ingress: &App,
    target: &TargetName,
    question: &Question,
    within: Duration,
) -> Result<Answer, Problem> {
    ask_pool(ingress, target.pool(), question, within).await
}

/// Asks any worker of a pool.
pub(super) async fn ask_pool(
    ingress: &App,
    pool: &PoolName,
    question: &Question,
    within: Duration,
) -> Result<Answer, Problem> {
    if !ingress.queue.is_available() {
        return Err(
            Kind::BrokerAway.with("the workers are asked through the broker, which cannot be reached")
        );
    }
    let asked = ingress.queue.ask(pool, question.encode().into(), within).await;
    let answer = asked.map_err(|error| {
        tracing::info!(%pool, error = &error as &dyn std::error::Error, "a worker was asked in vain");
        Problem::of_queue(&error)
    })?;
    Answer::decode(&answer).map_err(|error| {
        tracing::warn!(%pool, %error, "a worker's answer cannot be read");
        Kind::NoAnswer.with("a worker answered in words of another version")
    })
}

fn declared(target: &route::Target) -> Target {
    Target {
        target: target.name.clone(),
        system: target.at.clone(),
        follows: target.follows.clone(),
        deadline: Span(target.deadline).to_string(),
        gates: target.gates.clone(),
        discovered: target.discovered,
    }
}
