//! Many callers at once: what a busy registry or a CI sends, and what it is answered.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use reqwest::{Client, Url};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::http;

/// More is no test any more.
const MOST_REQUESTS: usize = 100_000;
const MOST_CONNECTIONS: usize = 1_000;
/// How long a caller waits for one answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Before a refused caller comes again.
const PAUSE: Duration = Duration::from_millis(100);

/// Callers that post to one address.
#[derive(Debug, Clone)]
pub struct Load {
    url: Url,
    headers: Vec<(String, String)>,
    connections: usize,
    within: Duration,
    is_persistent: bool,
    interval: Duration,
    accepted: watch::Sender<usize>,
}

/// What the callers were answered.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// The bodies of all 202 and 200, in the order they came.
    pub accepted: Vec<Value>,
    /// Other answers, by status.
    pub refused: Vec<(u16, Value)>,
    /// Requests that broke before the answer: the job may be there or not.
    pub unanswered: usize,
    /// Bodies that time ran out for before they were accepted or, once, refused.
    pub unsent: usize,
    /// Of each accepted body's last request.
    pub latencies: Vec<Duration>,
    /// From the first request to the last answer.
    pub took: Duration,
}

impl Load {
    /// Posts to `url`, which must be on this machine, over `connections` that are kept open; no request begins
    /// after `within`.
    pub fn new(url: &str, connections: usize, within: Duration) -> Result<Self> {
        let url: Url = url.parse().with_context(|| format!("read the address {url}"))?;
        let host = url.host_str().unwrap_or_default();
        let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
        ensure!(is_here, "{url} is not on this machine");
        ensure!((1..=MOST_CONNECTIONS).contains(&connections), "{connections} connections");
        Ok(Self {
            url,
            headers: Vec::new(),
            connections,
            within,
            is_persistent: false,
            interval: Duration::ZERO,
            accepted: watch::Sender::new(0),
        })
    }

    /// Sends this header with every request.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends what was not accepted again until it is or time runs out. What was accepted without an answer is
    /// then there twice.
    pub fn persistent(mut self) -> Self {
        self.is_persistent = true;
        self
    }

    /// Begins no more than so many bodies a second.
    pub fn per_second(mut self, bodies: u32) -> Self {
        self.interval = Duration::from_secs(1) / bodies.max(1);
        self
    }

    /// How many bodies were accepted so far, in all that this load was sent.
    pub fn accepted(&self) -> watch::Receiver<usize> {
        self.accepted.subscribe()
    }

    /// Posts each of `bodies`, and waits for the answers.
    pub async fn send(&self, bodies: impl IntoIterator<Item = Value>) -> Result<Answers> {
        let bodies: VecDeque<Value> = bodies.into_iter().take(MOST_REQUESTS + 1).collect();
        ensure!(bodies.len() <= MOST_REQUESTS, "more than {MOST_REQUESTS} requests");
        let begin = Instant::now();
        let work = Work {
            bodies: Mutex::new(bodies),
            answers: Mutex::default(),
            next_at: Mutex::new(begin),
            until: begin + self.within,
        };
        let clients = (0..self.connections).map(|_| http::client()).collect::<Result<Vec<_>>>()?;
        join_all(clients.iter().map(|client| self.call(client, &work))).await;
        let mut answers = work.answers.into_inner().unwrap_or_else(|broken| broken.into_inner());
        answers.unsent += work.bodies.lock().map(|left| left.len()).unwrap_or_default();
        answers.took = begin.elapsed();
        Ok(answers)
    }

    /// One caller, who has one connection: the next request goes out when the last was answered.
    async fn call(&self, client: &Client, work: &Work) {
        while let Some(body) = work.next(self.interval).await {
            while !self.post(client, &body, work).await && self.is_persistent {
                sleep(PAUSE).await;
                if Instant::now() >= work.until {
                    work.note(|answers| answers.unsent += 1);
                    break;
                }
            }
        }
    }

    /// One request; whether it was accepted.
    async fn post(&self, client: &Client, body: &Value, work: &Work) -> bool {
        let mut request = client.post(self.url.clone()).json(body);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let begin = Instant::now();
        let answered = timeout_at(begin + ANSWER, http::answer(request)).await;
        work.note(|answers| match answered {
            Ok(Ok((status, body))) if status.is_success() => {
                answers.accepted.push(body);
                answers.latencies.push(begin.elapsed());
                self.accepted.send_modify(|accepted| *accepted += 1);
                true
            }
            Ok(Ok((status, body))) => {
                answers.refused.push((status.as_u16(), body));
                false
            }
            Ok(Err(_)) | Err(_) => {
                answers.unanswered += 1;
                false
            }
        })
    }
}

impl Answers {
    /// Accepted bodies in a second.
    pub fn rate(&self) -> f64 {
        self.accepted.len() as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// The latency that this share of the accepted ones did not exceed: `0.5` for the median.
    pub fn latency(&self, share: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let place = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(place.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} accepted, {} refused, {} unanswered, {} unsent in {:.1} s: {:.0}/s, p50 {:.1?}, p99 {:.1?}",
            self.accepted.len(),
            self.refused.len(),
            self.unanswered,
            self.unsent,
            self.took.as_secs_f64(),
            self.rate(),
            self.latency(0.5),
            self.latency(0.99)
        )
    }
}

