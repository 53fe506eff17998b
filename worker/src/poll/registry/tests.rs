//! What needs no registry to be told.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::*;

fn client(entries: &[(&str, Registry)]) -> RegistryClient {
    RegistryClient::new(
        entries.iter().map(|(host, registry)| ((*host).to_owned(), registry.clone())).collect(),
    )
}

#[test]
fn only_what_runs_on_this_machine_is_asked_in_the_clear() {
    let with_authority = Registry { ca: Some(String::new()), ..Registry::default() };
    let elsewhere = Registry { pull_from: Some("vpc.example.com:5000".to_owned()), ..Registry::default() };
    let client = client(&[("127.0.0.1:5001", with_authority), ("r.example.com", elsewhere)]);
    for (host, base) in [
        ("docker.io", "https://registry-1.docker.io"),
        ("harbor.acme.lan:8443", "https://harbor.acme.lan:8443"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("localhost:5000", "http://localhost:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("127.0.0.1:5001", "https://127.0.0.1:5001"),
        ("r.example.com", "https://vpc.example.com:5000"),
        ("10.0.0.7:5000", "https://10.0.0.7:5000"),
    ] {
        assert_eq!(client.base(host), base);
    }
}

#[test]
fn a_registrys_words_are_found_in_its_error() {
    for (body, expected) in [
        (
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#,
            Some("incorrect username or password"),
        ),
        (r#"{"details":"no such user"}"#, Some("no such user")),
        (r#"{"errors":[]}"#, None),
        ("<html>", None),
    ] {
        assert_eq!(words(body.as_bytes()).as_deref(), expected, "{body}");
    }
}

/// A registry that wants a token, and the service that gives it none: how often that was asked.
async fn with_token_service(status: u16) -> (RegistryClient, ImageRef, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let noted = Arc::clone(&asked);
    let token = move || async move {
        noted.fetch_add(1, Ordering::Relaxed);
        let status = StatusCode::from_u16(status).unwrap();
        (status, [("retry-after", "70")], r#"{"message":"not now"}"#)
    };
    let challenge = format!("Bearer realm=\"http://{address}/token\",service=\"test\"");
    let refuse = move || async move { (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)], "") };
    let router =
        axum::Router::new().route("/token", axum::routing::get(token)).fallback(axum::routing::any(refuse));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let image = format!("{address}/acme/app:1").parse().unwrap();
    (RegistryClient::new(BTreeMap::new()), image, asked)
}

#[tokio::test]
async fn a_token_service_that_is_asked_too_much_is_left_alone_too() {
    let (client, image, asked) = with_token_service(429).await;
    for _ in 0..2 {
        let error = client.digest(&image).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::Limited { for_another, .. } if for_another.as_secs() > 60),
            "{error:?}"
        );
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "not again before its time");
}

#[tokio::test]
async fn a_token_service_that_cannot_serve_refuses_no_credentials() {
    let (client, image, _) = with_token_service(503).await;
    let error = client.digest(&image).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::BadAnswer { answer, .. } if answer.contains("not now")),
        "{error:?}"
    );
    let (client, image, _) = with_token_service(401).await;
    let error = client.digest(&image).await.unwrap_err();
    assert!(matches!(error, RegistryError::CredentialsRefused { .. }), "{error:?}");
}

/// A registry that gives its tags one a page.
async fn with_pages(pages: usize) -> (RegistryClient, Repository) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let page = move |uri: axum::http::Uri| async move {
        let number = uri.query().and_then(|query| query.split("last=").nth(1)?.parse().ok()).unwrap_or(1);
        let link = format!("</v2/acme/app/tags/list?n=1000&last={}>; rel=\"next\"", number + 1);
        let body = serde_json::json!({"name": "acme/app", "tags": [format!("1.{number}")]}).to_string();
        let more = (number < pages).then_some([("link", link)]);
        (more.map(axum::response::AppendHeaders), body)
    };
    let router = axum::Router::new().fallback(page);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let image: ImageRef = format!("{address}/acme/app:1").parse().unwrap();
    (RegistryClient::new(BTreeMap::new()), image.repository().clone())
}

#[tokio::test]
async fn that_a_repository_has_more_tags_than_are_read_is_known() {
    for (pages, is_whole) in [(1, true), (3, true), (MOST_PAGES, true), (MOST_PAGES + 1, false)] {
        let (client, repository) = with_pages(pages).await;
        let listed = client.tags(&repository).await.unwrap();
        assert_eq!((listed.tags.len(), listed.is_whole), (pages.min(MOST_PAGES), is_whole), "{pages}");
    }
}
