//! `GET /v1/jobs` and `GET /v1/jobs/{id}`.

use axum::{
    Json,
    extract::{Path, State},
    http::HeaderMap,
};
use proto::api::{JobPage, JobStatus, JobSummary};

use super::{App, admit, job_id, query::Parameters, unknown_job};
use crate::{
    problem::{Kind, Problem},
    timeline::{self, TimelineError},
};

pub(super) async fn list(
    State(ingress): State<App>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Json<JobPage>, Problem> {
    admit(&ingress, &headers)?;
    let (page, more) = ingress.view.page(&parameters.filter()?, parameters.limit()?);
    let next = page.last().filter(|_| more).map(|(job, _)| job.id);
    let jobs = page.into_iter().map(|(job, state)| JobSummary { job, state });
    Ok(Json(JobPage { jobs: jobs.collect(), next }))
}

pub(super) async fn show(
    State(ingress): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<JobStatus>, Problem> {
    admit(&ingress, &headers)?;
    let id = job_id(&id)?;
    let timeline = timeline::of(&ingress.queue, &ingress.view, id).await;
    let timeline = timeline.map_err(|error| unreadable(&error))?.ok_or_else(|| unknown_job(id))?;
    let events = timeline.events.into_iter().map(|(_, event)| event).collect();
    Ok(Json(JobStatus { job: timeline.job, state: timeline.state, events }))
}

/// What a caller is told when the history cannot be read.
pub(super) fn unreadable(error: &TimelineError) -> Problem {
    tracing::warn!(error = error as &dyn std::error::Error, "a job could not be shown");
    Kind::Unavailable.with("the history cannot be read now")
}
