//! `POST /hooks/<source>`: from a push to jobs.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, Request as HttpRequest, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use proto::{
    Cause, CauseKind, Job, JobId, PoolName, TargetName,
    api::{Accepted, AcceptedJob, Ignored, Kept, Refused},
};
use queue::QueueError;

use super::{App, base_url, body, gate::too_many_pushes, query::Parameters, traceparent};
use crate::{
    accept::{Request, Taken},
    access::{doors, principal::Principal},
    authenticate::{Knock, Refusal, Scheme},
    kept::Push,
    limits::Client,
    problem::{Kind, Problem},
    route::{Wish, nothing_follows},
    serve::Peer,
    settings::Settings,
    source::{KEYS_OF_A_PUSH, Message, Reading, Sighting, Source, Unreadable},
};

/// How long a hook waits for the history to be read at start; the most impatient sender waits 1 s.
const READY_WITHIN: Duration = Duration::from_millis(500);

pub(super) async fn take(
    State(ingress): State<App>,
    Path(source): Path<String>,
    Extension(peer): Extension<Peer>,
    Extension(client): Extension<Client>,
    parameters: Parameters,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let (parameters, headers) = (&parameters, &head.headers);
    let call = Call { source: &source, path_key: None, peer, client, parameters, headers };
    let answer = hook(&ingress, &head.method, call, body).await;
    counted(&ingress, &source, answer)
}

pub(super) async fn take_with_key(
    State(ingress): State<App>,
    Path((source, key)): Path<(String, String)>,
    Extension(peer): Extension<Peer>,
    Extension(client): Extension<Client>,
    parameters: Parameters,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let (parameters, headers) = (&parameters, &head.headers);
    let call = Call { source: &source, path_key: Some(&key), peer, client, parameters, headers };
    let answer = hook(&ingress, &head.method, call, body).await;
    counted(&ingress, &source, answer)
}

/// A request to a hook, without its body.
struct Call<'a> {
    source: &'a str,
    path_key: Option<&'a str>,
    peer: Peer,
    client: Client,
    parameters: &'a Parameters,
    headers: &'a HeaderMap,
}

async fn hook(ingress: &App, method: &Method, call: Call<'_>, body: Body) -> Result<Response, Problem> {
    let settings = ingress.settings();
    let source = match (find(&settings, call.source), *method == Method::POST) {
        (found, true) => found?,
        (Ok(source), false) if *method == Method::GET && source.kind.takes_get() => source,
        (Ok(source), false) if *method == Method::OPTIONS && source.kind.takes_options() => {
            return grant(source, &call);
        }
        (Ok(_), false) => return Ok(not_allowed(call.source, method)),
        (Err(unknown), false) => return Err(unknown),
    };
    // Strangers make nobody wait for a body. A signature is checked after it was read.
    let principal = match source.door.admit(&call.knock()) {
        Ok(()) => None,
        Err(refusal) => Some(by_token(ingress, source, refusal, call.headers).await?),
    };
    let body = body::read_up_to(body, settings.limits.body).await.map_err(too_large)?;
    let message = Message { headers: call.headers, body: &body, tag: call.parameters.get("tag") };
    if principal.is_none() {
        source.door.check_signature(&message).map_err(|refusal| refused(source, refusal))?;
    }
    // Strangers use up nothing of what is the source's.
    ingress.meters.push(&source.name, &call.client).map_err(|wait| too_many_pushes(&source.name, wait))?;
    match source.read(&message).map_err(refused_body)? {
        Reading::Sightings(sightings) => {
            let sender = Sender { source, principal, headers: call.headers };
            deploy(ingress, &settings, &sender, &sightings).await
        }
        Reading::Ignored(why) | Reading::NeedsRule(why) | Reading::Acknowledged(why) => {
            Ok(ignored(source, why))
        }
        Reading::Handshake(answer) => {
            tracing::info!(source = source.name, "confirmed that events are wanted here");
            Ok(Json(answer).into_response())
        }
    }
}

/// Whoever pushes: by the source's own key or signature, or as somebody with a name.
struct Sender<'a> {
    source: &'a Source,
    principal: Option<Principal>,
    headers: &'a HeaderMap,
}

