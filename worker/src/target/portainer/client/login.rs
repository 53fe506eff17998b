//! The one login that all calls share. Portainer bans an address for an hour that logs in ten times within a second,
//! good logins counted.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use config::Secret;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::sleep};

use super::super::answer::{Answer, Failure, not_portainer};
use crate::{
    target::{TargetError, certificates::is_of_certificates, wire::is_html},
    verdict::chance,
};

/// After a login, whatever came of it, there is no other for so long.
const PAUSE: Duration = Duration::from_secs(5);
/// A login that is not good any more is made anew at any moment of this: a restart makes those of all workers stale at
/// once, and behind a proxy, or a swarm's own ports, all of them come from one address.
const SPREAD: Duration = Duration::from_secs(15);
/// After one was banned.
const PAUSE_WHEN_BANNED: Duration = Duration::from_secs(300);

/// Who logs in, and the token of the last login.
pub(super) struct Login {
    username: String,
    password: Secret,
    /// How long the first login is tried, where whoever waits cannot wait for longer; then, and where Portainer bans, there
    /// is nothing to wait for.
    within: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<HeaderValue>,
    /// When the last login was tried, and why it brought nothing.
    tried: Option<(Instant, Option<Refused>)>,
    /// Whether any login was good.
    has_logged_in: bool,
}

#[derive(Clone)]
enum Refused {
    Credentials(String),
    Banned(String),
    Untrusted(String),
    /// A web page came back.
    Page,
    Other(Arc<str>),
}

impl Login {
    pub(super) fn new(username: String, password: Secret, within: Option<Duration>) -> Login {
        Login { username, password, within, state: Mutex::default() }
    }

    /// The header to send; `stale` is one that was refused. Whoever comes while another logs in waits for that login.
    pub(super) async fn token<F: Future<Output = Result<Answer, Failure>>>(
        &self,
        stale: Option<&HeaderValue>,
        system: &str,
        post: impl Fn(Value) -> F,
    ) -> Result<HeaderValue, TargetError> {
        let mut state = self.state.lock().await;
        if let Some(token) = state.token.as_ref().filter(|token| Some(*token) != stale) {
            return Ok(token.clone());
        }
        if state.token.take().is_some() {
            sleep(SPREAD.mul_f64(chance())).await;
        }
        if let Some((at, refused)) = &state.tried
            && let Some(left) = refused
                .as_ref()
                .map_or(PAUSE, |refused| self.pause(&state, refused))
                .checked_sub(at.elapsed())
                .filter(|left| !left.is_zero())
        {
            return Err(match refused {
                Some(refused) => self.error(&state, refused.clone(), system),
                None => forgotten(system, Some(left)),
            });
        }
        let refused = match self.log_in(&state, post).await {
            Ok(token) => {
                state.tried = Some((Instant::now(), None));
                state.token = Some(token.clone());
                state.has_logged_in = true;
                return Ok(token);
            }
            Err(refused) => refused,
        };
        state.tried = Some((Instant::now(), Some(refused.clone())));
        Err(self.error(&state, refused, system))
    }

    /// Logs in; the first time, where it is said how long, again and again as long as nobody answers.
    async fn log_in<F: Future<Output = Result<Answer, Failure>>>(
        &self,
        state: &State,
        post: impl Fn(Value) -> F,
    ) -> Result<HeaderValue, Refused> {
        let body = || json!({"Username": self.username, "Password": self.password.expose()});
        let Some(within) = self.within.filter(|_| !state.has_logged_in) else {
            return read(post(body()).await);
        };
        let until = tokio::time::Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let answer = timeout(left, post(body())).await.unwrap_or(Err(Failure::TimedOut));
            let read = read(answer);
            let is_over = tokio::time::Instant::now() + PAUSE >= until;
            if is_over || !matches!(read, Err(Refused::Other(_))) {
                return read;
            }
            sleep(PAUSE).await;
        }
    }

    /// What a login comes to that brought nothing.
    fn error(&self, state: &State, refused: Refused, system: &str) -> TargetError {
        let gives_up = |why: String| TargetError::GivenUp { system: system.to_owned(), why };
        match (self.within, refused) {
            (Some(_), Refused::Banned(answer)) => gives_up(answer),
            (Some(within), Refused::Other(why)) if !state.has_logged_in => {
                gives_up(format!("{why}; it was tried for {} s, and nothing was deployed", within.as_secs()))
            }
            (_, refused) => refused.error(system),
        }
    }

    /// How long there is no other login after one that was refused.
    fn pause(&self, state: &State, refused: &Refused) -> Duration {
        match self.within {
            // What was given up is given up for all who ask meanwhile.
            Some(within) if !state.has_logged_in => refused.pause().max(within),
            Some(_) | None => refused.pause(),
        }
    }
}

