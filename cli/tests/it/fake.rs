//! A server that answers as the HTTP API does, from a script.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, Response},
};
use futures::{Stream, StreamExt, stream};
use proto::{Event, Job, State};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

pub(crate) const JOB: &str = "0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42";

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// How to answer it.
pub(crate) enum Answer {
    Json(u16, Value),
    /// An event stream that says this, and then …
    Events(String, Then),
    /// The connection is closed without a word.
    Nothing,
}

/// How an event stream goes on.
pub(crate) enum Then {
    /// It stays open and says nothing.
    Open,
    /// The connection is cut.
    Cut,
    /// It ends in good order.
    End,
}

/// A running fake.
pub(crate) struct Fake {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _runtime: Runtime,
}

impl Fake {
    /// Answers the requests by `script`, which is given each request and how many of its line came before.
    pub(crate) fn start(script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Fake {
        let runtime = Runtime::new().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, script) = (Arc::clone(&asked), Arc::new(script));
        let router = Router::new().fallback(move |request: Request| {
            let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
            async move {
                let request = read(request).await;
                let before = {
                    let mut seen = seen.lock().unwrap();
                    let before = seen.iter().filter(|asked| asked.line == request.line).count();
                    seen.push(request.clone());
                    before
                };
                Ok::<_, Infallible>(respond(script(&request, before)))
            }
        });
        runtime.spawn(async move { axum::serve(listener, router).await });
        Fake { url, asked, _runtime: runtime }
    }

    /// Accepts one job and tells its life.
    pub(crate) fn telling(lives: Vec<(String, Then)>) -> Fake {
        let lives = Mutex::new(lives.into_iter());
        Fake::start(move |asked, _| match asked.line.as_str() {
            "POST /v1/jobs" => accepted(),
            line if line.ends_with("/events") => match lives.lock().unwrap().next() {
                Some((text, then)) => Answer::Events(text, then),
                None => problem(404, "not-found", "there is no more to tell", ""),
            },
            line => panic!("nobody asks for {line}"),
        })
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn read(request: Request) -> Asked {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    Asked {
        line: format!("{} {}", parts.method, parts.uri),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    }
}

fn respond(answer: Answer) -> Response<Body> {
    match answer {
        Answer::Json(status, body) => {
            let kind = if status < 400 { "application/json" } else { "application/problem+json" };
            let builder = Response::builder().status(status).header("content-type", kind);
            builder.body(Body::from(body.to_string())).unwrap()
        }
        Answer::Events(text, then) => {
            let builder = Response::builder().header("content-type", "text/event-stream");
            builder.body(Body::from_stream(said(text, then))).unwrap()
        }
        Answer::Nothing => {
            let cut = stream::iter([Err::<String, _>(io::Error::other("cut"))]);
            Response::builder().body(Body::from_stream(cut)).unwrap()
        }
    }
}

fn said(text: String, then: Then) -> impl Stream<Item = io::Result<String>> {
    let text = stream::iter([Ok(text)]);
    let rest = match then {
        Then::Open => stream::pending().boxed(),
        Then::End => stream::empty().boxed(),
        // A moment later, so that what was said is on its way before the connection goes.
        Then::Cut => stream::once(async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err(io::Error::other("cut"))
        })
        .boxed(),
    };
    text.chain(rest)
}

/// The answer to a wish.
pub(crate) fn accepted() -> Answer {
    let status_url = format!("http://127.0.0.1/v1/jobs/{JOB}");
    let job = json!({"id": JOB, "target": "default/web", "status_url": status_url});
    Answer::Json(202, json!({"chain": JOB, "jobs": [job]}))
}

/// A refusal.
pub(crate) fn problem(status: u16, slug: &str, detail: &str, hint: &str) -> Answer {
    let type_url = format!("/problems/{slug}");
    Answer::Json(
        status,
        json!({"type": type_url, "title": slug, "status": status, "detail": detail, "hint": hint}),
    )
}

pub(crate) fn job() -> Job {
    serde_json::from_value(json!({
        "version": 1, "id": JOB, "chain": JOB, "target": "default/web",
        "operation": {"type": "set-image", "image": "docker.io/acme/web:2"},
        "slots": ["image:docker.io/acme/web"], "cause": {"kind": "api"},
        "accepted_at": "2026-01-02T03:04:05Z", "deadline": "2026-01-02T04:04:05Z",
    }))
    .unwrap()
}

/// An event of the job as one message of a stream, numbered `id`.
pub(crate) fn message(id: u32, state: State, change: impl FnOnce(&mut Event)) -> String {
    let mut event = Event::of(&job(), state, u32::from(state != State::Accepted), u64::from(id));
    change(&mut event);
    format!("id: {id}\nevent: {state}\ndata: {}\n\n", String::from_utf8(event.encode()).unwrap())
}

/// An event with nothing to add.
pub(crate) fn plain(id: u32, state: State) -> String {
    message(id, state, |_| {})
}
