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
        Doors::opened(access, data, None)
    }

    fn opened(access: &Access, data: Option<&Path>, before: Option<&Doors>) -> Doors {
        let in_data = |name: &str| data.map(|data| data.join(name));
        let tokens_file = access.tokens_file.clone().or_else(|| in_data(TOKENS_FILE));
        let tokens = Watched::at(tokens_file, before.map(|before| &before.tokens));
        let users_file = access.users_file.clone().or_else(|| in_data(USERS_FILE));
        let users = Watched::at(users_file.clone(), before.map(|before| &before.users));
        // One that was configured is not gone on with once it is taken out.
        let kept = before.filter(|before| before.access.session_key.is_none());
        let signer = signer(access, data, kept.and_then(|before| before.signer.as_ref()));
        let (hashing, guesses) = before.map_or_else(Default::default, |before| {
            (Arc::clone(&before.hashing), Arc::clone(&before.guesses))
        });
        let known = before.map_or(&[][..], |before| &before.issuers);
        let issuers = access.issuers.iter().filter_map(|issuer| opened(issuer, data, known)).collect();
        Doors { access: access.clone(), tokens, users, users_file, signer, hashing, guesses, issuers }
    }

    /// As another configuration has them. Whoever guessed before has guessed, and what a file or an issuer said last
    /// counts until it can be read again.
    pub(crate) fn opened_anew(&self, access: &Access, data: Option<&Path>) -> Doors {
        Doors::opened(access, data, Some(self))
    }

    /// Reads the files again if they changed: a system call for each, which may take long on a disk behind a network.
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

/// An issuer with its keys, those that are known of it already; none, which is told, where its certificates cannot be used.
fn opened(settings: &IssuerSettings, data: Option<&Path>, known: &[Issuer]) -> Option<Issuer> {
    if let Some(keys) = known.iter().find_map(|issuer| issuer.keys_for(settings)) {
        return Some(Issuer::new(settings.clone(), keys));
    }
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

    /// Of a data directory whose key of sessions cannot be read any more.
    #[tokio::test]
    async fn sessions_go_on_over_a_reload_that_cannot_read_their_key() {
        let folder = tempfile::tempdir().unwrap();
        let (access, key) = (Access::default(), folder.path().join("session-key"));
        let doors = Doors::open(&access, Some(folder.path()));
        let token = doors.signer.as_ref().unwrap().pair("anna", 1, Timestamp::now()).access;
        let reads = |doors: &Doors| doors.signer.as_ref().unwrap().read(&token).is_some();
        std::fs::write(&key, "").unwrap();
        let anew = doors.opened_anew(&access, Some(folder.path()));
        assert!(reads(&anew));
        std::fs::remove_file(&key).unwrap();
        assert!(!reads(&anew.opened_anew(&access, Some(folder.path()))), "one that was taken away is void");

        // One that was configured is not gone on with.
        let configured =
            Access { session_key: Some(config::Secret::new("k".repeat(32))), ..Access::default() };
        let doors = Doors::open(&configured, None);
        let token = doors.signer.as_ref().unwrap().pair("anna", 1, Timestamp::now()).access;
        let without = doors.opened_anew(&access, None);
        assert!(without.signer.as_ref().unwrap().read(&token).is_none());
    }

    #[tokio::test]
    async fn an_issuers_keys_are_kept_over_a_reload_for_as_long_as_it_is_the_same() {
        let issuer = |name: &str, url: &str, audience: &str| IssuerSettings {
            name: name.to_owned(),
            url: url.to_owned(),
            audience: audience.to_owned(),
            ca: None,
            rules: Vec::new(),
            named_by: &["sub"],
        };
        let access = |issuer| Access { issuers: vec![issuer], ..Access::default() };
        let here = "http://127.0.0.1:1";
        let doors = Doors::open(&access(issuer("ci", here, "one")), None);
        for (after, are_kept) in [
            (issuer("ci", here, "two"), true),
            (issuer("ci", "http://127.0.0.1:2", "one"), false),
            (issuer("other", here, "one"), false),
        ] {
            let anew = doors.opened_anew(&access(after.clone()), None);
            let keys = anew.issuers[0].keys_for(&after).unwrap();
            let before = doors.issuers[0].keys_for(&issuer("ci", here, "one")).unwrap();
            assert_eq!(keys.are_the_same_as(&before), are_kept, "{after:?}");
        }
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