/// The password was good, and what was given for it is not any more: Portainer was started anew in between. That says
/// nothing against the credentials, and passes.
pub(super) fn forgotten(system: &str, retry_after: Option<Duration>) -> TargetError {
    TargetError::Unavailable {
        system: system.to_owned(),
        answer: "it does not know a login any more that is seconds old".to_owned(),
        retry_after,
    }
}

impl Refused {
    fn pause(&self) -> Duration {
        match self {
            Refused::Credentials(_) | Refused::Untrusted(_) | Refused::Page => PAUSE,
            Refused::Banned(_) => PAUSE_WHEN_BANNED,
            // Nobody was logged in: it may be asked again at once.
            Refused::Other(_) => Duration::from_secs(1),
        }
    }

    fn error(self, system: &str) -> TargetError {
        let system = system.to_owned();
        match self {
            Refused::Credentials(answer) => TargetError::CredentialsRefused { system, answer },
            Refused::Untrusted(why) => TargetError::Untrusted { system, why },
            Refused::Page => not_portainer(system, "log in"),
            Refused::Banned(answer) => {
                TargetError::Unavailable { system, answer, retry_after: Some(PAUSE_WHEN_BANNED) }
            }
            Refused::Other(why) => TargetError::Unreachable { system, source: why.to_string().into() },
        }
    }
}

fn read(answer: Result<Answer, Failure>) -> Result<HeaderValue, Refused> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(Failure::NotConnected(error)) if is_of_certificates(&*error) => {
            return Err(Refused::Untrusted(crate::verdict::chain(&*error)));
        }
        Err(failure) => {
            return Err(Refused::Other(format!("nobody could log in: {}", told(&failure)).into()));
        }
    };
    let words = answer.words();
    match answer.status.as_u16() {
        200 | 404 if is_html(&answer.body) => Err(Refused::Page),
        200 => {
            let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            let token =
                body["jwt"].as_str().and_then(|jwt| HeaderValue::from_str(&format!("Bearer {jwt}")).ok());
            let mut token = token.ok_or_else(|| Refused::Other("the login brought no token".into()))?;
            token.set_sensitive(true);
            Ok(token)
        }
        403 => Err(Refused::Banned(format!(
            "it does not let this address log in ({words}): after ten logins within a second it bans one for an hour"
        ))),
        400 | 401 | 422 => Err(Refused::Credentials(words)),
        status => Err(Refused::Other(format!("nobody could log in: status {status} {words}").into())),
    }
}

