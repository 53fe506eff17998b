//! GitHub's API for the deliveries of one hook.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use proto::Timestamp;
use serde_json::{Value, json};

use crate::fake_http::{Answer, FakeServer, Mishap, Request, Service};

/// The hook's number.
pub const HOOK: u64 = 4711;
/// The token that it takes.
pub const TOKEN: &str = "github_pat_that-nobody-may-see";
/// Where the hook's deliveries are.
const DELIVERIES: &str = "/repos/acme/web/hooks/4711/deliveries";

/// One attempt to deliver an event.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The event's own, the same over all attempts.
    pub guid: String,
    /// Its kind, such as `package`.
    pub event: String,
    /// When it was tried.
    pub delivered_at: Timestamp,
    /// What was answered; 0 where nobody answered.
    pub status_code: u16,
    /// What was sent.
    pub payload: Value,
}

/// What it keeps, and how it pages.
struct Kept {
    attempts: Vec<Attempt>,
    page: usize,
    /// By how many seconds its clock is ahead.
    ahead: i64,
}

/// One on a port of its own of 127.0.0.1. Dropping it makes it unreachable.
pub struct FakeGithub {
    kept: Arc<Mutex<Kept>>,
    server: FakeServer,
}

impl FakeGithub {
    /// Starts one that has tried nothing yet, and tells of two attempts at a time.
    pub fn start() -> Result<FakeGithub> {
        let kept = Arc::new(Mutex::new(Kept { attempts: Vec::new(), page: 2, ahead: 0 }));
        let service = Api { kept: Arc::clone(&kept) };
        Ok(FakeGithub { kept, server: FakeServer::start(Arc::new(service))? })
    }

    /// Where its API is.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The section `backfill` of a source that asks it as often as that.
    pub fn section(&self, every: &str) -> String {
        format!("{{repo: acme/web, hook: {HOOK}, token: {TOKEN}, every: {every}, api: \"{}\"}}", self.url())
    }

    /// Keeps an attempt, as one that was just made.
    pub fn tried(&self, attempt: Attempt) {
        locked(&self.kept).attempts.push(attempt);
    }

    /// Its clock goes ahead by so many seconds.
    pub fn set_ahead(&self, seconds: i64) {
        locked(&self.kept).ahead = seconds;
    }

    /// What is to come of the next request whose method and path hold `part`.
    pub fn befall_next(&self, part: &str, mishap: Mishap) {
        self.server.befall_next(part, mishap);
    }

    /// How often its list was asked for, page by page.
    pub fn listed(&self) -> usize {
        self.server.requests().iter().filter(|request| request.ends_with("/deliveries")).count()
    }

    /// How often a delivery's content was asked for.
    pub fn fetched(&self) -> usize {
        self.server.requests().iter().filter(|request| request.contains("/deliveries/")).count()
    }
}

/// A push of `tag` to `ghcr.io/acme/web`, as GitHub tells of it.
pub fn push(tag: &str, digest: &str) -> Value {
    json!({
        "action": "published",
        "package": {"name": "web", "package_type": "CONTAINER", "owner": {"login": "Acme"},
            "package_version": {"version": digest, "container_metadata": {"tag": {"name": tag, "digest": digest}}}}
    })
}

/// A digest of `letter`s, which has to be one of a to f.
pub fn digest(letter: &str) -> String {
    format!("sha256:{}", letter.repeat(64))
}

struct Api {
    kept: Arc<Mutex<Kept>>,
}

impl Service for Api {
    fn answer(&self, request: &Request) -> Answer {
        let kept = locked(&self.kept);
        let bearer = format!("Bearer {TOKEN}");
        if request.header("authorization") != Some(bearer.as_str()) {
            return Answer::json(401, &json!({"message": "Bad credentials"}));
        }
        let Some(rest) = request.path.strip_prefix(DELIVERIES).filter(|_| request.method == "GET") else {
            return Answer::json(404, &json!({"message": "Not Found"}));
        };
        let now = Timestamp::from_second(Timestamp::now().as_second() + kept.ahead).unwrap_or_default();
        let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let answer = match rest.strip_prefix('/') {
            None => kept.list(request.parameter("cursor"), request.header("host").unwrap_or_default()),
            Some(id) => kept.one(id),
        };
        answer.with("Date", &date)
    }
}

impl Kept {
    /// A page, newest first; the cursor is the number of attempts that are left.
    fn list(&self, cursor: Option<&str>, host: &str) -> Answer {
        let left = match cursor.map(|cursor| cursor.strip_prefix("v1_").and_then(|left| left.parse().ok())) {
            None => self.attempts.len(),
            Some(Some(left)) => left,
            Some(None) => return Answer::json(422, &json!({"message": "no such cursor"})),
        };
        let first = left.saturating_sub(self.page);
        let told = (first..left).rev().filter_map(|n| Some(self.attempts.get(n)?.told(n)));
        let page = Answer::json(200, &Value::Array(told.collect()));
        if first == 0 {
            return page;
        }
        let next = format!("<http://{host}{DELIVERIES}?per_page=100&cursor=v1_{first}>; rel=\"next\"");
        page.with("Link", &next)
    }

    fn one(&self, id: &str) -> Answer {
        let found =
            id.parse::<usize>().ok().and_then(|n| Some((n.checked_sub(1)?, self.attempts.get(n - 1)?)));
        let Some((n, attempt)) = found else { return Answer::json(404, &json!({"message": "Not Found"})) };
        let mut told = attempt.told(n);
        told["request"] = json!({
            "headers": {"X-GitHub-Delivery": attempt.guid, "X-GitHub-Event": attempt.event, "X-GitHub-Hook-ID": HOOK.to_string()},
            "payload": attempt.payload,
        });
        told["response"] = json!({"headers": {}, "payload": ""});
        Answer::json(200, &told)
    }
}

impl Attempt {
    /// As the list tells of it.
    fn told(&self, n: usize) -> Value {
        let status = if (200..300).contains(&self.status_code) { "OK" } else { "failed to connect to host" };
        json!({
            "id": n + 1, "guid": self.guid, "delivered_at": self.delivered_at.to_string(), "redelivery": false,
            "duration": 0.03, "status": status, "status_code": self.status_code, "event": self.event,
            "action": self.payload["action"], "installation_id": null, "repository_id": 1,
        })
    }
}

fn locked(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
