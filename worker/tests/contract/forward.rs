//! A way to a real server that counts calls and can break one.

use std::sync::Arc;

use reqwest::Method;
use serde_json::Value;
use tokio::{runtime::Handle, task::block_in_place};

use crate::fake_http::{Answer, FakeServer, Request, Service};

/// What a caller says of itself and its body; the rest belongs to its connection.
const PASSED_ON: [&str; 5] = ["authorization", "x-api-key", "content-type", "accept", "x-registry-auth"];

struct Forward {
    base: String,
    http: reqwest::Client,
}

/// A port that leads to the server at `base`, whose certificate nobody looks at.
pub(crate) fn forward(base: &str) -> FakeServer {
    // Fails when another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap();
    FakeServer::start(Arc::new(Forward { base: base.trim_end_matches('/').to_owned(), http })).unwrap()
}

/// Requests that would change something.
pub(crate) fn writes(requests: &[String]) -> usize {
    // What one may do is asked by something that looks like a write, and so is a login.
    let asks = ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "/api/auth"];
    let is_write = |line: &&String| !line.starts_with("GET ") && !asks.iter().any(|part| line.contains(part));
    requests.iter().filter(is_write).count()
}

impl Service for Forward {
    fn answer(&self, request: &Request) -> Answer {
        block_in_place(|| Handle::current().block_on(self.passed_on(request)))
    }
}

impl Forward {
    async fn passed_on(&self, request: &Request) -> Answer {
        let method: Method = request.method.parse().unwrap();
        let mut asked = self.http.request(method, format!("{}{}", self.base, request.path));
        asked = asked.query(&request.query);
        for name in PASSED_ON {
            if let Some(value) = request.header(name) {
                asked = asked.header(name, value);
            }
        }
        if request.body != Value::Null {
            asked = asked.body(request.body.to_string());
        }
        match asked.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
                let kind = kind.unwrap_or("text/plain").to_owned();
                Answer::text(status, &answer.text().await.unwrap_or_default()).with("Content-Type", &kind)
            }
            Err(error) => Answer::text(502, &error.to_string()),
        }
    }
}
