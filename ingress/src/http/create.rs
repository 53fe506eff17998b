//! `POST /v1/jobs`: wishes of people and programs.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Body,
    extract::State as Extracted,
    http::{HeaderMap, HeaderName, StatusCode, header::USER_AGENT},
    response::{IntoResponse, Response},
};
use proto::{
    Cause, CauseKind, Job, JobId, Operation, State,
    api::{Accepted, AcceptedJob},
};
use serde_json::Value;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::timeout,
};

use super::{
    App, admit, base_url,
    body::{self, OfRequest},
    query::Parameters,
    rollback, stack_text,
    terms::{self, only_keys},
    text_header, traceparent,
};
use crate::{
    accept::{Request, Taken},
    access::{needs::needs, principal::Principal},
    problem::{Kind, Problem},
    route::{Target, Targets, Wish},
    view::Said,
};

/// Most wishes of one request.
pub(crate) const MOST_WISHES: usize = 1_000;
/// Longest `Idempotency-Key`, in bytes.
const LONGEST_KEY: usize = 200;
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const READY_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn create(
    Extracted(ingress): Extracted<App>,
    parameters: Parameters,
    headers: HeaderMap,
    held: Option<Extension<OfRequest>>,
    body: Body,
) -> Result<Response, Problem> {
    let principal = admit(&ingress, &headers).await?;
    let asked = Asked::of(&parameters, &headers, held);
    let answer = match asked {
        Ok(asked) => take(&ingress, &principal, asked, &headers, body).await,
        Err(problem) => Err(problem),
    };
    if let Some(problem) = answer.as_ref().err().filter(|problem| problem.kind().is_told_here()) {
        let (status, kind) = (problem.kind().status().as_u16(), problem.kind().slug());
        tracing::warn!(by = principal.name, status, problem = kind, "refused a job");
    }
    answer
}

async fn take(
    ingress: &App,
    principal: &Principal,
    asked: Asked,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let wishes = wishes(&body::read(body).await?, &ingress.known.targets(), asked.key.as_deref())?;
    make_jobs(ingress, principal, wishes, asked, headers).await
}

/// How a request wants its jobs made.
pub(super) struct Asked {
    wait: Option<Duration>,
    pub(super) key: Option<String>,
    /// What its body takes.
    held: Option<OfRequest>,
}

impl Asked {
    pub(super) fn of(
        parameters: &Parameters,
        headers: &HeaderMap,
        held: Option<Extension<OfRequest>>,
    ) -> Result<Asked, Problem> {
        parameters.only(&["wait"])?;
        Ok(Asked { wait: parameters.wait()?, key: key(headers)?, held: held.map(|Extension(held)| held) })
    }
}

/// Makes jobs of the wishes and answers for them, at once or, where that is wanted, once all have ended.
pub(super) async fn make_jobs(
    ingress: &App,
    principal: &Principal,
    wishes: Vec<Wish>,
    asked: Asked,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    if !ingress.ready_within(READY_WITHIN).await {
        return Err(Kind::Starting.with("the history has not been read yet"));
    }
    for wish in &wishes {
        demand(ingress, principal, wish)?;
    }
    let wishes = rollback::with_images(ingress, wishes).await?;
    let said = ingress.view.listen();
    let jobs = publish(ingress, wishes, principal, headers).await?;
    let mut accepted = accepted(&jobs, &base_url(ingress, headers))?;
    // Of a text of a megabyte nothing is left behind while its end is waited for.
    drop(jobs);
    asked.held.iter().for_each(OfRequest::give_back);
    let ids: Vec<JobId> = accepted.jobs.iter().map(|job| job.id).collect();
    let states = match asked.wait {
        Some(wait) => timeout(wait, ends(ingress, &ids, said)).await.ok().flatten(),
        None => None,
    };
    if states.is_none() {
        tell_what_waits(ingress, &mut accepted).await;
    }
    Ok(answer(accepted, states))
}

/// Refuses a wish that the caller may not have.
fn demand(ingress: &App, principal: &Principal, wish: &Wish) -> Result<(), Problem> {
    needs(wish, &ingress.view).iter().try_for_each(|need| match &need.target {
        Some(target) => principal.demand(need.operation, target),
        None => principal.demand_everywhere(need.operation),
    })
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    match text_header(headers, &KEY).filter(|key| !key.is_empty()) {
        Some(key) if key.len() > LONGEST_KEY => {
            Err(Kind::BadQuery.with(format!("the Idempotency-Key is longer than {LONGEST_KEY} bytes")))
        }
        key => Ok(key),
    }
}