/// Somebody with a token for this source, who needs none of its secrets; else the refusal stands.
async fn by_token(
    ingress: &App,
    source: &Source,
    refusal: Refusal,
    headers: &HeaderMap,
) -> Result<Principal, Problem> {
    let problem = refused(source, refusal);
    if refusal == Refusal::NotLocal || !doors::is_ours(headers) || ingress.doors().is_admin(headers) {
        return Err(problem);
    }
    let principal = super::admit(ingress, headers).await?;
    principal.demand_source(&source.name)?;
    Ok(principal)
}

impl Sender<'_> {
    /// Leaves what the sender may deploy; where there is nothing of it, says so.
    fn allowed(&self, wishes: Vec<Wish>) -> Result<Vec<Wish>, Problem> {
        let Some(principal) = &self.principal else { return Ok(wishes) };
        let may = |wish: &Wish| principal.may_push(&self.source.name, &wish.target.name);
        let (allowed, refused): (Vec<Wish>, Vec<Wish>) = wishes.into_iter().partition(may);
        if allowed.is_empty() && !refused.is_empty() {
            return Err(principal.refuse_push(&self.source.name));
        }
        Ok(allowed)
    }

    /// Who pushes, where they have a name.
    fn name(&self) -> Option<String> {
        self.principal.as_ref().map(|principal| principal.name.clone())
    }

    /// Whether everything that anybody follows may be told to the sender.
    fn sees_all(&self) -> bool {
        self.principal.as_ref().is_none_or(Principal::sees_all)
    }

    /// Whether it does not matter which targets turn out to follow a push.
    fn may_wait(&self) -> bool {
        self.principal.as_ref().is_none_or(|principal| principal.pushes_everywhere(&self.source.name))
    }
}

impl Call<'_> {
    fn knock(&self) -> Knock<'_> {
        let key = self.parameters.get("key").or(self.parameters.get("access_token"));
        Knock { url_keys: [key, self.path_key], headers: self.headers, peer: self.peer.0.ip() }
    }
}

/// Answers who asks for leave to send, as CloudEvents' senders do: any rate, from where they say.
fn grant(source: &Source, call: &Call<'_>) -> Result<Response, Problem> {
    let Some(origin) = call.headers.get("webhook-request-origin") else {
        return Ok(not_allowed(call.source, &Method::OPTIONS));
    };
    source.door.admit_question(&call.knock()).map_err(|refusal| refused(source, refusal))?;
    let headers = [
        (HeaderName::from_static("webhook-allowed-origin"), origin.clone()),
        (HeaderName::from_static("webhook-allowed-rate"), HeaderValue::from_static("*")),
        (header::ALLOW, HeaderValue::from_static("POST")),
    ];
    Ok((StatusCode::OK, headers).into_response())
}

fn not_allowed(source: &str, method: &Method) -> Response {
    let problem = Kind::MethodNotAllowed.with(format!("/hooks/{source:.100} does not take {method}"));
    let mut response = problem.into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

fn find<'a>(settings: &'a Settings, name: &str) -> Result<&'a Source, Problem> {
    let found = settings.sources.get(name);
    found.ok_or_else(|| Kind::UnknownSource.with(format!("there is no source `{name}`")))
}

fn refused(source: &Source, refusal: Refusal) -> Problem {
    let headers = source.kind.scheme().map(Scheme::headers).unwrap_or_default().join("`, `");
    let wants = format!("let the sender sign with the source's `secret`, in one of the headers `{headers}`");
    match refusal {
        Refusal::Missing => Kind::MissingKey.with("the request carries no key"),
        Refusal::Wrong => Kind::WrongKey.with("the key in the request is not the source's"),
        Refusal::NotSigned => Kind::MissingKey.with("the request carries no signature").hint(wants),
        Refusal::WrongSignature => Kind::WrongKey
            .with("the signature in the request is not that of its body under the source's secret")
            .hint("compare the sender's secret with the source's `secret` or `secret_file`; nothing on the way may change the body"),
        Refusal::Stale => Kind::WrongKey
            .with("the request was signed more than five minutes ago, or for a time to come")
            .hint("compare the clocks of both machines"),
        Refusal::NotLocal => Kind::NotLocal
            .with("the request came from another machine, through a proxy, or from a page in a browser"),
    }
}

