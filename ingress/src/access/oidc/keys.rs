//! An issuer's keys: fetched when they are needed, kept for when it is away.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, Jwk, PublicKeyUse},
};
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};

/// How long keys are taken as they are.
const FRESH_FOR: Duration = Duration::from_secs(60 * 60);
/// How long they still count when the issuer is away; longer ones could have been taken back.
const COUNT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How often an issuer is asked at most, whatever callers present.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long it may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Largest answer, in bytes.
const LARGEST: usize = 512 * 1024;

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyError {
    /// The issuer has no such key.
    Unknown,
    /// It cannot be asked, and nothing that it said before counts any more.
    Away,
}

/// Why an issuer's keys could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("cannot reach `{url}`")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("`{url}` answered with {status}")]
    Refused { url: String, status: u16 },
    #[error("what `{url}` says is larger than {LARGEST} bytes")]
    TooLarge { url: String },
    #[error("what `{url}` says is no {what}")]
    NoSense { url: String, what: &'static str },
}

/// The keys of one issuer.
#[derive(Debug, Clone)]
pub(crate) struct Keys(Arc<Store>);

/// Keys, and where they come from.
#[derive(Debug)]
struct Store {
    issuer: String,
    http: reqwest::Client,
    known: RwLock<Arc<Known>>,
    /// When it was asked last; held by whoever asks.
    asked: Mutex<Option<Instant>>,
    /// Where its last answer is kept.
    file: Option<PathBuf>,
}

/// What was fetched, and when.
#[derive(Debug, Default)]
struct Known {
    keys: HashMap<String, Jwk>,
    at: Option<Instant>,
}

impl Keys {
    /// Nothing is asked yet; `ca` are PEM certificates, `file` is where the last answer is kept.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub(crate) fn new(issuer: &str, ca: Option<&str>, file: Option<PathBuf>) -> Result<Keys, reqwest::Error> {
        let known = file.as_deref().and_then(kept).unwrap_or_default();
        let (issuer, http) = (issuer.to_owned(), client(issuer, ca)?);
        let known = RwLock::new(Arc::new(known));
        Ok(Keys(Arc::new(Store { issuer, http, known, asked: Mutex::default(), file })))
    }

    /// Whether both know the same.
    #[cfg(test)]
    pub(crate) fn are_the_same_as(&self, other: &Keys) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The key of a name, for signatures of this kind. Where there is no name, the issuer's only one.
    pub(crate) async fn find(
        &self,
        name: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, KeyError> {
        let known = self.0.known();
        if known.age().is_some_and(|age| age < FRESH_FOR)
            && let Some(key) = known.key(name, algorithm)
        {
            return Ok(key);
        }
        let (store, before) = (Arc::clone(&self.0), known.at);
        if known.age().is_some_and(|age| age < COUNT_FOR)
            && let Some(key) = known.key(name, algorithm)
        {
            // It counts for as long as it may be that the issuer is away: nobody waits for it to come back.
            if self.0.asked.try_lock().is_ok() {
                tokio::spawn(async move { store.ask_again(before).await });
            }
            return Ok(key);
        }
        // To the end even when the caller hangs up: else whoever hangs up in time keeps the keys from everybody.
        let asking = tokio::spawn(async move { store.ask_again(before).await });
        if asking.await.is_err() {
            tracing::error!(issuer = self.0.issuer, "asking for the issuer's keys failed");
        }
        let known = self.0.known();
        match known.age() {
            Some(age) if age < COUNT_FOR => known.key(name, algorithm).ok_or(KeyError::Unknown),
            Some(_) | None => Err(KeyError::Away),
        }
    }
}

