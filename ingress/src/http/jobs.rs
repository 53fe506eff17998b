//! `GET /v1/jobs` and `GET /v1/jobs/{id}`.

use axum::{
    Json,
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use proto::{
    Job, Reason,
    api::{JobName, JobPage, JobStatus, JobSummary, Shown},
    reason,
};

use super::{App, admit, dead, door::demand_on_job, job_name, query::Parameters};
use crate::{
    problem::{Kind, Problem},
    timeline::{self, TimelineError},
};

pub(super) async fn list(
    State(ingress): State<App>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let principal = admit(&ingress, &headers).await?;
    principal.demand_sight()?;
    parameters.only(&["target", "state", "before", "limit"])?;
    if parameters.wants_the_dead() {
        return Ok(Json(dead::page(&ingress, &parameters, &principal).await?).into_response());
    }
    let mut filter = parameters.filter()?;
    filter.target.as_ref().map_or(Ok(()), |target| principal.demand("read", target))?;
    filter.seen_by = Some(principal).filter(|principal| !principal.sees_all());
    let (page, more) = ingress.view.page(&filter, parameters.limit()?);
    let next = page.last().filter(|_| more).map(|(job, _)| job.id);
    let jobs = page.into_iter().map(|(job, state)| {
        let held = ingress.view.why_held(job.id).map(|why| still_held(&ingress, &job, why));
        let image = ingress.view.brought(job.id);
        JobSummary { job, state, held, image }
    });
    Ok(Json(JobPage { jobs: jobs.collect(), next }).into_response())
}

/// What a worker said when it held the job, unless something newer was deployed since: to be told how to deploy the held
/// one at once would undo that.
fn still_held(ingress: &App, job: &Job, why: Reason) -> Reason {
    let text = match ingress.view.overtaken_by(job) {
        None => return why,
        Some((newer, state)) if state.is_end() => {
            format!("overtaken by {newer}, which was deployed since: it ends by itself within ten minutes")
        }
        Some((newer, _)) => {
            format!("{newer} is being deployed, which is newer: it ends by itself after that")
        }
    };
    Reason::new(reason::NEWER_WISH, text)
}

pub(super) async fn show(
    State(ingress): State<App>,
    Path(name): Path<String>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Json<Shown>, Problem> {
    let principal = admit(&ingress, &headers).await?;
    parameters.only(&[])?;
    let name = job_name(&name)?;
    demand_on_job(&ingress, &principal, "read", name).await?;
    let id = match name {
        JobName::Job(id) => id,
        JobName::Letter(_) => return dead::shown(&ingress, name).await.map(Json),
    };
    let timeline = timeline::of(&ingress.queue, &ingress.view, id).await;
    let Some(timeline) = timeline.map_err(|error| unreadable(&error))? else {
        return dead::shown(&ingress, name).await.map(Json);
    };
    let is_dead = timeline.state == proto::State::Dead;
    let letter = if is_dead { dead::letter_of(&ingress, name).await } else { None };
    let events = timeline.events.into_iter().map(|(_, event)| event).collect();
    let held = ingress.view.why_held(id).map(|why| still_held(&ingress, &timeline.job, why));
    let pools = &ingress.outlook.pools;
    let waits = pools.why_waiting(&*ingress.queue, &timeline.job, timeline.state).await;
    let status = JobStatus { job: timeline.job, state: timeline.state, events, held, waits, letter };
    Ok(Json(Shown::Job(Box::new(status))))
}

/// What a caller is told when the history cannot be read.
pub(super) fn unreadable(error: &TimelineError) -> Problem {
    if matches!(error, TimelineError::StillRead) {
        tracing::debug!("a job is not told yet: the history is still being read");
        return Kind::HistoryUnread
            .with("the job is none of the newest, and what was said since its time is still being read")
            .hint("ask again in a few seconds: the reading goes on");
    }
    tracing::warn!(error = error as &dyn std::error::Error, "a job could not be shown");
    Kind::HistoryUnread.with("the history cannot be read now")
}
