//! Users at the doors: a password becomes a session, a session goes on and ends.

use std::{path::Path, sync::Arc};

use axum::http::HeaderMap;
use config::Secret;
use jiff::Timestamp;

use super::{
    Access, bearer,
    doors::{Doors, Refusal},
    file::FileError,
    kept_in,
    passwords::NotCompared,
    principal::Principal,
    sessions::{self, Claims, Pair, REFRESH_FOR, Signer, Use},
    users::{self, NewUser, UserError, UserRecord},
};

/// The file of a data directory with what sessions are signed with.
const SESSION_KEY_FILE: &str = "session-key";

/// Users are not entered by themselves beyond that.
const MOST_REGISTERED: usize = 1_000;

/// Why there is no session.
#[derive(Debug)]
pub(crate) enum SessionRefusal {
    /// No such user, another password, or disabled; the user where there is one.
    Wrong(Option<String>),
    /// Too many ask.
    Busy,
    /// The machine failed.
    Failed,
    /// The user cannot be entered.
    User(UserError),
}

impl Doors {
    /// The session whose access token is presented; none where something else is.
    pub(crate) fn session_of(&self, headers: &HeaderMap) -> Result<Option<Claims>, Refusal> {
        let presented = bearer(headers).ok_or(Refusal::Missing)?;
        if !presented.starts_with(sessions::PREFIX) {
            return Ok(None);
        }
        self.claims(presented, Use::Access).map(Some)
    }

    /// What a token of a session says that still counts.
    fn claims(&self, token: &str, purpose: Use) -> Result<Claims, Refusal> {
        let claims = self.signer.as_ref().and_then(|signer| signer.read(token)).ok_or(Refusal::Wrong)?;
        if claims.purpose != purpose {
            return Err(Refusal::Wrong);
        }
        let users = self.users.current();
        let user = users.get(&claims.user).map(|(_, user)| user);
        let counts = |user: &UserRecord| {
            !user.disabled
                && user.generation == claims.generation
                && !user.ended.contains_key(&claims.session)
                && Timestamp::now().as_second() < claims.until
        };
        if user.is_some_and(counts) { Ok(claims) } else { Err(Refusal::SessionEnded { user: claims.user }) }
    }

    /// The user of a session, as the file has them now.
    pub(super) fn by_session(&self, claims: &Claims) -> Result<Principal, Refusal> {
        let users = self.users.current();
        let (name, user) = users.get(&claims.user).ok_or(Refusal::Wrong)?;
        Ok(Principal::new(format!("user:{name}"), vec![user.scope()]))
    }

    /// A session for a user and their password.
    pub(crate) async fn log_in(&self, name: &str, password: Secret) -> Result<Pair, SessionRefusal> {
        let users = self.users.current();
        let found = users.get(name).filter(|(_, user)| !user.disabled);
        let right = self.hashing.compare(found.map(|(_, user)| user.hash.clone()), password).await?;
        match (found, &self.signer) {
            (Some((name, user)), Some(signer)) if right => {
                Ok(signer.pair(name, user.generation, Timestamp::now()))
            }
            (found, _) => Err(SessionRefusal::Wrong(found.map(|(name, _)| name.to_owned()))),
        }
    }

    /// Two new tokens of a session.
    pub(crate) fn refresh(&self, token: &str) -> Result<Pair, Refusal> {
        let claims = self.claims(token, Use::Refresh)?;
        let signer = self.signer.as_ref().ok_or(Refusal::Wrong)?;
        Ok(signer.renewed(&claims, Timestamp::now()))
    }

    /// Ends a session, or all of its user.
    pub(crate) async fn end(&self, claims: Claims, everywhere: bool) -> Result<(), UserError> {
        self.change_users(move |path| {
            if everywhere {
                return users::end_all(path, &claims.user);
            }
            users::end_one(path, &claims.user, &claims.session, Timestamp::now() + REFRESH_FOR)
        })
        .await
    }

    /// Enters a user who registers.
    pub(crate) async fn register(&self, user: NewUser, password: Secret) -> Result<(), SessionRefusal> {
        let hash = self.hashing.hash(password).await?.map_err(|error| SessionRefusal::User(error.into()))?;
        let entered = self.change_users(move |path| users::enter(path, &user, hash, MOST_REGISTERED)).await;
        entered.map_err(SessionRefusal::User)
    }

    /// Changes the file of users, and reads it at once.
    async fn change_users(
        &self,
        change: impl FnOnce(&Path) -> Result<(), UserError> + Send + 'static,
    ) -> Result<(), UserError> {
        let Some(path) = self.users_file.clone() else {
            return Err(UserError::Unknown("without a file".to_owned()));
        };
        let (at, users) = (path.clone(), Arc::clone(&self.users));
        let changed = tokio::task::spawn_blocking(move || {
            let changed = change(&path);
            users.look();
            changed
        })
        .await;
        changed.unwrap_or_else(|error| {
            let source = std::io::Error::other(error);
            Err(FileError::Disk { attempted: "change", path: at, source }.into())
        })
    }
}

/// What sessions are signed with: the key configured, else one kept in `data`, else the one that signed `before`, else
/// one for this process alone.
pub(super) fn signer(access: &Access, data: Option<&Path>, before: Option<&Signer>) -> Option<Signer> {
    if let Some(key) = &access.session_key {
        return Signer::new(key.expose().as_bytes());
    }
    match data.map(|data| kept_in(&data.join(SESSION_KEY_FILE), "")) {
        Some(Ok(key)) => return Signer::new(key.expose().as_bytes()),
        Some(Err(error)) => {
            tracing::error!(%error, "cannot read or keep the key of sessions in the data directory: they end with this process");
        }
        None => {}
    }
    let own = || Signer::new(hex::encode(rand::random::<[u8; 32]>()).as_bytes());
    before.cloned().or_else(own)
}

impl From<NotCompared> for SessionRefusal {
    fn from(why: NotCompared) -> SessionRefusal {
        match why {
            NotCompared::Busy => SessionRefusal::Busy,
            NotCompared::Failed => SessionRefusal::Failed,
        }
    }
}
