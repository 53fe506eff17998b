//! `/v1/session`: log in, go on, log out; and who the caller is.

use std::{net::IpAddr, time::Instant};

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use config::Secret;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{App, admit, body, query::Parameters};
use crate::{
    access::{
        log_in::SessionRefusal,
        sessions::{ACCESS_FOR, Pair, REFRESH_FOR},
        users::{NewUser, UserError},
    },
    limits::Client,
    problem::{Kind, Problem},
    source::without_mark,
};

/// Longest name that somebody may try.
const LONGEST_NAME: usize = 63;

/// What logs in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogIn {
    user: String,
    password: Secret,
}

/// What goes on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refresh {
    refresh_token: Secret,
}

/// What registers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Register {
    user: String,
    password: Secret,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    phone: Option<String>,
}

/// `GET`: who the caller is, and what they may do.
pub(super) async fn show(
    State(ingress): State<App>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let principal = admit(&ingress, &headers).await?;
    parameters.only(&[])?;
    Ok(Json(json!({"name": principal.name, "may": principal.scopes()})))
}

/// `POST`: a user and a password for a session.
pub(super) async fn log_in(
    State(ingress): State<App>,
    Extension(client): Extension<Client>,
    parameters: Parameters,
    body: Body,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
    let LogIn { user, password } = read(body, "{\"user\":\"anna\",\"password\":\"…\"}").await?;
    attempt(&ingress, &user, client.address)?;
    let pair = ingress.doors().log_in(&user, password).await.map_err(refused)?;
    ingress.doors().guesses().succeeded(&user, client.address);
    Ok(answer(StatusCode::OK, &pair))
}

/// `POST …/refresh`: the second token of a session for two new ones.
pub(super) async fn refresh(
    State(ingress): State<App>,
    parameters: Parameters,
    body: Body,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
    let Refresh { refresh_token } = read(body, "{\"refresh_token\":\"…\"}").await?;
    let pair = ingress.doors().refresh(refresh_token.expose())?;
    Ok(answer(StatusCode::OK, &pair))
}

/// `DELETE`: ends this session, or with `?everywhere=true` all of its user.
pub(super) async fn log_out(
    State(ingress): State<App>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    parameters.only(&["everywhere"])?;
    let everywhere = parameters.flag("everywhere")?;
    let claims = ingress.doors().session_of(&headers)?.ok_or_else(|| {
        Kind::BadQuery.with("what was presented is no session").hint(
            "a session is ended by its own access token; a token is taken away with `longshore token revoke`",
        )
    })?;
    let doors = ingress.clone();
    let ended = ingress.to_the_end(async move { doors.doors().end(claims, everywhere).await }).await;
    ended.map_err(|_| Kind::Internal.with("logging out failed"))?.map_err(|error| unwritten(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/register`: enters a new user, where the configuration lets anybody do so.
pub(super) async fn register(
    State(ingress): State<App>,
    Extension(client): Extension<Client>,
    parameters: Parameters,
    body: Body,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
    let Some((role, targets)) = ingress.doors().registration() else {
        return Err(Kind::RegistrationClosed.with("nobody can register here by themselves"));
    };
    let asked: Register = read(body, "{\"user\":\"anna\",\"password\":\"…\"}").await?;
    // Counted like an attempt to log in that fails: it costs as much, and tells which names there are.
    attempt(&ingress, "", client.address)?;
    let user = NewUser { name: asked.user, role, targets, full_name: asked.name, phone: asked.phone };
    let name = user.name.to_lowercase();
    let entered = ingress.doors().register(user, asked.password).await;
    entered.map_err(|refusal| match refusal {
        SessionRefusal::User(error) => unusable(&error),
        other @ (SessionRefusal::Wrong(_) | SessionRefusal::Busy | SessionRefusal::Failed) => refused(other),
    })?;
    tracing::info!(target: "audit", user = name, peer = %client.address, "a user registered");
    Ok((StatusCode::CREATED, Json(json!({"user": name, "role": role}))).into_response())
}

async fn read<T: DeserializeOwned>(body: Body, form: &str) -> Result<T, Problem> {
    let body = body::read(body).await?;
    // What serde says could repeat what was typed.
    serde_json::from_slice(without_mark(&body)).map_err(|error| {
        let kind = if error.is_data() { Kind::BadJob } else { Kind::NotJson };
        kind.with("the body has not the fields that belong here").hint(format!("send {form}"))
    })
}

fn attempt(ingress: &App, user: &str, peer: IpAddr) -> Result<(), Problem> {
    if user.len() > LONGEST_NAME {
        return Err(refused(SessionRefusal::Wrong(None)));
    }
    ingress.doors().guesses().begin(user, peer, Instant::now()).map_err(|wait| {
        let seconds = wait.as_secs() + 1;
        Kind::TooManyAttempts.with(format!("too many attempts; the next one in {seconds} s")).after(wait)
    })
}

fn refused(refusal: SessionRefusal) -> Problem {
    match refusal {
        SessionRefusal::Wrong(user) => {
            let problem =
                Kind::WrongPassword.with("no user has this name and password, or they are disabled");
            match user {
                Some(user) => problem.by(&format!("user:{user}")),
                None => problem,
            }
        }
        SessionRefusal::Busy => Kind::Busy.with("too many log in at the same time"),
        SessionRefusal::Failed => Kind::Internal.with("the password could not be compared"),
        SessionRefusal::User(error) => unusable(&error),
    }
}

fn unusable(error: &UserError) -> Problem {
    match error {
        UserError::Taken(_) => Kind::UserExists.with(error.to_string()),
        UserError::File(_) | UserError::Unknown(_) => unwritten(error),
        UserError::Name(_)
        | UserError::Words(_)
        | UserError::Full
        | UserError::Password(_)
        | UserError::Scope(_) => Kind::BadUser.with(error.to_string()).hint(error.hint()),
    }
}

fn unwritten(error: &UserError) -> Problem {
    tracing::error!(error = error as &dyn std::error::Error, "the users could not be changed");
    Kind::Internal.with("the file of users could not be changed; see the log of this server")
}

fn answer(status: StatusCode, pair: &Pair) -> Response {
    let body = json!({
        "token_type": "Bearer",
        "access_token": pair.access,
        "expires_in": ACCESS_FOR.as_secs(),
        "refresh_token": pair.refresh,
        "refresh_expires_in": REFRESH_FOR.as_secs(),
    });
    (status, Json(body)).into_response()
}
