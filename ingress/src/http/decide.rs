//! `POST /v1/jobs/{id}/replay`, `/discard`, `/cancel` and `/approve`; `POST /v1/targets/{pool}/{name}/release`.

use std::sync::Arc;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use proto::{
    Job, JobId, State as JobState,
    api::{Accepted, AcceptedJob, Discarded, JobName},
};

use super::{
    App, admit, base_url, body,
    dead::{left_by, mended_for},
    door::demand_on_job,
    job_id, job_name,
    jobs::unreadable,
    query::Parameters,
    targets::target_name,
    unknown_job,
};
use crate::{
    access::principal::Principal,
    problem::{Kind, Problem},
    refusal::Refusal,
    timeline::TimelineError,
};

pub(super) async fn replay(
    State(ingress): State<App>,
    Path(name): Path<String>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = admitted(&ingress, &headers, body).await?;
    parameters.only(&["force"])?;
    let (name, force) = (job_name(&name)?, parameters.flag("force")?);
    demand_on_job(&ingress, &principal, "replay", name).await?;
    let job = decided(&ingress, move |ingress| async move { ingress.replay(name, force).await }).await?;
    tracing::info!(job = %job.id, target = %job.target, replays = %name, force, by = principal.name, "accepted");
    Ok(accepted(&job, &base_url(&ingress, &headers)))
}