impl Store {
    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the issuer, unless that was done a moment ago, or another has done it since `before`.
    async fn ask_again(self: &Arc<Self>, before: Option<Instant>) {
        let mut asked = self.asked.lock().await;
        if self.known().at != before || asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) {
            return;
        }
        *asked = Some(Instant::now());
        match self.fetch().await {
            Ok(set) => {
                let known = Known { keys: keys_in(&set), at: Some(Instant::now()) };
                tracing::info!(issuer = self.issuer, keys = known.keys.len(), "read the issuer's keys");
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
                let store = Arc::clone(self);
                // A disk that hangs keeps nobody waiting who has a key.
                tokio::task::spawn_blocking(move || store.keep(&set));
            }
            Err(error) => {
                // An issuer that says nothing takes as long as that: whoever waited meanwhile asks no more.
                *asked = Some(Instant::now());
                tracing::warn!(
                    issuer = self.issuer,
                    error = &error as &dyn std::error::Error,
                    "an issuer's keys cannot be fetched; those it had still count for a day"
                );
            }
        }
    }

    async fn fetch(&self) -> Result<Value, FetchError> {
        let base = self.issuer.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let discovery = self.get(&url).await?;
        if discovery["issuer"] != self.issuer.as_str() {
            return Err(FetchError::NoSense { url, what: "description of this issuer" });
        }
        let at = discovery["jwks_uri"].as_str().filter(|at| is_safe(at, &self.issuer));
        let at = at.ok_or(FetchError::NoSense { url, what: "description with a safe `jwks_uri`" })?;
        let set = self.get(at).await?;
        if keys_in(&set).is_empty() {
            return Err(FetchError::NoSense { url: at.to_owned(), what: "set of keys" });
        }
        Ok(set)
    }

    async fn get(&self, url: &str) -> Result<Value, FetchError> {
        let unreachable = |source| FetchError::Unreachable { url: url.to_owned(), source };
        let mut response = self.http.get(url).send().await.map_err(unreachable)?;
        if !response.status().is_success() {
            return Err(FetchError::Refused { url: url.to_owned(), status: response.status().as_u16() });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(FetchError::TooLarge { url: url.to_owned() });
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|_| FetchError::NoSense { url: url.to_owned(), what: "JSON" })
    }

    /// Keeps what an issuer said for a start while it is away. Its keys are public.
    fn keep(&self, set: &Value) {
        let Some(file) = &self.file else { return };
        let aside = file.with_extension("new");
        let kept = fs::write(&aside, set.to_string()).and_then(|()| fs::rename(&aside, file));
        if let Err(error) = kept {
            tracing::warn!(%error, file = %file.display(), "an issuer's keys could not be kept for the next start");
        }
    }
}

impl Known {
    fn age(&self) -> Option<Duration> {
        self.at.map(|at| at.elapsed())
    }

    fn key(&self, name: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
        let key = match name {
            Some(name) => self.keys.get(name)?,
            None if self.keys.len() == 1 => self.keys.values().next()?,
            None => return None,
        };
        fits(key, algorithm).then(|| DecodingKey::from_jwk(key).ok()).flatten()
    }
}

/// Whether a key may be used for signatures of this kind: one for another would be a way around it.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let said = key.common.key_algorithm.map(|said| said.to_string().parse::<Algorithm>());
    if said.is_some_and(|said| said.ok() != Some(algorithm)) {
        return false;
    }
    match (&key.algorithm, algorithm) {
        (
            AlgorithmParameters::RSA(_),
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512,
        ) => true,
        (AlgorithmParameters::EllipticCurve(_), Algorithm::ES256 | Algorithm::ES384) => true,
        (AlgorithmParameters::OctetKeyPair(_), Algorithm::EdDSA) => true,
        (
            AlgorithmParameters::RSA(_)
            | AlgorithmParameters::EllipticCurve(_)
            | AlgorithmParameters::OctetKeyPair(_)
            | AlgorithmParameters::OctetKey(_),
            _,
        ) => false,
    }
}

/// The keys of a set by their names. One that is of no use here, or of a kind to come, is passed over.
fn keys_in(set: &Value) -> HashMap<String, Jwk> {
    let keys = set["keys"].as_array().into_iter().flatten();
    let keys = keys.filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok());
    let signs = |key: &Jwk| {
        let usage = key.common.public_key_use.as_ref();
        usage.is_none_or(|usage| *usage == PublicKeyUse::Signature)
            && !matches!(key.algorithm, AlgorithmParameters::OctetKey(_))
    };
    let named = keys.filter(signs).map(|key| (key.common.key_id.clone().unwrap_or_default(), key));
    named.collect()
}

/// Whether keys at this address are the issuer's own: nobody may change them on the way.
fn is_safe(at: &str, issuer: &str) -> bool {
    at.starts_with("https://") || (is_in_the_clear(issuer) && is_in_the_clear(at))
}

/// Whether an address is spoken to without TLS, as is only good for this machine.
pub(crate) fn is_in_the_clear(url: &str) -> bool {
    let Ok(parsed) = reqwest::Url::parse(url) else { return false };
    let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    parsed.scheme() == "http" && is_here
}

fn client(issuer: &str, ca: Option<&str>) -> Result<reqwest::Client, reqwest::Error> {
    // Fails where another part of the process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("longshore/", env!("CARGO_PKG_VERSION")))
        .timeout(ANSWER_WITHIN)
        .redirect(reqwest::redirect::Policy::none());
    match ca {
        Some(pem) => builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.as_bytes())?),
        None if is_in_the_clear(issuer) => builder.tls_certs_only([]).no_proxy(),
        None => builder,
    }
    .build()
}

/// What an issuer said last, if not too long ago.
fn kept(file: &Path) -> Option<Known> {
    let read = || -> io::Result<(Value, Duration)> {
        let age = fs::metadata(file)?.modified()?.elapsed().unwrap_or_default();
        Ok((serde_json::from_slice(&fs::read(file)?)?, age))
    };
    let (set, age) = read().ok()?;
    // A machine that was just started has no time so long ago.
    let at = Instant::now().checked_sub(age).filter(|_| age < COUNT_FOR)?;
    Some(Known { keys: keys_in(&set), at: Some(at) })
}
