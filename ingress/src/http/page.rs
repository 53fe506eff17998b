//! `/`, the page for people, and `/problems/<slug>`, the words on each problem.

use axum::{
    extract::Path,
    http::{HeaderName, HeaderValue, header},
    response::{Html, IntoResponse, Response},
};

use crate::{
    openapi,
    problem::{Kind, Problem},
};

const PAGE: &str = include_str!("../page.html");
/// Where the page's own script and style say that they are its own.
const NONCE: &str = "{{nonce}}";

pub(super) async fn page() -> Response {
    let nonce = hex::encode(rand::random::<[u8; 16]>());
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = Html(PAGE.replace(NONCE, &nonce)).into_response();
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The API's own description.
pub(super) async fn description() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi::text()).into_response()
}

pub(super) async fn problem(Path(slug): Path<String>) -> Result<Response, Problem> {
    let kind =
        Kind::of_slug(&slug).ok_or_else(|| Kind::NotFound.with(format!("there is no problem `{slug}`")))?;
    let status = kind.status();
    let text = format!("{} ({status})\n\nHow to mend it: {}.\n", kind.title(), kind.hint());
    let plain: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((plain, text).into_response())
}