/// Who owns the server may let larger bodies in.
fn too_large(problem: Problem) -> Problem {
    if problem.kind() != Kind::TooLarge {
        return problem;
    }
    problem.hint("send less, or let larger hooks in with `limits.body` in the configuration, 25MiB at most")
}

fn refused_body(error: Unreadable) -> Problem {
    match error {
        Unreadable::NotJson(source) => Kind::NotJson.with(format!("the body is not JSON: {source}")),
        Unreadable::UnknownKey(ref key) if key == "target" => Kind::BadJob
            .with(error.to_string())
            .hint("to deploy to one target, POST {\"target\",\"image\"} to /v1/jobs; a push goes to every target that follows the image"),
        Unreadable::UnknownKey(_) => Kind::BadJob
            .with(error.to_string())
            .hint(format!("leave it out, or correct it: a push may have `{}`", KEYS_OF_A_PUSH.join("`, `"))),
        unusable @ Unreadable::NotText(_) => {
            Kind::BadImage.with(unusable.to_string()).hint("put it in quotes, or leave it out")
        }
        unusable @ Unreadable::BadService => {
            Kind::BadImage.with(unusable.to_string()).hint("name one service, or leave `service` out")
        }
        Unreadable::NoImage => {
            Kind::BadImage.with("the body names no image").hint("send {\"image\":\"repo:tag\"}")
        }
        untagged @ Unreadable::NoTag(_) => Kind::BadImage
            .with(untagged.to_string())
            .hint("send {\"image\":\"repo:tag@sha256:…\"}; `POST /v1/jobs` deploys a digest alone to a target by name"),
        Unreadable::BadImage { given, source } => {
            Kind::BadImage.with(format!("the image `{given:.100}` cannot be used: {source}"))
        }
    }
}

async fn deploy(
    ingress: &App,
    settings: &Arc<Settings>,
    sender: &Sender<'_>,
    sightings: &[Sighting],
) -> Result<Response, Problem> {
    let (source, headers) = (sender.source, sender.headers);
    // What workers found on their systems stands in the history.
    if !ingress.ready_within(READY_WITHIN).await {
        return Err(Kind::Starting.with("the history has not been read yet"));
    }
    let wishes = ingress.known.targets_under(settings).wishes(sightings);
    let untold = ingress.known.untold(settings);
    if wishes.is_empty() {
        return match untold {
            None => {
                // Names are for those who may see them.
                let withheld = ingress.known.withheld(settings, sightings).filter(|_| sender.sees_all());
                Ok(ignored(source, withheld.unwrap_or_else(|| nothing_follows(sightings))))
            }
            Some(_) if !sender.may_wait() => {
                Err(Kind::NobodyAlive.with("no worker has told yet which targets there are"))
            }
            Some(untold) => {
                let wished = ingress.wished_now();
                let kept = keep(ingress, sender, sightings, wished, (Vec::new(), untold)).await?;
                Ok((StatusCode::ACCEPTED, Json(Kept { jobs: Vec::new(), kept })).into_response())
            }
        };
    }
    let wishes = sender.allowed(wishes)?;
    // Below the jobs that are made now: what is wished from here on stands above what waits.
    let untold = untold.filter(|_| sender.may_wait()).map(|untold| (untold, ingress.wished_now()));
    let served = wishes.iter().map(|wish| wish.target.name.clone()).collect();
    let (kind, by) = (CauseKind::Hook, sender.name());
    let cause = Cause { kind, source: Some(source.name.clone()), by, delivery: None };
    let request = Request { cause, traceparent: traceparent(headers), whole: false };
    let named = wishes.iter().all(|wish| wish.delivery.is_some());
    let taken = ingress.take(wishes, request).await;
    let taken = taken.map_err(|_| Kind::Internal.with("taking the jobs failed"))?;
    // Hooks carry no key of their own that could be used twice; the sender's names only ever add up.
    let taken = taken.map_err(|reused| Kind::KeyReused.with(reused.to_string()))?;
    let kept = match untold {
        Some((untold, wished)) => Some(keep(ingress, sender, sightings, wished, (served, untold)).await?),
        None => None,
    };
    answer(taken, named, kept, &base_url(ingress, headers))
}