pub(super) async fn discard(
    State(ingress): State<App>,
    Path(name): Path<String>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Discarded>, Problem> {
    let principal = admitted(&ingress, &headers, body).await?;
    parameters.only(&["force"])?;
    let (id, force, by) = (job_name(&name)?, parameters.flag("force")?, principal.name.clone());
    demand_on_job(&ingress, &principal, "discard", id).await?;
    let letters =
        decided(&ingress, move |ingress| async move { ingress.discard(id, force, by).await }).await?;
    tracing::info!(job = %id, force, by = principal.name, "discarded");
    Ok(Json(Discarded { id, letters }))
}

pub(super) async fn cancel(
    State(ingress): State<App>,
    Path(id): Path<String>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = admitted(&ingress, &headers, body).await?;
    parameters.only(&[])?;
    let (id, by) = (job_id(&id)?, principal.name.clone());
    demand_on_job(&ingress, &principal, "cancel", JobName::Job(id)).await?;
    let job = decided(&ingress, move |ingress| async move { ingress.cancel(id, by).await }).await?;
    tracing::info!(job = %job.id, target = %job.target, cancels = %id, by = principal.name, "accepted");
    Ok(accepted(&job, &base_url(&ingress, &headers)))
}

pub(super) async fn approve(
    State(ingress): State<App>,
    Path(id): Path<String>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = admitted(&ingress, &headers, body).await?;
    parameters.only(&["force"])?;
    let (id, force, by) = (job_id(&id)?, parameters.flag("force")?, principal.name.clone());
    demand_on_job(&ingress, &principal, "approve", JobName::Job(id)).await?;
    let job = decided(&ingress, move |ingress| async move { ingress.approve(id, force, by).await }).await?;
    tracing::info!(job = %job.id, target = %job.target, approves = %id, force, by = principal.name, "accepted");
    Ok(accepted(&job, &base_url(&ingress, &headers)))
}

pub(super) async fn release(
    State(ingress): State<App>,
    Path((pool, name)): Path<(String, String)>,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = admitted(&ingress, &headers, body).await?;
    parameters.only(&[])?;
    let (target, by) = (target_name(&pool, &name)?, principal.name.clone());
    principal.demand("release", &target)?;
    let job = decided(&ingress, move |ingress| async move { ingress.release(&target, by).await }).await?;
    tracing::info!(job = %job.id, target = %job.target, releases = ?job.replays, by = principal.name, "accepted");
    Ok(accepted(&job, &base_url(&ingress, &headers)))
}

/// Who decides. What they want stands in the URL: a body that says more would be ignored, so it is refused.
async fn admitted(ingress: &App, headers: &HeaderMap, body: Body) -> Result<Principal, Problem> {
    let principal = admit(ingress, headers).await?;
    let body: Bytes = body::read(body).await?;
    if body.is_empty() || body.as_ref() == b"{}" {
        return Ok(principal);
    }
    let problem = Kind::BadQuery.with("this path takes no body");
    Err(problem.hint("send none; a replay or an approval is forced with ?force=true"))
}

/// Sees a decision through even when the caller hangs up.
async fn decided<T: Send + 'static, D>(ingress: &App, decide: impl FnOnce(App) -> D) -> Result<T, Problem>
where
    D: Future<Output = Result<T, Refusal>> + Send + 'static,
{
    let decided = ingress.to_the_end(decide(Arc::clone(ingress))).await;
    decided.map_err(|_| Kind::Internal.with("carrying it out failed"))?.map_err(|refusal| told(&refusal))
}

fn accepted(job: &Job, base: &str) -> Response {
    let jobs = vec![AcceptedJob::of(job, base)];
    (StatusCode::ACCEPTED, Json(Accepted { chain: job.chain, jobs, refused: Vec::new(), kept: None }))
        .into_response()
}

/// What keeps such a job is not an approval, if anything does.
fn needs_no_approval(id: JobId, state: JobState) -> Problem {
    let problem = Kind::NeedsNoApproval.with(format!("the job {id} needs no approval, it is `{state}`"));
    match state {
        JobState::Held => problem.hint(
            "GET /v1/jobs/<id> or `longshore job show <id>` tells what it waits for; a time or a window opens by itself, an \
             image that was rolled back is tried again with `longshore target release <target>`",
        ),
        JobState::Accepted
        | JobState::Started
        | JobState::Progress
        | JobState::Retrying
        | JobState::Succeeded
        | JobState::RolledBack
        | JobState::Failed
        | JobState::Dead
        | JobState::Superseded
        | JobState::Rejected
        | JobState::Cancelled => problem,
    }
}

/// What a caller is told whose decision is not carried out.
fn told(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Starting => Kind::Starting.with("the history has not been read yet"),
        Refusal::Away
        | Refusal::History(TimelineError::Away)
        | Refusal::Unweighed(TimelineError::Away) => Kind::BrokerAway.with(
            "what became of jobs is known to the broker, which cannot be reached; nothing was changed, and nothing is lost",
        ),
        Refusal::Unknown(JobName::Job(id)) => unknown_job(id),
        Refusal::Unknown(JobName::Letter(name)) => Kind::UnknownJob.with(format!(
            "no dead letter `{name}` waits: it was replayed or discarded before, or there never was one"
        )),
        Refusal::NotDead { id, state } => Kind::NotDead
            .with(format!("the job {id} is `{state}`; only dead jobs are replayed and discarded")),
        Refusal::JustDied(id) => {
            Kind::Unavailable.with(format!("the job {id} has died just now and is still being laid aside"))
        }
        Refusal::Closed { id, by: Some(by) } => {
            Kind::AlreadyClosed.with(format!("the job {id} was replayed before, as {by}"))
        }
        Refusal::Closed { id, by: None } => {
            Kind::AlreadyClosed.with(format!("the job {id} was replayed or discarded before"))
        }
        Refusal::NewerApplied { newer, state } => Kind::NewerApplied.with(format!(
            "the newer job {newer} for the same thing is `{state}`; this would put an older wish over it"
        )),
        Refusal::Unreadable(name) => {
            Kind::Unreadable.with(format!("what lies in {name} is no job that this version can read"))
        }
        Refusal::Replayable { letter, user } => Kind::Unreadable.with(left_by(*letter, user)).hint(format!(
            "{}; to give it up all the same, discard it with `--force` (`?force=true`)",
            mended_for(user)
        )),
        Refusal::LeftBy { letter, user } => Kind::Unreadable.with(left_by(*letter, user)).hint(mended_for(user)),
        Refusal::Ended { id, state } => Kind::AlreadyEnded.with(format!("the job {id} has ended `{state}`")),
        Refusal::Approved { id, made } => Kind::NotCancellable
            .with(format!("the job {id} was approved, and {made} stands for it"))
            .hint(format!("call that one off: `longshore job cancel {made}`")),
        Refusal::CalledOff { id, cancel } => Kind::CalledOff
            .with(format!("the job {id} is being called off, by {cancel}"))
            .hint(format!("`longshore job show {cancel}` tells how that ends; deploy its image again if it is still wanted")),
        Refusal::NeedsNoApproval { id, state } => needs_no_approval(*id, *state),
        Refusal::ApprovalExpired { id, until } => Kind::AlreadyEnded
            .with(format!("the job {id} could be approved until {until}"))
            .hint("deploy its image again if it is still wanted"),
        Refusal::IsCancel(id) => Kind::NotCancellable.with(format!("the job {id} is a cancel itself")),
        Refusal::NothingHeld(target) => Kind::NothingHeld
            .with(format!("`{target}` is not on hold, and no image that was rolled back there is the last one"))
            .hint(
                "deploy the image that you mean: where it was rolled back here before, it is held, and can be released",
            ),
        Refusal::NotTold(target) => Kind::NothingHeld
            .with(format!("nothing of the last day is on hold on `{target}`, and no worker tells what it remembers"))
            .hint(
                "what was put on hold before that stands on the target: release it again once a worker of its pool answers",
            ),
        Refusal::Queue(error) => {
            tracing::error!(error = error as &dyn std::error::Error, "a decision was not carried out");
            Problem::of_queue(error)
        }
        Refusal::History(
            error @ (TimelineError::History(_) | TimelineError::TooSlow(_) | TimelineError::StillRead),
        ) => unreadable(error),
        Refusal::Unweighed(
            error @ (TimelineError::History(_) | TimelineError::TooSlow(_) | TimelineError::StillRead),
        ) => unweighed(error),
    }
}

/// What a caller is told when it is not known whether a newer job stands in the way.
fn unweighed(error: &TimelineError) -> Problem {
    const FORCED: &str = "to put the older one over whatever came since, add --force (?force=true)";
    if matches!(error, TimelineError::StillRead) {
        return Kind::HistoryUnread
            .with("whether a newer job was applied since is still being read")
            .hint(format!("ask again in a few seconds: the reading goes on; {FORCED}"));
    }
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "it is not known whether a newer job stands in the way"
    );
    Kind::HistoryUnread
        .with("whether a newer job was applied since cannot be read now")
        .hint(format!("try again; if it lasts, look at the broker and the log of this server; {FORCED}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_cannot_be_weighed_can_be_forced() {
        let slow = TimelineError::TooSlow(Duration::from_secs(5));
        for error in [TimelineError::StillRead, slow] {
            let told = told(&Refusal::Unweighed(error.clone()));
            assert_eq!(told.kind(), Kind::HistoryUnread);
            assert!(told.hint_text().contains("--force"), "{}", told.hint_text());
            let of_one = super::told(&Refusal::History(error));
            assert!(!of_one.hint_text().contains("--force"), "it would help nobody: {}", of_one.hint_text());
        }
    }
}
