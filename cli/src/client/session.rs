//! Sessions: beginning one, going on with it, ending it.

use std::time::{Duration, Instant};

use config::Secret;
use jiff::{SignedDuration, Timestamp};
use proto::api::Problem;
use reqwest::{RequestBuilder, StatusCode};
use serde::{Deserialize, Serialize};

use super::{ANSWER_WITHIN, Client, ClientError};
use crate::{login::Login, typed};

/// How long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(30);

/// What this process has of a session.
#[derive(Debug)]
pub(super) struct Live {
    access: Secret,
    /// Until when that opens anything.
    until: Instant,
    login: Login,
}

/// What a user shows.
#[derive(Serialize)]
struct Shown<'a> {
    user: &'a str,
    password: &'a str,
}

/// What goes on with a session.
#[derive(Serialize)]
struct More<'a> {
    refresh_token: &'a str,
}

/// What a session is given.
#[derive(Deserialize)]
struct Pair {
    access_token: Secret,
    expires_in: u32,
    refresh_token: Secret,
    refresh_expires_in: u32,
}

impl Client {
    /// Begins a session.
    ///
    /// # Errors
    /// When Longshore is not reached, or refuses.
    pub(crate) async fn log_in(&self, user: &str, password: &Secret) -> Result<Login, ClientError> {
        let request = self.http.post(self.address("/v1/session"));
        let pair = self.pair(request.json(&Shown { user, password: password.expose() })).await?;
        Ok(self.live(user, pair).login)
    }

    /// Ends the session that commands use here, or all of its user.
    ///
    /// # Errors
    /// When Longshore is not reached, or refuses.
    pub(crate) async fn log_out(&self, everywhere: bool) -> Result<(), ClientError> {
        let path = if everywhere { "/v1/session?everywhere=true" } else { "/v1/session" };
        self.send(self.http.delete(self.address(path)).timeout(ANSWER_WITHIN)).await.map(drop)
    }

    /// What opens the API: the token that was found, else one of the session that is kept for this Longshore.
    pub(super) async fn token(&self) -> Result<Option<Secret>, ClientError> {
        if let Some(token) = &self.server.token {
            return Ok(Some(token.clone()));
        }
        let Some(kept) = &self.server.login else { return Ok(None) };
        let mut live = self.live.lock().await;
        if let Some(live) = live.as_ref().filter(|live| live.until > Instant::now()) {
            return Ok(Some(live.access.clone()));
        }
        let login = live.as_ref().map_or(kept, |live| &live.login);
        let request = self.http.post(self.address("/v1/session/refresh"));
        let pair = self.pair(request.json(&More { refresh_token: login.refresh_token() })).await?;
        let renewed = self.live(&login.user, pair);
        // The former one goes on too: a disk that is full keeps nobody from working.
        if let Err(failure) = renewed.login.keep() {
            eprintln!("note: the session is not kept for longer: {failure}");
        }
        Ok(Some(live.insert(renewed).access.clone()))
    }

    fn live(&self, user: &str, pair: Pair) -> Live {
        let lasts = Duration::from_secs(pair.expires_in.into()).saturating_sub(MARGIN);
        let until = Timestamp::now() + SignedDuration::from_secs(i64::from(pair.refresh_expires_in));
        Live {
            access: pair.access_token,
            until: Instant::now() + lasts,
            login: Login::new(&self.server.url, user, pair.refresh_token.expose(), until),
        }
    }

    /// Asks for a session's tokens, showing no other.
    async fn pair(&self, request: RequestBuilder) -> Result<Pair, ClientError> {
        let response = request.timeout(ANSWER_WITHIN).send().await.map_err(|error| self.broken(error))?;
        let status = response.status();
        if status.is_success() {
            return self.decode(response).await;
        }
        let problem = response.json::<Problem>().await.ok();
        Err(match (status, problem) {
            // Not about a token: none was sent.
            (StatusCode::UNAUTHORIZED, Some(problem)) => {
                ClientError::Refused(said_here(problem, &self.server.reach))
            }
            (status, problem) => self.meaning(status, problem),
        })
    }
}

/// Longshore's own hint speaks to callers of the API.
fn said_here(mut problem: Problem, reach: &str) -> Problem {
    if problem.type_url != "/problems/wrong-password" {
        problem.hint = format!("`{} login{reach}` begins a new session", typed::program());
    }
    problem
}
