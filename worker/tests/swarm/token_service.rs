//! A registry that takes tokens of a service beside it, as Docker Hub, GitLab and Harbor do.

use std::{
    collections::HashMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use proto::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::registry::{PASSWORD, Registry, USER, free_address};

/// A token service that knows one user, and the registry that believes it.
pub(crate) struct TokenService {
    pub(crate) registry: Registry,
    shared: Arc<Shared>,
    _keys: TempDir,
}

struct Shared {
    key: PathBuf,
    certificate: String,
    asked: AtomicUsize,
}

impl TokenService {
    pub(crate) async fn start() -> TokenService {
        let keys = tempfile::tempdir().unwrap();
        let certificate = make_key(keys.path());
        let address = free_address();
        let shared =
            Arc::new(Shared { key: keys.path().join("key.pem"), certificate, asked: AtomicUsize::new(0) });
        let router = Router::new().route("/token", get(token)).with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let bundle = keys.path().join("certificate.pem");
        let registry = Registry::start_with(&format!(
            "auth: {{token: {{realm: \"http://{address}/token\", service: test, issuer: test, rootcertbundle: {}}}}}\n",
            bundle.display()
        ));
        TokenService { registry, shared, _keys: keys }
    }

    /// How many tokens were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

async fn token(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    shared.asked.fetch_add(1, Ordering::Relaxed);
    let right = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let access = match headers.get("authorization").map(|header| header.to_str().unwrap()) {
        Some(shown) if shown == right => {
            query.get("scope").map_or_else(Vec::new, |scope| vec![access(scope)])
        }
        Some(_) => {
            let error = json!({"code": "UNAUTHORIZED", "message": "incorrect username or password"});
            return (StatusCode::UNAUTHORIZED, Json(json!({"errors": [error]}))).into_response();
        }
        // Strangers get a token, which opens nothing.
        None => Vec::new(),
    };
    let now = Timestamp::now().as_second();
    let claims = json!({
        "iss": "test", "sub": USER, "aud": "test", "exp": now + 300, "nbf": now - 60, "iat": now,
        "jti": format!("{now}"), "access": access
    });
    Json(json!({"token": signed(&shared, &claims), "expires_in": 300})).into_response()
}

/// `repository:name:pull,push`
fn access(scope: &str) -> Value {
    let (kind, rest) = scope.split_once(':').unwrap();
    let (name, actions) = rest.rsplit_once(':').unwrap();
    json!({"type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>()})
}

fn signed(shared: &Shared, claims: &Value) -> String {
    let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [shared.certificate]});
    let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let text = format!("{}.{}", part(&header), part(claims));
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(&shared.key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let signature = openssl.wait_with_output().unwrap().stdout;
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A key and its certificate in `folder`; the certificate as a token carries it.
fn make_key(folder: &Path) -> String {
    let file = |name: &str| folder.join(name).display().to_string();
    let done = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=token-service"])
        .args(["-keyout", &file("key.pem"), "-out", &file("certificate.pem")])
        .output()
        .unwrap();
    assert!(done.status.success(), "openssl: {}", String::from_utf8_lossy(&done.stderr));
    let pem = std::fs::read_to_string(folder.join("certificate.pem")).unwrap();
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}
