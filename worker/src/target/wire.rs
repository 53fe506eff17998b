//! What passes between a worker and a system that is asked over HTTP, whatever the system: how many calls at once, how
//! an answer is taken, and what the want of one means.

use std::{num::NonZeroUsize, time::Duration};

use deadpool::{
    Runtime,
    managed::{self, BuildError, Metrics, Object, Pool, PoolError, RecycleResult, TimeoutType},
};
use proto::Timestamp;
use reqwest::StatusCode;
use serde_json::Value;

use super::{TargetError, retry_after::retry_after};

/// How long a connection may take to be made.
pub(in crate::target) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one waits for others to be done with a system.
const PLACE_WITHIN: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
const LONGEST_WORDS: usize = 500;

/// One call, as far as errors need to tell of it.
#[derive(Debug, Clone, Copy)]
pub(in crate::target) struct Call<'a> {
    /// What the system is asked, after "to".
    pub(in crate::target) attempted: &'static str,
    /// Whether it changes something: without an answer nobody knows whether it was done.
    pub(in crate::target) writes: bool,
    /// What a 404 means is missing.
    pub(in crate::target) what: &'a str,
    /// Whether every version of the system can be asked it: a 404 of what stands before the system means then that it is
    /// away.
    pub(in crate::target) all_know: bool,
}

impl<'a> Call<'a> {
    pub(in crate::target) const fn read(attempted: &'static str, what: &'a str) -> Call<'a> {
        Call { attempted, writes: false, what, all_know: false }
    }

    /// The same of what every version of the system can be asked.
    pub(in crate::target) fn known_to_all(self) -> Call<'a> {
        Call { all_know: true, ..self }
    }

    pub(in crate::target) const fn write(attempted: &'static str, what: &'a str) -> Call<'a> {
        Call { attempted, writes: true, what, all_know: false }
    }
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub(in crate::target) struct Answer {
    pub(in crate::target) status: StatusCode,
    pub(in crate::target) body: String,
    pub(in crate::target) retry_after: Option<Duration>,
}

/// Why a call brought nothing.
#[derive(Debug)]
pub(in crate::target) enum Failure {
    /// No connection was made.
    NotConnected(Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke after the request may have been sent.
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time.
    TimedOut,
    /// The system, or what stands before it, said no.
    Answered(Answer),
    /// It said something else than it should.
    Nonsense(String),
    /// It was not asked at all.
    NotAsked(TargetError),
}

impl Answer {
    /// The body as JSON where the status is a success.
    pub(in crate::target) fn json(self) -> Result<Value, Failure> {
        if !self.status.is_success() {
            return Err(Failure::Answered(self));
        }
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&self.body).map_err(|_| Failure::Nonsense(self.body))
    }

    pub(in crate::target) fn is_json(&self) -> bool {
        serde_json::from_str::<Value>(&self.body).is_ok()
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Failure {
        if error.is_timeout() && !error.is_connect() {
            Failure::TimedOut
        } else if error.is_connect() || error.is_builder() {
            Failure::NotConnected(error.without_url().into())
        } else {
            Failure::Broken(error.without_url().into())
        }
    }
}

/// Sends a request and takes its whole answer.
pub(in crate::target) async fn answer_to(request: reqwest::RequestBuilder) -> Result<Answer, Failure> {
    let mut response = request.send().await?;
    let retry_after = retry_after(response.headers(), Timestamp::now());
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST_ANSWER {
            return Err(Failure::Nonsense("an answer of more than 64 MiB".to_owned()));
        }
    }
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned(), retry_after })
}

pub(in crate::target) fn is_html(body: &str) -> bool {
    let start = body.trim_start_matches('\u{feff}').trim_start();
    start
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("<html") || start.eq_ignore_ascii_case("<!doc"))
}

/// As much of a system's words as errors repeat.
pub(in crate::target) fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_WORDS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The calls that one system has under way: so many at once.
pub(in crate::target) struct Places(Pool<Manager>);

/// Hands out places; a session holds nothing of its own, since all share the one client.
struct Manager;

/// One place at a system, for as long as it is held.
pub(in crate::target) struct Place(#[expect(dead_code, reason = "held")] Object<Manager>);

impl Places {
    pub(in crate::target) fn new(at_once: NonZeroUsize) -> Result<Places, BuildError> {
        let pool = Pool::builder(Manager)
            .max_size(at_once.get())
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(PLACE_WITHIN))
            .build()?;
        Ok(Places(pool))
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// [`TargetError::Busy`] when none becomes free in time.
    pub(in crate::target) async fn take(&self, system: &str) -> Result<Place, TargetError> {
        let system = || system.to_owned();
        let place = self.0.get().await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait | TimeoutType::Create | TimeoutType::Recycle) => {
                TargetError::Busy { system: system() }
            }
            PoolError::Backend(never) => match never {},
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                TargetError::Unavailable {
                    system: system(),
                    answer: "the worker is stopping".to_owned(),
                    retry_after: None,
                }
            }
        })?;
        Ok(Place(place))
    }
}

impl managed::Manager for Manager {
    type Type = ();
    type Error = std::convert::Infallible;

    async fn create(&self) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn recycle(&self, (): &mut (), _: &Metrics) -> RecycleResult<Self::Error> {
        Ok(())
    }
}
