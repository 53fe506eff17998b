//! CI by its identity: a token that GitHub or GitLab signed for one run of a pipeline, and what its claims allow.

pub(crate) mod keys;
pub(crate) mod rules;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Validation};
use serde_json::{Map, Value};

use self::{
    keys::{KeyError, Keys},
    rules::Rule,
};
use super::principal::Principal;

/// How far the issuer's clock may differ, in seconds.
const LEEWAY: i64 = 60;

/// Longest name that is taken over into jobs.
const LONGEST_NAME: usize = 120;

/// An issuer whose tokens let in, as it is configured.
#[derive(Debug, Clone)]
pub(crate) struct IssuerSettings {
    /// What the configuration calls it.
    pub(crate) name: String,
    /// Its URL, as it stands in tokens.
    pub(crate) url: String,
    /// Whom tokens must be for.
    pub(crate) audience: String,
    /// PEM certificates of the authorities that vouch for it; the machine's own without.
    pub(crate) ca: Option<String>,
    /// Each that a token's claims fit.
    pub(crate) rules: Vec<Rule>,
    /// The claims that name the caller, the first that there is.
    pub(crate) named_by: &'static [&'static str],
}

/// An issuer, with its keys.
#[derive(Debug)]
pub(crate) struct Issuer {
    settings: IssuerSettings,
    keys: Keys,
}

/// Why an identity does not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Distrust {
    /// Nobody who is trusted says so; the reason is for the caller.
    Untrusted(String),
    /// It did until then.
    Expired(String),
    /// It is true, and opens nothing.
    NoRule {
        /// Who it is.
        name: String,
        /// What it says of itself.
        claims: String,
    },
    /// The issuer's keys cannot be had now.
    Away(String),
}

/// Whether a bearer token has the form of an identity.
pub(crate) fn is_identity(presented: &str) -> bool {
    presented.starts_with("eyJ") && presented.split('.').count() == 3
}

/// Who an identity says it is from; nothing of it is checked.
pub(crate) fn issuer_of(presented: &str) -> Option<String> {
    part_of(presented, 1)?.get("iss")?.as_str().map(str::to_owned)
}

/// How it says it is signed.
fn head_of(presented: &str) -> Option<Value> {
    part_of(presented, 0)
}

fn part_of(presented: &str, place: usize) -> Option<Value> {
    let part = presented.split('.').nth(place)?;
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

impl Issuer {
    /// With the keys that `keys` gets.
    pub(crate) fn new(settings: IssuerSettings, keys: Keys) -> Issuer {
        Issuer { settings, keys }
    }

    /// Its keys, where they are those of an issuer with such settings, too: whatever else is said of it.
    pub(crate) fn keys_for(&self, settings: &IssuerSettings) -> Option<Keys> {
        let IssuerSettings { name, url, ca, .. } = &self.settings;
        let are_its = (name, url, ca) == (&settings.name, &settings.url, &settings.ca);
        are_its.then(|| self.keys.clone())
    }

    /// Its URL, as it stands in tokens.
    pub(crate) fn url(&self) -> &str {
        &self.settings.url
    }

    /// Finds out whose identity it is, and what they may do.
    pub(crate) async fn admit(&self, presented: &str, now: Timestamp) -> Result<Principal, Distrust> {
        let claims = self.verified(presented).await?;
        self.check(&claims, now)?;
        let name = self.name_of(&claims);
        let scopes: Vec<_> = self
            .settings
            .rules
            .iter()
            .filter(|rule| rule.fits(&claims))
            .map(|rule| rule.scope.clone())
            .collect();
        if scopes.is_empty() {
            return Err(Distrust::NoRule { name, claims: self.told(&claims) });
        }
        Ok(Principal::new(name, scopes))
    }

    /// The claims, of which it is certain that the issuer signed them.
    async fn verified(&self, presented: &str) -> Result<Map<String, Value>, Distrust> {
        let untrusted = |why: &str| Distrust::Untrusted(why.to_owned());
        let head =
            jsonwebtoken::decode_header(presented).map_err(|_| untrusted("its head cannot be read"))?;
        if head_of(presented).is_none_or(|head| head.get("crit").is_some()) {
            return Err(untrusted("its head asks for what is not known here (`crit`)"));
        }
        if !is_signed_by_two(head.alg) {
            return Err(untrusted("it is not signed with a private key"));
        }
        let key = self.keys.find(head.kid.as_deref(), head.alg).await.map_err(|error| match error {
            KeyError::Unknown => untrusted("its issuer has no such key"),
            KeyError::Away => Distrust::Away(self.settings.name.clone()),
        })?;
        // The signature alone: what is claimed is looked at below, where a claim of a wrong type is refused, too.
        let mut validation = Validation::new(head.alg);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(presented, &key, &validation);
        decoded.map(|token| token.claims).map_err(|_| untrusted("its signature is not its issuer's"))
    }

    /// Checks by whom, for whom and for when it was made.
    fn check(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<(), Distrust> {
        let untrusted = |why: String| Err(Distrust::Untrusted(why));
        if claims.get("iss").and_then(Value::as_str) != Some(self.settings.url.as_str()) {
            return untrusted("it is of another issuer".to_owned());
        }
        let audience = &self.settings.audience;
        let is_for_us = match claims.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(several)) => several.iter().any(|one| one == audience),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
        };
        if !is_for_us {
            return untrusted(format!("it was not made for the audience `{audience}`"));
        }
        let now = now.as_second();
        let Some(until) = claims.get("exp").and_then(seconds) else {
            return untrusted("it does not say when it expires".to_owned());
        };
        if until.saturating_add(LEEWAY) <= now {
            return Err(Distrust::Expired(self.name_of(claims)));
        }
        for name in ["nbf", "iat"] {
            let from = claims.get(name).map(seconds);
            if from.is_some_and(|from| from.is_none_or(|from| from > now.saturating_add(LEEWAY))) {
                return untrusted("it is for a time to come: compare the clocks".to_owned());
            }
        }
        Ok(())
    }

    fn name_of(&self, claims: &Map<String, Value>) -> String {
        let named = self.settings.named_by.iter().find_map(|claim| claims.get(*claim)?.as_str());
        let plain = |c: &char| !c.is_control();
        let who: String = named.unwrap_or("?").chars().filter(plain).take(LONGEST_NAME).collect();
        format!("{}:{who}", self.settings.name)
    }

    /// The claims that its rules look at, as this token has them.
    fn told(&self, claims: &Map<String, Value>) -> String {
        let mut names: Vec<&str> = self.settings.rules.iter().flat_map(Rule::claims).collect();
        names.sort_unstable();
        names.dedup();
        let told = names.iter().map(|name| match claims.get(*name).and_then(rules::text_of) {
            Some(text) => format!("{name} = `{:.60}`", text.replace(char::is_control, " ")),
            None => format!("no {name}"),
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

/// Whether only the issuer can have made such a signature; a shared secret could be one of its public keys.
fn is_signed_by_two(algorithm: Algorithm) -> bool {
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => false,
        Algorithm::ES256
        | Algorithm::ES384
        | Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512
        | Algorithm::EdDSA => true,
    }
}

/// A time, as whole or broken seconds.
fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let seconds = value.as_f64().filter(|seconds| seconds.abs() < 1e15)?;
        Some(seconds as i64)
    })
}

#[cfg(test)]
mod tests;
