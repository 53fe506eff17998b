//! What every request has to pass before it comes to its path.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{App, body::Bodies};
use crate::{
    limits::Client,
    problem::{Kind, Problem},
    serve::Peer,
};

/// Who asks these watches the process, and gets an answer however much others ask.
const WATCHED: [&str; 2] = ["/healthz", "/readyz"];

/// The gate of one listener.
#[derive(Clone)]
pub(super) struct Gate {
    ingress: App,
    bodies: Arc<Bodies>,
}

impl Gate {
    pub(super) fn of(ingress: &App) -> Gate {
        let settings = ingress.settings();
        let bodies = Arc::new(Bodies::new(settings.limits.body_within, settings.limits.body));
        Gate { ingress: Arc::clone(ingress), bodies }
    }
}

/// Lets a request through that does not ask for too much, with what is known of its sender.
pub(super) async fn pass(
    State(gate): State<Gate>,
    Extension(Peer(peer)): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let client = Client::of(peer.ip(), request.headers(), &gate.ingress.settings().limits);
    if let Err(problem) = gate.admit(&client, &request) {
        return refused(&gate, &request, problem);
    }
    request.extensions_mut().insert(client);
    // Until there is an answer, the request is in memory.
    let (request, _held) = gate.bodies.count(client, request);
    next.run(request).await
}

impl Gate {
    fn admit(&self, client: &Client, request: &Request) -> Result<(), Problem> {
        if !WATCHED.contains(&request.uri().path()) {
            self.ingress.meters.request(client).map_err(|wait| too_many(client, wait))?;
        }
        plain(request.headers())?;
        readable(request.uri().path())
    }
}

fn refused(gate: &Gate, request: &Request, problem: Problem) -> Response {
    if request.uri().path().starts_with("/hooks/") {
        gate.ingress.counters.refused(problem.kind());
    }
    // Nobody is to fill the log either.
    tracing::debug!(problem = problem.kind().slug(), "refused a request");
    problem.into_response()
}

fn too_many(client: &Client, wait: Duration) -> Problem {
    let detail = format!("{} asks more often than one address may", client.address);
    Kind::TooManyRequests.with(detail).after(wait)
}

/// A source that pushes more than one may.
pub(super) fn too_many_pushes(source: &str, wait: Duration) -> Problem {
    let detail = format!("the source `{source}` pushes more often than one may");
    let hint = "wait as long as Retry-After says; `limits.sources` in the configuration sets how often a source may push";
    Kind::TooManyRequests.with(detail).hint(hint).after(wait)
}

/// Names are text, so nothing is at a path that is none.
fn readable(path: &str) -> Result<(), Problem> {
    let text = percent_encoding::percent_decode_str(path).decode_utf8();
    text.map(drop).map_err(|_| Kind::NotFound.with("there is nothing at a path that is no text"))
}

/// Nothing is unpacked: no sender of hooks packs, and a small request could become a large one.
fn plain(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    match codings.find(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        None => Ok(()),
        Some(coding) => {
            let coding: String = String::from_utf8_lossy(coding.as_bytes()).chars().take(100).collect();
            Err(Kind::EncodedBody.with(format!("the body has the content encoding `{coding}`")))
        }
    }
}
