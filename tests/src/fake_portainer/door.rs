//! Who may ask.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::connections::Answer;
use super::stacks::error;
use super::{API_KEY, PASSWORD, Shared, USERNAME};
use crate::fake_http::Request;

/// So many logins within a second are too many, good ones counted.
const MOST_LOGINS: usize = 10;

/// Fields of bodies, which are known in any letters (recorded: "put lower-case keys, unknown fields").
const FIELDS: [&str; 10] = [
    "Username",
    "Password",
    "Name",
    "SwarmID",
    "StackFileContent",
    "Env",
    "Prune",
    "PullImage",
    "RepullImageAndRedeploy",
    "AutoUpdate",
];

/// A request with the fields of its body in the letters that are looked for.
pub(super) fn in_known_letters(request: &Request) -> Request {
    let mut request = request.clone();
    if let Value::Object(fields) = request.body {
        let known = |name: &str| FIELDS.iter().find(|field| field.eq_ignore_ascii_case(name));
        let fields = fields.into_iter().map(|(name, value)| match known(&name) {
            Some(field) => ((*field).to_owned(), value),
            None => (name, value),
        });
        request.body = Value::Object(fields.collect::<Map<_, _>>());
    }
    request
}

impl Shared {
    /// What is said to everybody while it is not open: no administrator was made in time, until it is started again;
    /// or a backup goes on, for which writes wait a minute in vain. That minute is left out here.
    pub(super) fn closed(&self, request: &Request, path: &[&str]) -> Option<Answer> {
        let state = self.state();
        if state.lacks_administrator && !matches!(path, ["status"] | ["settings", "public"]) {
            let body = json!({"message": "Administrator initialization timeout"});
            return Some((303, body.to_string()));
        }
        let is_held = state.backs_up && request.method != "GET";
        let (message, details) = ("Timeout waiting for the offline gate to signal", "Http: Handler timeout");
        is_held.then(|| error(408, message, details))
    }

    pub(super) fn log_in(&self, request: &Request) -> Answer {
        // Whoever sends the cookie of a login is asked for what only browsers have.
        if request.header("cookie").is_some() {
            return (403, "Forbidden - CSRF token not found in request\n".to_owned());
        }
        let mut state = self.state();
        let now = Instant::now();
        state.logins_in_all += 1;
        state.logins.push_back(now);
        while state.logins.front().is_some_and(|at| now.duration_since(*at) > Duration::from_secs(1)) {
            state.logins.pop_front();
        }
        state.banned |= state.logins.len() > MOST_LOGINS;
        if state.banned {
            return error(403, "Access denied", "Access denied to resource");
        }
        // Recorded: "login missing field".
        for (field, details) in [("Username", "Invalid username"), ("Password", "Invalid password")] {
            if request.body[field].as_str().is_none_or(str::is_empty) {
                return error(400, "Invalid request payload", details);
            }
        }
        if request.body["Username"] != USERNAME || request.body["Password"] != PASSWORD {
            return error(422, "Invalid credentials", "Unauthorized");
        }
        let granted_by = state.process;
        if std::mem::take(&mut state.restarts_after_login) {
            state.process += 1;
        }
        (200, json!({"jwt": format!("jwt-of-process-{granted_by}")}).to_string())
    }

    pub(super) fn refusal(&self, request: &Request) -> Option<Answer> {
        let (key, bearer) = (request.header("x-api-key"), request.header("authorization"));
        if request.header("cookie").is_some() && request.method != "GET" {
            return Some((403, "Forbidden - CSRF token not found in request\n".to_owned()));
        }
        let good = format!("Bearer jwt-of-process-{}", self.state().process);
        match (key, bearer) {
            (Some(_), Some(_)) => Some(error(
                403,
                "api key and auth header are not allowed at the same time",
                "Api key and auth header are not allowed at the same time",
            )),
            (Some(key), None) if key == API_KEY => None,
            (None, Some(bearer)) if bearer == good => None,
            (None, None) => Some(error(401, "A valid authorization token is missing", "Unauthorized")),
            (Some(_), None) | (None, Some(_)) => Some(error(401, "Invalid JWT token", "Unauthorized")),
        }
    }
}