/// What all callers share.
struct Work {
    bodies: Mutex<VecDeque<Value>>,
    answers: Mutex<Answers>,
    /// When the next body may begin.
    next_at: Mutex<Instant>,
    until: Instant,
}

impl Work {
    /// The next body, once it is its time; they come at an even pace.
    async fn next(&self, interval: Duration) -> Option<Value> {
        if !interval.is_zero() {
            sleep_until(self.take_place(interval)).await;
        }
        if Instant::now() >= self.until {
            return None;
        }
        self.bodies.lock().ok()?.pop_front()
    }

    fn take_place(&self, interval: Duration) -> Instant {
        let mut next_at = self.next_at.lock().unwrap_or_else(|broken| broken.into_inner());
        let place = (*next_at).max(Instant::now());
        *next_at = place + interval;
        place
    }

    fn note<T>(&self, change: impl FnOnce(&mut Answers) -> T) -> T {
        change(&mut self.answers.lock().unwrap_or_else(|broken| broken.into_inner()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::SocketAddr;
    use std::sync::Arc;

    use axum::extract::{ConnectInfo, State};
    use axum::http::StatusCode;
    use axum::routing::post;
    use axum::{Json, Router};
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    /// Who called, and what was accepted; every third call is refused.
    #[derive(Default)]
    struct Ingress {
        callers: HashSet<SocketAddr>,
        calls: u64,
        accepted: Vec<u64>,
    }

    type Shared = State<Arc<Mutex<Ingress>>>;

    async fn take(
        State(ingress): Shared,
        ConnectInfo(caller): ConnectInfo<SocketAddr>,
        body: Json<Value>,
    ) -> (StatusCode, Json<Value>) {
        let mut ingress = ingress.lock().unwrap();
        ingress.callers.insert(caller);
        ingress.calls += 1;
        if ingress.calls.is_multiple_of(3) {
            return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({})));
        }
        ingress.accepted.push(body["n"].as_u64().unwrap());
        (StatusCode::ACCEPTED, body)
    }

    async fn ingress() -> (String, Arc<Mutex<Ingress>>) {
        let ingress = Arc::new(Mutex::default());
        let router = Router::new().route("/", post(take)).with_state(Arc::clone(&ingress));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        (url, ingress)
    }

    fn bodies(count: u64) -> impl Iterator<Item = Value> {
        (0..count).map(|n| json!({ "n": n }))
    }

    #[tokio::test]
    async fn each_is_sent_once_over_connections_that_are_kept() {
        let (url, ingress) = ingress().await;
        let answers = Load::new(&url, 8, SOON).unwrap().send(bodies(300)).await.unwrap();
        assert_eq!((answers.accepted.len(), answers.refused.len()), (200, 100), "{answers}");
        assert_eq!((answers.unanswered, answers.unsent, answers.latencies.len()), (0, 0, 200));
        assert!(answers.latency(0.5) > Duration::ZERO && answers.latency(0.5) <= answers.latency(1.0));
        let ingress = ingress.lock().unwrap();
        assert_eq!((ingress.calls, ingress.callers.len()), (300, 8));
    }

    #[tokio::test]
    async fn the_persistent_come_again_until_they_are_accepted() {
        let (url, ingress) = ingress().await;
        let answers = Load::new(&url, 8, SOON).unwrap().persistent().send(bodies(100)).await.unwrap();
        assert_eq!((answers.accepted.len(), answers.unsent), (100, 0), "{answers}");
        let mut accepted = ingress.lock().unwrap().accepted.clone();
        accepted.sort_unstable();
        assert_eq!(accepted, (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_pace_is_kept_and_what_is_accepted_is_counted() {
        let (url, _ingress) = ingress().await;
        let load = Load::new(&url, 8, SOON).unwrap().persistent().per_second(100);
        let accepted = load.accepted();
        let answers = load.send(bodies(51)).await.unwrap();
        assert!(answers.took >= Duration::from_millis(500), "{answers}");
        assert_eq!((*accepted.borrow(), answers.accepted.len()), (51, 51));
    }

    #[tokio::test]
    async fn time_runs_out() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let load = Load::new(&format!("http://{gone}/"), 2, Duration::from_millis(300)).unwrap();
        let answers = load.persistent().send(bodies(10)).await.unwrap();
        assert_eq!((answers.accepted.len(), answers.unsent), (0, 10), "{answers}");
        assert!(answers.unanswered >= 2);
    }

    #[tokio::test]
    async fn what_is_not_on_this_machine_is_refused() {
        for url in ["http://192.0.2.1/", "http://127.example.org/", "nonsense"] {
            assert!(Load::new(url, 1, SOON).is_err(), "{url}");
        }
    }
}
