//! `POST /v1/targets/{pool}/{name}/rollback`, and the images of the jobs that rollbacks name.

use axum::{
    Extension,
    extract::{Path, Request, State as Extracted},
    http::HeaderMap,
    response::Response,
};
use proto::{ImageRef, JobId, Operation, State, TargetName, api::RollbackWish};
use serde_json::Value;

use super::{
    App, admit,
    body::{self, OfRequest},
    create::{Asked, make_jobs, target},
    jobs::unreadable,
    query::Parameters,
    terms, unknown_job,
};
use crate::{
    problem::{Kind, Problem},
    route::Wish,
    timeline,
};

pub(super) async fn roll_back(
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
    let body = body::read(body).await?;
    let RollbackWish { job, service } = terms::optional("a rollback", &body, &["job", "service"])?;
    let operation = Operation::Rollback { service, job, image: None };
    let delivery = asked.key.clone();
    let wish =
        Wish { target, operation, not_before: None, deadline: None, now: false, upward: false, delivery };
    make_jobs(&ingress, &principal, vec![wish], asked, &headers).await
}

/// The same wishes, with the image where a rollback names a job: only the history knows what that job brought.
pub(crate) async fn with_images(ingress: &App, mut wishes: Vec<Wish>) -> Result<Vec<Wish>, Problem> {
    for wish in &mut wishes {
        let target = wish.target.name.clone();
        if let Operation::Rollback { job: Some(job), image, .. } = &mut wish.operation {
            *image = Some(image_of(ingress, *job, &target).await?);
        }
    }
    Ok(wishes)
}

/// The image with which a job of `target` succeeded.
async fn image_of(ingress: &App, job: JobId, target: &TargetName) -> Result<ImageRef, Problem> {
    let timeline = timeline::of(&ingress.queue, &ingress.view, job).await;
    let timeline = timeline.map_err(|error| unreadable(&error))?.ok_or_else(|| unknown_job(job))?;
    let refused = |detail: String| {
        let hint =
            "name a job of this target that succeeded with an image; GET /v1/jobs?state=succeeded lists them";
        Err(Kind::BadJob.with(detail).hint(hint))
    };
    if timeline.job.target != *target {
        // Of what else there is, the caller need not be told.
        return Err(unknown_job(job));
    }
    if timeline.state != State::Succeeded {
        return refused(format!("the job {job} did not succeed, it is `{}`", timeline.state));
    }
    let told = timeline.events.iter().rev().find_map(|(_, event)| event.data.image.as_ref()?.to.clone());
    match told.or_else(|| timeline.job.operation.image().cloned()) {
        Some(image) => Ok(image),
        None => refused(format!("the job {job} brought no image")),
    }
}
