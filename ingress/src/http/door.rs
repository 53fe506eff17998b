//! Who is let in, and a word in the log on everyone who is not.

use axum::{
    extract::{Request, State},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use proto::{TargetName, api::JobName};

use super::{App, dead, jobs::unreadable, public_path, unknown_job};
use crate::{
    access::principal::Principal,
    audit::Refusal,
    limits::Client,
    problem::{Problem, Refused},
    timeline,
};

/// Finds out who calls the API.
pub(super) async fn admit(ingress: &App, headers: &HeaderMap) -> Result<Principal, Problem> {
    Ok(ingress.doors().admit(headers).await?)
}

/// Refuses what the caller may not do to the target of a job, or of what died and may be none.
pub(super) async fn demand_on_job(
    ingress: &App,
    principal: &Principal,
    operation: &str,
    name: JobName,
) -> Result<(), Problem> {
    let everywhere = principal.demand_everywhere(operation);
    let Err(refused) = everywhere else { return Ok(()) };
    match target_of(ingress, name).await? {
        Some(target) => principal.demand(operation, &target),
        None => Err(refused),
    }
}

/// The target of a job; none of a dead letter in which no job can be read.
async fn target_of(ingress: &App, name: JobName) -> Result<Option<TargetName>, Problem> {
    if let JobName::Job(id) = name {
        let timeline = timeline::of(&ingress.queue, &ingress.view, id).await;
        if let Some(timeline) = timeline.map_err(|error| unreadable(&error))? {
            return Ok(Some(timeline.job.target));
        }
    }
    let letters = dead::letters(ingress, name).await?;
    let letter = letters.first().ok_or_else(|| unknown_job(name))?;
    Ok(letter.job().map(|job| job.target))
}

/// Notes every refusal: who, from where, what and why; never what was presented.
pub(super) async fn note_refusals(State(ingress): State<App>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = public_path(request.uri().path()).to_owned();
    let client = request.extensions().get::<Client>().copied();
    let response = next.run(request).await;
    if let Some(Refused { kind, by }) =
        response.extensions().get::<Refused>().filter(|refused| refused.kind.is_refusal())
    {
        let peer = client.map(|client| client.address);
        let (method, by) = (method.as_str(), by.as_deref());
        ingress.audit.note(&Refusal { kind: *kind, peer, by, method, path: &path });
    }
    response
}
