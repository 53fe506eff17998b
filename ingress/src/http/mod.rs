//! The paths.

mod body;
mod create;
mod dead;
mod decide;
mod door;
mod events;
mod find;
mod gate;
mod health;
mod hold;
mod hooks;
mod jobs;
mod metrics;
mod page;
mod plan;
mod query;
mod rollback;
mod session;
mod stack_text;
mod targets;
mod terms;

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header},
    middleware::{from_fn_with_state, map_request, map_response},
    response::Response,
    routing::{any, get, post},
};
use proto::{JobId, api::JobName};

use door::admit;
use gate::Gate;

use crate::{
    ingress::Ingress,
    problem::{Kind, Problem},
};

pub(crate) use body::LARGEST;
pub(crate) use create::{MOST_WISHES, whole_wish};
pub(crate) use dead::count_the_dead;
pub(crate) use rollback::with_images;
pub(crate) use terms::only_keys;

type App = Arc<Ingress>;

/// All paths, of which unknown ones and wrong methods are problems like any other.
pub(crate) fn router(ingress: App) -> Router {
    Router::new()
        .route("/hooks/{source}", any(hooks::take))
        .route("/hooks/{source}/{key}", any(hooks::take_with_key))
        .route("/v1/jobs", get(jobs::list).post(create::create))
        .route("/v1/jobs/{id}", get(jobs::show))
        .route("/v1/jobs/{id}/events", get(events::of_job))
        .route("/v1/jobs/{id}/replay", post(decide::replay))
        .route("/v1/jobs/{id}/discard", post(decide::discard))
        .route("/v1/jobs/{id}/cancel", post(decide::cancel))
        .route("/v1/jobs/{id}/approve", post(decide::approve))
        .route("/v1/events", get(events::of_all))
        .route("/v1/targets", get(targets::list))
        .route("/v1/stacks", get(find::list))
        .route("/v1/targets/find", post(find::find))
        .route("/v1/targets/{pool}/{name}", get(targets::show))
        .route("/v1/targets/{pool}/{name}/release", post(decide::release))
        .route("/v1/targets/{pool}/{name}/hold", post(hold::hold))
        .route("/v1/targets/{pool}/{name}/plan", post(plan::plan))
        .route("/v1/targets/{pool}/{name}/rollback", post(rollback::roll_back))
        .route("/v1/session", get(session::show).post(session::log_in).delete(session::log_out))
        .route("/v1/session/refresh", post(session::refresh))
        .route("/v1/session/register", post(session::register))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.json", get(page::description))
        .route("/problems/{slug}", get(page::problem))
        .route("/", get(page::page))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&ingress), door::note_refusals))
        .layer(from_fn_with_state(Gate::of(&ingress), gate::pass))
        .layer(map_response(guard))
        .with_state(ingress)
}

/// The hooks and nothing else: no API, no page, nothing that tells of the inside.
pub(crate) fn hooks_router(ingress: App) -> Router {
    Router::new()
        .route("/hooks/{source}", any(hooks::take))
        .route("/hooks/{source}/{key}", any(hooks::take_with_key))
        .fallback(hooks_alone)
        .layer(from_fn_with_state(Arc::clone(&ingress), door::note_refusals))
        .layer(from_fn_with_state(Gate::of(&ingress), gate::pass))
        .layer(map_response(guard))
        .layer(map_request(without_host))
        .with_state(ingress)
}

/// What was made is not shown where hooks alone are taken: the links in an answer lead to where it is.
async fn without_host(mut request: Request) -> Request {
    request.headers_mut().remove(header::HOST);
    request
}

async fn hooks_alone(uri: Uri) -> Problem {
    let problem = Kind::NotFound.with(format!("there is nothing at {}", public_path(uri.path())));
    problem.hint("hooks alone are taken here, at /hooks/<source>; the rest is at the address of `listen`")
}

async fn nothing_here(uri: Uri) -> Problem {
    Kind::NotFound.with(format!("there is nothing at {}", public_path(uri.path())))
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Kind::MethodNotAllowed.with(format!("{} does not take {method}", public_path(uri.path())))
}

/// A path without the key that may stand in it.
fn public_path(path: &str) -> &str {
    let Some(hooks) = path.find("/hooks/") else { return path };
    let source = hooks + "/hooks/".len();
    path[source..].find('/').map_or(path, |end| &path[..source + end])
}

/// No answer is to be taken for another type than it says, nor kept.
async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn job_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|error| Kind::UnknownJob.with(format!("no job has this id: {error}")))
}

fn unknown_job(id: impl std::fmt::Display) -> Problem {
    Kind::UnknownJob.with(format!("no job `{id}` is known"))
}

/// A job, or a dead letter in which none can be read.
fn job_name(text: &str) -> Result<JobName, Problem> {
    text.parse().map_err(|error| Kind::UnknownJob.with(format!("no job has this name: {error:.200}")))
}

/// The trace the caller is in, in the one form that there is.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    traceparent_in(headers.get("traceparent")?.to_str().ok()?)
}

/// A trace, where the text is one.
pub(crate) fn traceparent_in(text: &str) -> Option<String> {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let hex = text.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (lengths == [2, 32, 16, 2] && hex).then(|| text.to_owned())
}

/// The URL of this server as the caller should use it: the configured one, else the one that was called.
fn base_url(ingress: &Ingress, headers: &HeaderMap) -> String {
    if let Some(url) = ingress.settings().public_url() {
        return url.to_owned();
    }
    let plain = |host: &&str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        !host.is_empty() && host.chars().all(allowed)
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).filter(plain);
    match host {
        Some(host) => format!("http://{host}"),
        None => format!("http://{}", ingress.address),
    }
}

fn text_header(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_paths_are_not_repeated() {
        assert_eq!(public_path("/hooks/hub/secret"), "/hooks/hub");
        assert_eq!(public_path("/hooks/hub/secret/"), "/hooks/hub");
        assert_eq!(public_path("/hooks//secret"), "/hooks/");
        assert_eq!(public_path("/prefix/hooks/hub/secret"), "/prefix/hooks/hub");
        assert_eq!(public_path("/hooks/hub"), "/hooks/hub");
        assert_eq!(public_path("/v1/jobs"), "/v1/jobs");
    }

    #[test]
    fn only_a_well_formed_trace_is_taken_over() {
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", text.parse().unwrap());
            traceparent(&headers)
        };
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(with(good).as_deref(), Some(good));
        for bad in ["", "x", "00-1-2-3", &good.to_uppercase(), &format!("{good}-")] {
            assert_eq!(with(bad), None, "{bad}");
        }
    }
}
