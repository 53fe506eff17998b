//! An issuer of identities for pipelines, as GitHub's and GitLab's are.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::fake_http::{Answer, FakeServer, Request, Service};

/// A key with its name.
struct Key {
    name: String,
    pair: EcdsaKeyPair,
}

/// What it says of itself, and its keys.
#[derive(Default)]
struct Issuing {
    url: Mutex<String>,
    published: Mutex<Vec<Value>>,
}

/// One on a port of its own of 127.0.0.1. Dropping it makes it unreachable.
pub struct FakeIssuer {
    issuing: Arc<Issuing>,
    server: FakeServer,
    key: Key,
}

impl FakeIssuer {
    /// Starts one with one key.
    pub fn start() -> Result<FakeIssuer> {
        let issuing = Arc::new(Issuing::default());
        let server = FakeServer::start(Arc::clone(&issuing) as Arc<dyn Service>)?;
        *locked(&issuing.url) = server.url();
        let mut issuer = FakeIssuer { issuing, server, key: Key::new("key-1")? };
        issuer.rotate("key-1")?;
        Ok(issuer)
    }

    /// Its URL, as it stands in identities.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// How often it was asked for its keys.
    pub fn asked(&self) -> usize {
        self.server.requests().iter().filter(|request| request.ends_with("/keys")).count()
    }

    /// Signs with another key from now on, and publishes it alone.
    pub fn rotate(&mut self, name: &str) -> Result<()> {
        self.key = Key::new(name)?;
        *locked(&self.issuing.published) = vec![self.key.public()];
        Ok(())
    }

    /// An identity with these claims, good for five minutes unless they say otherwise.
    pub fn identity(&self, claims: &Value) -> Result<String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        let mut all = json!({"iss": self.url(), "exp": now + 300, "iat": now, "nbf": now});
        let claims = claims.as_object().context("claims are an object")?;
        all.as_object_mut().context("claims are an object")?.extend(claims.clone());
        self.key.sign(&all)
    }
}

impl Key {
    fn new(name: &str) -> Result<Key> {
        let random = SystemRandom::new();
        let unkeyed = |_| anyhow!("make a key");
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(unkeyed)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Ok(Key { name: name.to_owned(), pair: pair.map_err(|error| anyhow!("read a key: {error}"))? })
    }

    fn public(&self) -> Value {
        // 4, x, y
        let point = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.name, "x": encode(x), "y": encode(y)})
    }

    fn sign(&self, claims: &Value) -> Result<String> {
        let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let body = format!(
            "{}.{}",
            encode(&json!({"alg": "ES256", "kid": self.name, "typ": "JWT"})),
            encode(claims)
        );
        let signature = self.pair.sign(&SystemRandom::new(), body.as_bytes()).map_err(|_| anyhow!("sign"))?;
        Ok(format!("{body}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl Service for Issuing {
    fn answer(&self, request: &Request) -> Answer {
        let url = locked(&self.url).clone();
        match request.path.as_str() {
            "/.well-known/openid-configuration" => {
                Answer::json(200, &json!({"issuer": url, "jwks_uri": format!("{url}/keys")}))
            }
            "/keys" => Answer::json(200, &json!({"keys": *locked(&self.published)})),
            _ => Answer::text(404, "nothing here"),
        }
    }
}

fn locked<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
