//! `POST /v1/targets/find`: which targets some stacks of a Portainer are. Workers alone know where their systems are.

use std::{collections::BTreeSet, time::Duration};

use axum::{Json, body::Body, extract::State, http::HeaderMap};
use proto::{
    PoolName, TargetName,
    api::{StackList, StacksFound, StacksSought},
    ask::{Answer, Question},
};

use super::{App, admit, body, query::Parameters, targets, terms};
use crate::{
    access::principal::Principal,
    problem::{Kind, Problem},
};

/// How long the workers of one pool may take: they look at a Portainer.
const ANSWER_WITHIN: Duration = Duration::from_secs(18);

/// Most stacks in one question.
const MOST_STACKS: usize = 100;

/// What is told of those who did not answer to whoever may not know their names.
const SOMETHING_MISSING: &str = "not every worker or Portainer answered";

pub(super) async fn find(
    State(ingress): State<App>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<StacksFound>, Problem> {
    let principal = admit(&ingress, &headers).await?;
    principal.demand_sight()?;
    parameters.only(&[])?;
    let sought = read(&body::read(body).await?)?;
    let mut found = StacksFound { known: false, targets: vec![None; sought.stacks.len()] };
    let question = Question::PortainerStacks { url: sought.portainer, stacks: sought.stacks };
    let pools = pools(&ingress);
    let asked = pools.iter().map(|pool| targets::ask_pool(&ingress, pool, &question, ANSWER_WITHIN));
    let mut missed = None;
    for (pool, answer) in pools.iter().zip(futures::future::join_all(asked).await) {
        match answer {
            Ok(Answer::PortainerStacks { known, targets }) => take_in(&mut found, known, targets),
            Ok(Answer::Failed { reason }) => missed = Some(Kind::TargetUnreadable.with(reason.text)),
            Ok(other) => missed = Some(no_answer(pool, &other)),
            Err(problem) => missed = Some(problem),
        }
    }
    match missed {
        // Those who did not answer may be the ones that know.
        Some(problem) if found.targets.contains(&None) => Err(told(problem, &principal)),
        Some(_) | None => {
            let seen = |target: Option<TargetName>| target.filter(|target| principal.may_see(target));
            found.targets = found.targets.into_iter().map(seen).collect();
            Ok(Json(found))
        }
    }
}

/// Every stack of every Portainer; with `?target=pool/name` the one that is that target.
pub(super) async fn list(
    State(ingress): State<App>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Json<StackList>, Problem> {
    let principal = admit(&ingress, &headers).await?;
    principal.demand_sight()?;
    parameters.only(&["target"])?;
    let target = parameters.filter()?.target;
    let pools = match &target {
        Some(target) => {
            principal.demand("read", target)?;
            vec![target.pool().clone()]
        }
        None => pools(&ingress),
    };
    let question = Question::PortainerListing { target: target.clone() };
    let asked = pools.iter().map(|pool| targets::ask_pool(&ingress, pool, &question, ANSWER_WITHIN));
    let mut list = StackList { stacks: Vec::new(), missing: Vec::new() };
    for (pool, answer) in pools.iter().zip(futures::future::join_all(asked).await) {
        match answer {
            Ok(Answer::PortainerListing { mut stacks, mut missing }) => {
                list.stacks.append(&mut stacks);
                list.missing.append(&mut missing);
            }
            Ok(other) => list.missing.push(format!("pool `{pool}`: {}", no_answer(pool, &other).detail())),
            Err(problem) => list.missing.push(format!("pool `{pool}`: {}", problem.detail())),
        }
    }
    let seen = |target: Option<&TargetName>| target.is_some_and(|target| principal.may_see(target));
    list.stacks.retain(|stack| principal.sees_all() || seen(stack.target.as_ref()));
    // Older workers tell of all.
    list.stacks.retain(|stack| target.is_none() || stack.target == target);
    if !principal.sees_all() && !list.missing.is_empty() {
        list.missing = vec![SOMETHING_MISSING.to_owned()];
    }
    Ok(Json(list))
}

/// Names of systems and pools are for whoever may see all targets.
fn told(problem: Problem, principal: &Principal) -> Problem {
    if principal.sees_all() { problem } else { problem.kind().with(SOMETHING_MISSING) }
}

fn read(body: &[u8]) -> Result<StacksSought, Problem> {
    let sought = terms::json(body)?;
    let hint = "send {\"portainer\":\"https://…\",\"stacks\":[{\"environment\":1,\"stack\":5}]}";
    let sought: StacksSought = serde_json::from_value(sought)
        .map_err(|error| Kind::BadJob.with(format!("no stacks are named: {error}")).hint(hint))?;
    if sought.stacks.is_empty() || sought.stacks.len() > MOST_STACKS {
        let text = format!("{} stacks are named; name from 1 to {MOST_STACKS}", sought.stacks.len());
        return Err(Kind::BadJob.with(text).hint(hint));
    }
    Ok(sought)
}

/// The pools that have targets: all others have nothing to say.
fn pools(ingress: &App) -> Vec<PoolName> {
    let targets = ingress.known.targets();
    let pools: BTreeSet<PoolName> = targets.iter().map(|target| target.name.pool().clone()).collect();
    pools.into_iter().collect()
}

fn take_in(found: &mut StacksFound, known: bool, targets: Vec<Option<TargetName>>) {
    found.known |= known;
    for (target, told) in found.targets.iter_mut().zip(targets) {
        if target.is_none() {
            *target = told;
        }
    }
}

fn no_answer(pool: &PoolName, answer: &Answer) -> Problem {
    match answer {
        Answer::UnknownQuestion => Kind::NoAnswer
            .with(format!(
                "a worker of the pool `{pool}` is of an older version and does not know the question"
            ))
            .hint("bring the workers to the version of this server"),
        Answer::Target(_)
        | Answer::Plan(_)
        | Answer::PortainerListing { .. }
        | Answer::PortainerStacks { .. }
        | Answer::UnknownTarget
        | Answer::Failed { .. } => Kind::NoAnswer.with("a worker answered another question"),
    }
}
