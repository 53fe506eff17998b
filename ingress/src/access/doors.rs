//! The doors of a running ingress: what is presented opens one of them, or none.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::http::HeaderMap;
use jiff::Timestamp;

use super::{
    Access, bearer,
    file::Watched,
    guesses::Guesses,
    log_in::signer,
    oidc::{self, Distrust, Issuer, IssuerSettings, keys::Keys},
    passwords::Hashing,
    principal::Principal,
    role::Role,
    sessions::Signer,
    tokens::{self, Found, TokenBook},
    users::UserBook,
};
use crate::problem::{Kind, Problem};

/// The file of tokens in a data directory.
pub const TOKENS_FILE: &str = "tokens.yaml";
/// The file of users there.
pub const USERS_FILE: &str = "users.yaml";

/// Whether a caller presents something that could only be meant for these doors, and for no source's own.
pub(crate) fn is_ours(headers: &HeaderMap) -> bool {
    bearer(headers)
        .is_some_and(|presented| presented.starts_with(tokens::PREFIX) || oidc::is_identity(presented))
}

/// Everyone who may come in, now.
#[derive(Debug)]
pub(crate) struct Doors {
    access: Access,
    tokens: Arc<Watched<TokenBook>>,
    pub(super) users: Arc<Watched<UserBook>>,
    pub(super) users_file: Option<PathBuf>,
    pub(super) signer: Option<Signer>,
    pub(super) hashing: Arc<Hashing>,
    guesses: Arc<Guesses>,
    issuers: Vec<Issuer>,
}

/// Why a caller is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing was presented.
    Missing,
    /// What was presented opens nothing here.
    Wrong,
    /// It did until then.
    Expired {
        /// Whose it was.
        name: String,
        /// When it ended.
        until: Timestamp,
    },
    /// A session that was ended, or has passed.
    SessionEnded {
        /// Whose.
        user: String,
    },
    /// An identity that does not let in.
    Distrusted(Distrust),
}

impl Doors {
    /// Opens what is configured; the files are in `data` unless that says otherwise.
    pub(crate) fn open(access: &Access, data: Option<&Path>) -> Doors {
        let in_data = |name: &str| data.map(|data| data.join(name));
        let tokens_file = access.tokens_file.clone().or_else(|| in_data(TOKENS_FILE));
        let tokens = Arc::new(Watched::new(tokens_file));
        let users_file = access.users_file.clone().or_else(|| in_data(USERS_FILE));
        let users = Arc::new(Watched::new(users_file.clone()));
        let signer = signer(access, data);
        let (hashing, guesses) = (Arc::default(), Arc::default());
        let issuers = access.issuers.iter().filter_map(|issuer| opened(issuer, data)).collect();
        Doors { access: access.clone(), tokens, users, users_file, signer, hashing, guesses, issuers }
    }

    /// As another configuration has them. Whoever guessed before has guessed, and what a file said last counts until it
    /// can be read again.
    pub(crate) fn opened_anew(&self, access: &Access, data: Option<&Path>) -> Doors {
        let (hashing, guesses) = (Arc::clone(&self.hashing), Arc::clone(&self.guesses));
        let mut doors = Doors { hashing, guesses, ..Doors::open(access, data) };
        if doors.tokens.path() == self.tokens.path() {
            doors.tokens = Arc::clone(&self.tokens);
        }
        if doors.users.path() == self.users.path() {
            doors.users = Arc::clone(&self.users);
        }
        doors
    }

    /// Reads the files again if they changed: as quick as a system call for each, and what changed is small.
    pub(crate) fn look(&self) {
        self.tokens.look();
        self.users.look();
    }

    /// Attempts to log in.
    pub(crate) fn guesses(&self) -> &Guesses {
        &self.guesses
    }

    /// What somebody may do who registers; none: nobody can.
    pub(crate) fn registration(&self) -> Option<(Role, Vec<String>)> {
        self.access.registration.clone()
    }

    /// Whether nobody at all may come in.
    pub(crate) fn are_closed(&self) -> bool {
        self.access.is_closed()
            && self.issuers.is_empty()
            && self.tokens.current().is_empty()
            && self.users.current().is_empty()
    }

    /// Finds out who calls.
    pub(crate) async fn admit(&self, headers: &HeaderMap) -> Result<Principal, Refusal> {
        let presented = bearer(headers).ok_or(Refusal::Missing)?;
        if self.access.is_admin(presented) {
            return Ok(Principal::admin());
        }
        if oidc::is_identity(presented) {
            return self.by_identity(presented).await.map_err(Refusal::Distrusted);
        }
        match self.session_of(headers)? {
            Some(claims) => self.by_session(&claims),
            None => self.by_token(presented),
        }
    }