fn told(failure: &Failure) -> String {
    match failure {
        Failure::NotConnected(error) | Failure::Broken(error) => crate::verdict::chain(&**error),
        Failure::TimedOut => "no answer in time".to_owned(),
        Failure::Answered(answer) => answer.words(),
        Failure::Nonsense(_) => "no answer that makes sense".to_owned(),
        Failure::NotAsked(error) => crate::verdict::chain(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use reqwest::StatusCode;
    use tokio::time;

    use super::*;

    /// So many logins within a second are one too many.
    const BANNED_AT: usize = 10;

    fn granted(token: &str) -> Answer {
        let body = json!({"jwt": token}).to_string();
        Answer { status: StatusCode::OK, body, retry_after: None }
    }

    /// The workers of one address find out in the same moment that Portainer was started anew.
    #[tokio::test(start_paused = true)]
    async fn workers_do_not_log_in_again_all_at_once() {
        let begun = time::Instant::now();
        let again = async |number: usize| {
            let login = Login::new("worker".to_owned(), Secret::new("a password"), None);
            let stale = login.token(None, "docks", |_| async { Ok(granted("old")) }).await.unwrap();
            // As if that had been long ago.
            login.state.lock().await.tried = None;
            let fresh = format!("new{number}");
            let told = login.token(Some(&stale), "docks", |_| async { Ok(granted(&fresh)) }).await.unwrap();
            assert_eq!(told.to_str().unwrap(), format!("Bearer {fresh}"));
            begun.elapsed()
        };
        let mut at = join_all((0..11).map(again)).await;
        at.sort();
        assert!(at.iter().all(|at| *at <= SPREAD), "{at:?}");
        let of_one_second =
            at.windows(BANNED_AT).any(|some| some[BANNED_AT - 1] - some[0] <= Duration::from_secs(1));
        assert!(!of_one_second, "{at:?}");
    }

    fn login(within: Option<u64>) -> Login {
        let within = within.map(Duration::from_secs);
        Login::new("worker".to_owned(), Secret::new("a password"), within)
    }

    fn nobody() -> Result<Answer, Failure> {
        Err(Failure::NotConnected("connection refused".into()))
    }

    /// A step of a CI that waits for the first login for so long, and no longer.
    #[tokio::test(start_paused = true)]
    async fn a_first_login_that_nobody_answers_is_tried_for_as_long_as_it_is_waited_for() {
        let (login, asked, begun) = (login(Some(90)), AtomicUsize::new(0), time::Instant::now());
        let ask = |_| async {
            asked.fetch_add(1, Ordering::SeqCst);
            nobody()
        };
        let told = login.token(None, "docks", ask).await.unwrap_err();
        assert!(
            matches!(&told, TargetError::GivenUp { why, .. } if why.contains("connection refused")),
            "{told}"
        );
        assert!(begun.elapsed() <= Duration::from_secs(90) && asked.load(Ordering::SeqCst) > 10);
        let until_now = asked.load(Ordering::SeqCst);
        assert!(matches!(login.token(None, "docks", ask).await, Err(TargetError::GivenUp { .. })));
        assert_eq!(asked.load(Ordering::SeqCst), until_now, "what was given up is asked for no more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_portainer_that_hangs_or_comes_later_is_no_other_matter() {
        let begun = time::Instant::now();
        let told = login(Some(90)).token(None, "docks", |_| std::future::pending()).await;
        assert!(matches!(told, Err(TargetError::GivenUp { .. })), "{told:?}");
        assert_eq!(begun.elapsed(), Duration::from_secs(90));
        let asked = AtomicUsize::new(0);
        let comes = |_| async {
            if asked.fetch_add(1, Ordering::SeqCst) < 3 { nobody() } else { Ok(granted("new")) }
        };
        assert!(login(Some(90)).token(None, "docks", comes).await.is_ok());
    }

    /// It will be there the next time as well, whether or not anybody waits.
    #[tokio::test(start_paused = true)]
    async fn a_web_page_in_front_of_it_is_no_outage() {
        for (status, within) in
            [(StatusCode::OK, Some(90)), (StatusCode::OK, None), (StatusCode::NOT_FOUND, None)]
        {
            let begun = time::Instant::now();
            let page = |_| async move {
                Ok(Answer {
                    status,
                    body: "<!DOCTYPE html><html>log in</html>".to_owned(),
                    retry_after: None,
                })
            };
            let told = login(within).token(None, "docks", page).await;
            assert!(matches!(told, Err(TargetError::OtherServer { .. })), "{told:?}");
            assert_eq!(begun.elapsed(), Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ban_is_waited_for_by_those_alone_who_can() {
        let banned = |_| async {
            let body = json!({"message": "Access denied"}).to_string();
            Ok(Answer { status: StatusCode::FORBIDDEN, body, retry_after: None })
        };
        assert!(matches!(
            login(Some(90)).token(None, "docks", banned).await,
            Err(TargetError::GivenUp { .. })
        ));
        assert!(matches!(
            login(None).token(None, "docks", banned).await,
            Err(TargetError::Unavailable { retry_after: Some(_), .. })
        ));
        let told = login(None).token(None, "docks", |_| async { nobody() }).await;
        assert!(matches!(told, Err(TargetError::Unreachable { .. })), "{told:?}");
    }
}