/// What is pushed may be for a target that only workers can find, and none has told of them yet: it waits on the
/// intake until one has. Many senders never come again. Says what it waits for.
async fn keep(
    ingress: &App,
    sender: &Sender<'_>,
    sightings: &[Sighting],
    wished: JobId,
    (served, (pool, system)): (Vec<TargetName>, (PoolName, String)),
) -> Result<String, Problem> {
    let (source, by) = (sender.source, sender.name());
    let (kind, name, by) = (CauseKind::Hook, Some(source.name.as_str()), by.as_deref());
    let push = Push { sightings, kind, source: name, by, wished, served };
    ingress.keep(&push).await.map_err(|error| Problem::of_queue(&error))?;
    let kept = format!(
        "no worker of the pool `{pool}` has told yet which services of the system `{system}` are targets; \
         the push is matched when one has"
    );
    tracing::warn!(source = source.name, why = kept, "kept");
    Ok(kept)
}

/// 202 when anything was taken: a sender that came again for the rest would deploy the others twice. Unless the
/// sender's names tell the jobs apart (`named`) and the rest may be taken soon: then it shall come again.
fn answer(taken: Taken, named: bool, kept: Option<String>, base: &str) -> Result<Response, Problem> {
    for (target, error) in &taken.refused {
        tracing::error!(%target, error = error as &dyn std::error::Error, "a push made no job");
    }
    for job in &taken.jobs {
        tracing::info!(job = %job.id, target = %job.target, source = job.cause.source, image = job.operation.image().map(proto::ImageRef::familiar), "accepted");
    }
    let Some(first) = taken.jobs.first() else {
        let refused = taken.refused.first();
        return Err(refused.map_or(Kind::Internal.with("no job was made"), |(target, error)| {
            Problem::of_queue_for(target, error)
        }));
    };
    if let Some((target, error)) = taken.refused.iter().find(|(_, error)| named && is_passing(error)) {
        return Err(to_be_sent_again(target, error, &taken.jobs));
    }
    let chain = first.chain;
    let refused = taken.refused.iter().map(|(target, error)| {
        let why = Problem::of_queue_for(target, error).detail().to_owned();
        Refused { target: target.clone(), why }
    });
    let body = Accepted {
        chain,
        refused: refused.collect(),
        jobs: taken.jobs.iter().map(|job| AcceptedJob::of(job, base)).collect(),
        kept,
    };
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

/// Whether the queue may take the same job a little later. A pool that nobody ever served is waited for by people.
fn is_passing(error: &QueueError) -> bool {
    match error {
        QueueError::NoPool(_) => false,
        QueueError::Full
        | QueueError::Unconfirmed { .. }
        | QueueError::Unavailable { .. }
        | QueueError::Closed
        | QueueError::NotOurs
        | QueueError::NobodyAlive(_)
        | QueueError::NoAnswer { .. }
        | QueueError::InUse(_)
        | QueueError::Storage { .. }
        | QueueError::Topology { .. }
        | QueueError::Settings(_) => true,
    }
}

fn to_be_sent_again(target: &TargetName, error: &QueueError, jobs: &[Job]) -> Problem {
    let taken: Vec<String> = jobs.iter().map(|job| format!("{} for {}", job.id, job.target)).collect();
    let problem = Problem::of_queue_for(target, error);
    let detail = format!("no job for {target}: {}; taken: {}", problem.detail(), taken.join(", "));
    problem.kind().with(detail).hint("send the same delivery again: what was taken is not taken twice")
}

fn ignored(source: &Source, why: String) -> Response {
    tracing::info!(source = source.name, why, "ignored");
    Json(Ignored { jobs: Vec::new(), ignored: why }).into_response()
}

/// Counts and logs a refusal; the queue's are logged with their cause where they happen.
fn counted(ingress: &App, source: &str, answer: Result<Response, Problem>) -> Result<Response, Problem> {
    if let Err(problem) = &answer {
        ingress.counters.refused(problem.kind());
    }
    // What no source is called may be anything, also a key in the wrong place.
    let source = ingress.settings().sources.contains_key(source).then_some(source);
    if let Some(problem) = answer.as_ref().err().filter(|problem| problem.kind().is_told_here()) {
        let (status, problem) = (problem.kind().status().as_u16(), problem.kind().slug());
        if ingress.audit.is_told(problem, source) {
            tracing::warn!(source, status, problem, "refused a hook");
        }
    }
    answer
}