/// Reads one wish or an array of them; a fault in one refuses all.
fn wishes(body: &[u8], targets: &Targets, key: Option<&str>) -> Result<Vec<Wish>, Problem> {
    let body = terms::json(body)?;
    let wish = |value: &Value| whole_wish(value, targets, key.map(str::to_owned));
    match &body {
        Value::Array(items) if items.is_empty() => Err(Kind::BadJob.with("the array is empty")),
        Value::Array(items) if items.len() > MOST_WISHES => {
            Err(Kind::BadJob.with(format!("the array has more than {MOST_WISHES} jobs")))
        }
        Value::Array(items) => items.iter().map(wish).collect(),
        one @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            Ok(vec![wish(one)?])
        }
    }
}

/// Reads one wish, which `delivery` names.
pub(crate) fn whole_wish(
    value: &Value,
    targets: &Targets,
    delivery: Option<String>,
) -> Result<Wish, Problem> {
    let (target, operation) = wish(value, targets)?;
    terms::version(value.get("version"))?;
    let not_before = terms::not_before(value.get("not_before"))?;
    let now = terms::at_once(value.get("now"))?;
    // Who names the target means this very image, whatever runs there.
    let wish = Wish { target, operation, not_before, deadline: None, now, upward: false, delivery };
    Ok(Wish { deadline: terms::deadline(value.get("deadline"), &wish)?, ..wish })
}

pub(super) fn wish(value: &Value, targets: &Targets) -> Result<(Arc<Target>, Operation), Problem> {
    let Value::Object(keys) = value else {
        return Err(Kind::BadJob.with("a job is an object"));
    };
    terms::only_the_callers(keys)?;
    let target = target(value.get("target"), targets)?;
    let operation = match (value.get("operation"), value.get("image")) {
        (Some(operation), None) if value.get("service").is_none() => operation_of(operation)?,
        (Some(_), _) => {
            return Err(Kind::BadJob.with("`operation` takes the place of `image` and `service`"));
        }
        (None, Some(_)) => set_image(value)?,
        (None, None) => return Err(Kind::BadJob.with("the job has neither `image` nor `operation`")),
    };
    Ok((target, operation))
}

pub(super) fn target(given: Option<&Value>, targets: &Targets) -> Result<Arc<Target>, Problem> {
    let Some(name) = given.and_then(Value::as_str) else {
        return Err(Kind::BadJob.with("the job has no `target`"));
    };
    let name: proto::TargetName = name
        .parse()
        .map_err(|error| Kind::UnknownTarget.with(format!("no target has this name: {error}")))?;
    let found = targets.get(&name).map(Arc::clone);
    found.ok_or_else(|| Kind::UnknownTarget.with(format!("there is no target `{name}`")))
}

fn operation_of(value: &Value) -> Result<Operation, Problem> {
    let Value::Object(keys) = value else {
        return Err(Kind::BadJob.with("the operation is not an object"));
    };
    let kind = keys.get("type").and_then(Value::as_str);
    let kind = kind.ok_or_else(|| Kind::BadJob.with("the operation has no `type`"))?;
    if !Operation::TYPES.contains(&kind) {
        let known = Operation::TYPES.join("`, `");
        let problem = Kind::UnknownOperation.with(format!("there is no operation `{kind}`"));
        return Err(problem.hint(format!("this version knows `{known}`")));
    }
    let known: &[&str] = match kind {
        "set-image" => &["type", "image", "service"],
        // The image is that of the job: whoever wants another deploys it.
        "rollback" => &["type", "service", "job"],
        "prune-images" => &["type", "older_than_s", "labels"],
        "hold" | "release" => &["type", "image"],
        "cancel" => &["type", "job"],
        "deploy-stack" => &["type", "compose", "env", "files", "prune", "adopt"],
        "remove-stack" => &["type", "force"],
        "deploy-git" => &[
            "type",
            "url",
            "reference",
            "file",
            "more_files",
            "username",
            "password",
            "env",
            "every_s",
            "settings_only",
        ],
        "migrate" => &["type", "environment", "name"],
        _ => &["type"],
    };
    only_keys(&format!("the operation `{kind}`"), keys, known)?;
    if kind == "set-image" {
        return set_image(value);
    }
    let operation = serde_json::from_value(value.clone())
        .map_err(|error| Kind::BadJob.with(format!("the operation cannot be used: {error}")))?;
    if let Operation::DeployStack(text) = &operation {
        stack_text::check(text)?;
    }
    if let Operation::DeployGit(git) = &operation {
        git.check().map_err(|error| Kind::BadJob.with(format!("the stack cannot be deployed: {error}")))?;
    }
    Ok(operation)
}

