//! HTTP over one connection a call, so that what is sent is what the test says.

use std::{net::SocketAddr, sync::LazyLock};

use anyhow::{Context, Result};
use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use super::{SOON, description::Description};

pub struct Call {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    pub fn new(method: &str, path: &str, body: impl Into<Bytes>) -> Call {
        let method = method.parse().unwrap();
        Call { method, path: path.to_owned(), headers: Vec::new(), body: body.into() }
    }

    pub fn get(path: &str) -> Call {
        Call::new("GET", path, "")
    }

    pub fn post(path: &str, body: impl Into<String>) -> Call {
        Call::new("POST", path, body.into())
    }

    pub fn header(mut self, name: &str, value: &str) -> Call {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bearer(self, token: &str) -> Call {
        self.header("authorization", &format!("Bearer {token}"))
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no json: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Asserts that this is problem details of a kind, as RFC 9457 wants them.
    #[track_caller]
    pub fn is_problem(&self, status: u16, slug: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let body = self.json();
        assert_eq!(body["type"], format!("/problems/{slug}"));
        assert_eq!(body["status"], status);
        for part in ["title", "detail", "hint"] {
            assert!(body[part].as_str().is_some_and(|text| !text.is_empty()), "no {part}: {body}");
        }
        assert_eq!(self.header("retry-after").is_some(), status == 503 || status == 429);
        assert_eq!(self.header("www-authenticate").is_some(), status == 401);
    }
}

/// Sends a call and takes the whole answer, which the API's description has to have.
pub async fn send(address: SocketAddr, call: Call) -> Result<Answer> {
    let (method, path) = (call.method.to_string(), call.path.clone());
    let answer = send_anywhere(address, call).await?;
    assert_described(&method, &path, &answer);
    Ok(answer)
}

/// The same where not everything is that is described.
pub async fn send_anywhere(address: SocketAddr, call: Call) -> Result<Answer> {
    let response = open(address, call).await?;
    let (parts, body) = response.into_parts();
    let body = timeout(SOON, body.collect()).await.context("read an answer")??.to_bytes();
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
}

/// Asserts that this is an answer that the API's description has for this method and path.
#[track_caller]
fn assert_described(method: &str, path: &str, answer: &Answer) {
    static DESCRIPTION: LazyLock<Description> =
        LazyLock::new(|| Description::of(ingress::openapi::document()));
    let header = |name: &str| answer.header(name).map(str::to_owned);
    let fault = DESCRIPTION.fault((method, path), answer.status, header, &answer.body);
    assert_eq!(fault, None, "{method} {path}: {}: {}", answer.status, answer.text());
}

pub async fn open(address: SocketAddr, call: Call) -> Result<Response<Incoming>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(call.method).uri(&call.path);
    if !call.headers.iter().any(|(name, _)| name == "host") {
        request = request.header("host", address.to_string());
    }
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(call.body))?;
    Ok(timeout(SOON, sender.send_request(request)).await.context("wait for an answer")??)
}

/// A stream of server-sent events.
pub struct Events {
    body: Incoming,
    text: String,
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub id: Option<String>,
    pub event: String,
    pub data: Value,
}

impl Events {
    pub async fn open(address: SocketAddr, call: Call) -> Events {
        let response = open(address, call).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { body: response.into_body(), text: String::new() }
    }

    /// The next message; none at the end of the stream.
    pub async fn next(&mut self) -> Option<Message> {
        timeout(SOON, self.read()).await.expect("no message came in time")
    }

    async fn read(&mut self) -> Option<Message> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let message = parse(message);
                self.text = rest.to_owned();
                match message {
                    Some(message) => return Some(message),
                    None => continue,
                }
            }
            let frame = self.body.frame().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }
}

fn parse(text: &str) -> Option<Message> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|v| v.trim_start().to_owned())
    };
    let data = serde_json::from_str(&field("data")?).unwrap();
    Some(Message { id: field("id"), event: field("event").unwrap(), data })
}
