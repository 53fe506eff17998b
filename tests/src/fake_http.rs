//! The HTTP of a fake, by hand: a library would not break an answer off.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

const LARGEST_BODY: usize = 4 << 20;

/// A request as it was read.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET` and the like.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// The parameters, decoded, in their order.
    pub query: Vec<(String, String)>,
    /// As they came.
    pub headers: Vec<(String, String)>,
    /// Null where there was none, or no JSON.
    pub body: Value,
}

impl Request {
    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A header, by any spelling of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// What is said to a request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Beside the length, which is added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// JSON.
    pub fn json(status: u16, body: &Value) -> Answer {
        Answer::text(status, &body.to_string()).with("Content-Type", "application/json")
    }

    /// A text.
    pub fn text(status: u16, body: &str) -> Answer {
        Answer { status, headers: Vec::new(), body: body.to_owned() }
    }

    /// The same with a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What befalls one request.
#[derive(Debug, Clone)]
pub enum Mishap {
    /// The connection breaks before anything is done.
    CutBefore,
    /// It is carried out, and the connection breaks without a word.
    CutAfter,
    /// Something else answers, and nothing is done.
    Instead(u16, &'static str),
    /// The same, with a time to come back.
    Later(u16, &'static str, u64),
    /// It is carried out, and something else answers: a proxy that lost patience.
    Afterwards(u16, &'static str),
    /// It is carried out, and the answer takes its time.
    Slowly(Duration),
    /// It waits on its way until told to go on.
    Held(Arc<Notify>),
}

/// What a fake says to requests.
pub trait Service: Send + Sync + 'static {
    /// The answer to one.
    fn answer(&self, request: &Request) -> Answer;
}

/// The requests that came, and what is to befall those that come.
#[derive(Default)]
struct Log {
    mishaps: Vec<(String, Mishap)>,
    requests: Vec<String>,
}

/// A server on a port of its own of 127.0.0.1, with a thread of its own. Dropping it ends it.
pub struct FakeServer {
    address: String,
    log: Arc<Mutex<Log>>,
    runtime: Option<Runtime>,
}

impl FakeServer {
    /// Starts one that says what `service` does.
    pub fn start(service: Arc<dyn Service>) -> Result<FakeServer> {
        let log: Arc<Mutex<Log>> = Arc::default();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.context("build the fake's runtime")?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("bind the fake")?;
        listener.set_nonblocking(true).context("prepare the fake's socket")?;
        let address = listener.local_addr().context("read the fake's port")?.to_string();
        let of_it = Arc::clone(&log);
        runtime.spawn(async move {
            // Without a listener every caller is refused, and the tests say so.
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            loop {
                // The caller may be gone already.
                let Ok((caller, _)) = listener.accept().await else { continue };
                let _ = caller.set_nodelay(true);
                tokio::spawn(serve(BufReader::new(caller), Arc::clone(&service), Arc::clone(&of_it)));
            }
        });
        Ok(FakeServer { address, log, runtime: Some(runtime) })
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What is to come of the next request whose method and path hold `part`.
    pub fn befall_next(&self, part: &str, mishap: Mishap) {
        locked(&self.log).mishaps.push((part.to_owned(), mishap));
    }

    /// What is to come of the `n`th request from now on, the next one being the first.
    pub fn befall_nth(&self, n: usize, mishap: Mishap) {
        let mut log = locked(&self.log);
        let number = log.requests.len() + n;
        log.mishaps.push((format!("#{number}"), mishap));
    }

    /// Method and path of every request.
    pub fn requests(&self) -> Vec<String> {
        locked(&self.log).requests.clone()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn locked(log: &Mutex<Log>) -> std::sync::MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes the request, and takes what is to befall it.
fn mishap(log: &Mutex<Log>, request: &Request) -> Option<Mishap> {
    let mut log = locked(log);
    let line = format!("{} {}", request.method, request.path);
    let number = format!("#{}", log.requests.len() + 1);
    let at = log.mishaps.iter().position(|(part, _)| line.contains(part.as_str()) || *part == number);
    log.requests.push(line);
    at.map(|at| log.mishaps.remove(at).1)
}

async fn serve(mut caller: BufReader<TcpStream>, service: Arc<dyn Service>, log: Arc<Mutex<Log>>) {
    while let Some(request) = read(&mut caller).await {
        // What was begun goes on, whether or not the caller waits for it.
        let (service, befalls) = (Arc::clone(&service), mishap(&log, &request));
        let answering = tokio::spawn(async move { befallen(befalls, || service.answer(&request)).await });
        let Ok(Some(Answer { status, headers, body })) = answering.await else { return };
        let mut head = format!("HTTP/1.1 {status} Answer\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head = format!("{head}{name}: {value}\r\n");
        }
        if caller.write_all(format!("{head}\r\n{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// What comes back; none where the connection breaks.
async fn befallen(mishap: Option<Mishap>, answer: impl Fn() -> Answer + Send) -> Option<Answer> {
    match mishap {
        None => Some(answer()),
        Some(Mishap::CutBefore) => None,
        Some(Mishap::CutAfter) => {
            answer();
            None
        }
        Some(Mishap::Instead(status, body)) => Some(Answer::text(status, body)),
        Some(Mishap::Later(status, body, seconds)) => {
            Some(Answer::text(status, body).with("Retry-After", &seconds.to_string()))
        }
        Some(Mishap::Afterwards(status, body)) => {
            answer();
            Some(Answer::text(status, body))
        }
        Some(Mishap::Slowly(takes)) => {
            let answer = answer();
            tokio::time::sleep(takes).await;
            Some(answer)
        }
        Some(Mishap::Held(gate)) => {
            gate.notified().await;
            Some(answer())
        }
    }
}

/// The next request; none when the caller is gone or makes no sense.
pub async fn read(caller: &mut BufReader<TcpStream>) -> Option<Request> {
    let first = line(caller).await?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    // By hand: a URL's own parser tidies up what a fake has to see.
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = reqwest::Url::parse(&format!("http://fake/?{query}")).ok()?;
    let query = query.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    let mut headers = Vec::new();
    loop {
        let header = line(caller).await?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    if length > LARGEST_BODY {
        return None;
    }
    let mut body = vec![0; length];
    caller.read_exact(&mut body).await.ok()?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Some(Request { method, path: path.to_owned(), query, headers, body })
}

async fn line(caller: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let length = caller.read_line(&mut line).await.ok()?;
    (length > 0).then(|| line.trim_end().to_owned())
}