    /// Who a caller is now that was let in before; none once they would not be any more. Who follows one deploy, `to_its_end`,
    /// may see it through with what was only meant to last so long. That an issuer is away takes nothing from anybody.
    pub(crate) async fn admit_again(
        &self,
        headers: &HeaderMap,
        before: &Principal,
        to_its_end: bool,
    ) -> Option<Principal> {
        match self.admit(headers).await {
            Ok(principal) => Some(principal),
            Err(Refusal::Expired { .. } | Refusal::Distrusted(Distrust::Expired(_))) if to_its_end => {
                Some(before.clone())
            }
            Err(Refusal::Distrusted(Distrust::Away(_))) => Some(before.clone()),
            Err(
                Refusal::Missing
                | Refusal::Wrong
                | Refusal::SessionEnded { .. }
                | Refusal::Expired { .. }
                | Refusal::Distrusted(_),
            ) => None,
        }
    }

    /// Whether the token is presented that may do everything: it has no place in the settings of a sender.
    pub(crate) fn is_admin(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|presented| self.access.is_admin(presented))
    }

    async fn by_identity(&self, presented: &str) -> Result<Principal, Distrust> {
        let url = oidc::issuer_of(presented);
        let issuer = self.issuers.iter().find(|issuer| Some(issuer.url()) == url.as_deref());
        let issuer =
            issuer.ok_or_else(|| Distrust::Untrusted("its issuer is not configured here".to_owned()))?;
        issuer.admit(presented, Timestamp::now()).await
    }

    fn by_token(&self, presented: &str) -> Result<Principal, Refusal> {
        let book = self.tokens.current();
        match book.find(presented, Timestamp::now()) {
            Found::Good(record) => Ok(Principal::new(format!("token:{}", record.name), vec![record.scope()])),
            Found::Expired(record, until) => Err(Refusal::Expired { name: record.name.clone(), until }),
            Found::Unknown => Err(Refusal::Wrong),
        }
    }
}

/// An issuer with its keys; none, which is told, where its certificates cannot be used.
fn opened(settings: &IssuerSettings, data: Option<&Path>) -> Option<Issuer> {
    let file = data.map(|data| data.join(format!("keys-{}.json", settings.name)));
    match Keys::new(&settings.url, settings.ca.as_deref(), file) {
        Ok(keys) => Some(Issuer::new(settings.clone(), keys)),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(issuer = settings.name, error, "the issuer's identities let nobody in");
            None
        }
    }
}

impl From<Distrust> for Problem {
    fn from(distrust: Distrust) -> Problem {
        match distrust {
            Distrust::Untrusted(why) => Kind::WrongToken
                .with(format!("the identity is not accepted: {why}"))
                .hint("compare the issuer and the audience of the token with `access.oidc` in the configuration"),
            Distrust::Expired(name) => Kind::ExpiredToken
                .with(format!("the identity of `{name}` has expired"))
                .hint("ask the CI for a new one just before it is used")
                .by(&name),
            Distrust::NoRule { name, claims } => Kind::NotAllowed
                .with(format!("no rule fits the identity of `{name}`: it has {claims}"))
                .hint("add a rule under `access.oidc` with these claims, and what they may do")
                .by(&name),
            Distrust::Away(name) => Kind::IssuerAway
                .with(format!("the keys of the issuer `{name}` cannot be fetched, and none are kept")),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        match refusal {
            Refusal::Missing => Kind::MissingToken.with("the request carries no bearer token"),
            Refusal::Wrong => Kind::WrongToken.with("nobody here has this token"),
            Refusal::Distrusted(distrust) => distrust.into(),
            Refusal::SessionEnded { user } => Kind::SessionEnded
                .with("the session was ended, or its time is over")
                .by(&format!("user:{user}")),
            Refusal::Expired { name, until } => Kind::ExpiredToken
                .with(format!("the token `{name}` expired at {until}"))
                .by(&format!("token:{name}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;
    use crate::access::{TokenHash, scope::Scope};

    fn headers(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn only_the_bearer_of_a_known_token_is_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let mut access = Access::default();
        assert!(Doors::open(&access, Some(folder.path())).are_closed());
        access.grant_admin(TokenHash::of("one"));
        access.grant_admin(TokenHash::of("two"));
        let doors = Doors::open(&access, Some(folder.path()));
        assert!(!doors.are_closed());
        for good in ["one", "two"] {
            assert_eq!(doors.admit(&headers(good)).await, Ok(Principal::admin()));
        }
        assert_eq!(doors.admit(&headers("three")).await, Err(Refusal::Wrong));
        assert_eq!(doors.admit(&HeaderMap::new()).await, Err(Refusal::Missing));

        let scope = Scope {
            targets: vec!["web".to_owned()],
            operations: vec!["read".to_owned()],
            sources: Vec::new(),
        };
        let file = folder.path().join(TOKENS_FILE);
        let made = tokens::create(&file, "ci", scope, None).unwrap();
        assert_eq!(doors.admit(&headers(made.token.expose())).await, Err(Refusal::Wrong));
        doors.tokens.look();
        let ci = doors.admit(&headers(made.token.expose())).await.unwrap();
        assert_eq!(ci.name, "token:ci");
        tokens::revoke(&file, "ci").unwrap();
        doors.tokens.look();
        assert_eq!(doors.admit(&headers(made.token.expose())).await, Err(Refusal::Wrong));
    }
}