fn set_image(value: &Value) -> Result<Operation, Problem> {
    let given = value.get("image").and_then(Value::as_str);
    let given = given.ok_or_else(|| Kind::BadImage.with("`image` is not a text"))?;
    let image = given
        .parse()
        .map_err(|error| Kind::BadImage.with(format!("the image `{given:.100}` cannot be used: {error}")))?;
    let service = match value.get("service") {
        None | Some(Value::Null) => None,
        // A star would stand for every service.
        Some(Value::String(service)) if !service.is_empty() && !service.contains('*') => {
            Some(service.clone())
        }
        Some(_) => return Err(Kind::BadJob.with("`service` is not the name of a service")),
    };
    Ok(Operation::SetImage { image, service })
}

/// The command line names itself; that it did is for people, and decides nothing: not even which deliveries are the same.
fn called_by(headers: &HeaderMap) -> CauseKind {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let is_cli = agent.is_some_and(|agent| agent.starts_with("longshore/"));
    if is_cli { CauseKind::Cli } else { CauseKind::Api }
}

async fn publish(
    ingress: &App,
    wishes: Vec<Wish>,
    principal: &Principal,
    headers: &HeaderMap,
) -> Result<Vec<Job>, Problem> {
    let cause =
        Cause { kind: called_by(headers), source: None, by: Some(principal.name.clone()), delivery: None };
    let request = Request { cause, traceparent: traceparent(headers), whole: true };
    let taken = ingress.take(wishes, request).await;
    let taken = taken.map_err(|_| Kind::Internal.with("taking the jobs failed"))?;
    let Taken { jobs, refused } =
        taken.map_err(|_| Kind::KeyReused.with("the Idempotency-Key came with another body before"))?;
    for job in &jobs {
        tracing::info!(job = %job.id, target = %job.target, by = principal.name, image = job.operation.image().map(proto::ImageRef::familiar), "accepted");
    }
    let Some((target, error)) = refused.first() else { return Ok(jobs) };
    tracing::error!(%target, error = error as &dyn std::error::Error, "a call made no job");
    let problem = Problem::of_queue_for(target, error);
    if jobs.is_empty() {
        return Err(problem);
    }
    let taken: Vec<String> = jobs.iter().map(|job| format!("{} for {}", job.id, job.target)).collect();
    let detail = format!("{}; taken before that: {}", problem.detail(), taken.join(", "));
    Err(problem
        .kind()
        .with(detail)
        .hint("send the same body with the same Idempotency-Key to have the rest taken"))
}

/// The states of all jobs once all have ended; none when the server stops before.
async fn ends(ingress: &App, ids: &[JobId], mut said: Receiver<Said>) -> Option<Vec<State>> {
    loop {
        let states: Option<Vec<State>> =
            ids.iter().map(|id| ingress.view.state(*id).filter(|state| state.is_end())).collect();
        if states.is_some() {
            return states;
        }
        tokio::select! {
            heard = said.recv() => match heard {
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            },
            () = ingress.stop.cancelled() => return None,
        }
    }
}

fn accepted(jobs: &[Job], base: &str) -> Result<Accepted, Problem> {
    let first = jobs.first().ok_or_else(|| Kind::Internal.with("no job was made"))?;
    let accepted = jobs.iter().map(|job| AcceptedJob::of(job, base)).collect();
    Ok(Accepted { chain: first.chain, jobs: accepted, refused: Vec::new(), kept: None })
}

/// Says of the jobs that nobody is there to carry out that they wait.
async fn tell_what_waits(ingress: &App, accepted: &mut Accepted) {
    for told in &mut accepted.jobs {
        let Some((job, state)) = ingress.view.get(told.id) else { continue };
        told.waits = ingress.outlook.pools.why_waiting(&*ingress.queue, &job, state).await;
    }
}

fn answer(mut accepted: Accepted, states: Option<Vec<State>>) -> Response {
    let status = if states.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    for (job, state) in accepted.jobs.iter_mut().zip(states.into_iter().flatten()) {
        job.state = Some(state);
    }
    (status, Json(accepted)).into_response()
}
