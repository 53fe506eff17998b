//! A registry in front of another one that gives anybody a token, and notes the logins that it is shown for that.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use proto::ImageRef;
use serde_json::json;

use crate::registry::{Registry, free_address};

/// What of the answers of the registry behind it is passed on.
const PASSED_ON: [&str; 3] = ["content-type", "docker-content-digest", "docker-distribution-api-version"];

const TOKEN: &str = "anybody";

/// Reached at an address of its own.
pub(crate) struct NotingRegistry {
    registry: Registry,
    shared: Arc<Shared>,
}

struct Shared {
    address: SocketAddr,
    behind: String,
    http: reqwest::Client,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    manifests: usize,
    shown: Vec<String>,
}

impl NotingRegistry {
    pub(crate) async fn start() -> NotingRegistry {
        // Whichever test comes first: a client cannot be made without one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let registry = Registry::start();
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
        let address = free_address();
        let shared = Arc::new(Shared { address, behind: registry.host(), http, noted: Mutex::default() });
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        NotingRegistry { registry, shared }
    }

    /// Pushes an image that runs `command`; as it is called here.
    pub(crate) fn push(&self, name_and_tag: &str, command: &[&str]) -> ImageRef {
        self.registry.push(name_and_tag, command);
        format!("{}/{name_and_tag}", self.shared.address).parse().unwrap()
    }

    /// How often somebody asked for an image, and what logins were shown.
    pub(crate) fn noted(&self) -> (usize, Vec<String>) {
        let noted = self.shared.noted.lock().unwrap();
        (noted.manifests, noted.shown.clone())
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    shared.note(&path, request.headers());
    match path.as_str() {
        "/v2/" => {
            let challenge = format!("Bearer realm=\"http://{}/token\",service=\"test\"", shared.address);
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
        }
        "/token" => Json(json!({"token": TOKEN})).into_response(),
        _ => shared.passed_on(method, &path, request.headers()).await,
    }
}

impl Shared {
    fn note(&self, path: &str, headers: &HeaderMap) {
        let mut noted = self.noted.lock().unwrap();
        noted.manifests += usize::from(path.contains("/manifests/"));
        let shown = headers.get(header::AUTHORIZATION).map(|shown| shown.to_str().unwrap());
        let logins = shown.filter(|shown| *shown != format!("Bearer {TOKEN}"));
        noted.shown.extend(logins.map(str::to_owned));
    }

    async fn passed_on(&self, method: Method, path: &str, headers: &HeaderMap) -> Response {
        let mut asked = self.http.request(method.clone(), format!("http://{}{path}", self.behind));
        for accepted in headers.get_all(header::ACCEPT) {
            asked = asked.header(header::ACCEPT, accepted);
        }
        let answer = asked.send().await.unwrap();
        let (status, told) = (answer.status(), answer.headers().clone());
        let length = told.get(header::CONTENT_LENGTH).cloned();
        let body: Bytes = answer.bytes().await.unwrap();
        let mut response = (status, body).into_response();
        for name in PASSED_ON {
            if let Some(value) = told.get(name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        // A look without a body tells how long it would be.
        if let (Method::HEAD, Some(length)) = (method, length) {
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        response
    }
}
