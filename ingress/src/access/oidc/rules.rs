//! What the claims of an identity allow.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use wildmatch::WildMatch;

use crate::access::scope::Scope;

/// Claims that tell no caller from another, whoever the issuer is: what a token is for, and how a pipeline runs.
const OF_NOBODY: [&str; 28] = [
    "alg",
    "aud",
    "base_ref",
    "branch",
    "build_branch",
    "build_tag",
    "email_verified",
    "environment",
    "environment_protected",
    "event_name",
    "exp",
    "head_ref",
    "iat",
    "iss",
    "job",
    "jti",
    "nbf",
    "pipeline_source",
    "ref",
    "ref_path",
    "ref_protected",
    "ref_type",
    "repository_visibility",
    "runner_environment",
    "run_attempt",
    "tag",
    "typ",
    "workflow",
];

/// Where tokens come from, and so which claims tell one caller from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Github,
    Gitlab,
    Google,
    Other,
}

/// Who fits all of its patterns has its scope.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// For each claim patterns, one of which has to fit.
    patterns: BTreeMap<String, Vec<String>>,
    pub(crate) scope: Scope,
}

impl Rule {
    pub(crate) fn new(patterns: BTreeMap<String, Vec<String>>, scope: Scope) -> Rule {
        Rule { patterns, scope }
    }

    /// Whether the claims fit.
    pub(crate) fn fits(&self, claims: &Map<String, Value>) -> bool {
        // An address that nobody has proved to be theirs says nothing.
        let unproved =
            claims.get("email_verified").is_some_and(|proved| text_of(proved).as_deref() != Some("true"));
        if unproved && self.patterns.contains_key("email") {
            return false;
        }
        self.patterns.iter().all(|(claim, patterns)| {
            let text = claims.get(claim).and_then(text_of);
            text.is_some_and(|text| patterns.iter().any(|pattern| WildMatch::new(pattern).matches(&text)))
        })
    }

    /// The claims that it looks at.
    pub(crate) fn claims(&self) -> impl Iterator<Item = &str> {
        self.patterns.keys().map(String::as_str)
    }

    /// Whether it says whose pipelines it is for: everybody in the world can have a token of a public issuer.
    pub(crate) fn is_bound(&self, origin: Origin) -> bool {
        let names = origin.identifying();
        self.patterns.iter().any(|(claim, patterns)| {
            let known = match names {
                [] => !OF_NOBODY.contains(&claim.as_str()),
                names => names.contains(&claim.as_str()),
            };
            known && !patterns.is_empty() && patterns.iter().all(|pattern| is_somebodys(claim, pattern))
        })
    }
}

impl Origin {
    /// The claims one of which has to be bound; where none is known, any that may tell a caller from another.
    pub(crate) fn identifying(self) -> &'static [&'static str] {
        match self {
            Origin::Github => {
                &["repository", "repository_id", "repository_owner", "repository_owner_id", "sub"]
            }
            Origin::Gitlab => &["project_path", "project_id", "namespace_path", "namespace_id", "sub"],
            Origin::Google => &["email", "sub"],
            Origin::Other => &[],
        }
    }

    /// The claims that name a caller, the first that there is.
    pub(crate) fn named_by(self) -> &'static [&'static str] {
        match self {
            Origin::Github => &["repository", "sub"],
            Origin::Gitlab => &["project_path", "sub"],
            Origin::Google => &["email", "sub"],
            Origin::Other => &["sub"],
        }
    }
}

/// Whether a pattern takes what one owner has alone: it is exact, or its owner is, up to the slash.
fn is_somebodys(claim: &str, pattern: &str) -> bool {
    let Some(wild) = pattern.find(['*', '?']) else { return !pattern.is_empty() };
    let begins = &pattern[..wild];
    let own = match claim {
        "sub" => begins.split_once(':').map_or(begins, |(_, own)| own),
        _ => begins,
    };
    own.find('/').is_some_and(|slash| slash > 0) && !claim.ends_with("_id")
}

/// A claim as it is compared; lists and maps are not.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(patterns: &[(&str, &str)]) -> Rule {
        let patterns =
            patterns.iter().map(|(claim, pattern)| ((*claim).to_owned(), vec![(*pattern).to_owned()]));
        Rule::new(patterns.collect(), Scope::all())
    }

    #[test]
    fn all_patterns_have_to_fit() {
        let rule = rule(&[("repository", "acme/*"), ("ref", "refs/heads/main"), ("ref_protected", "true")]);
        let claims = |repository: &str, protected: Value| {
            let claims =
                json!({"repository": repository, "ref": "refs/heads/main", "ref_protected": protected});
            claims.as_object().unwrap().clone()
        };
        assert!(rule.fits(&claims("acme/web", json!("true"))) && rule.fits(&claims("acme/web", json!(true))));
        assert!(
            !rule.fits(&claims("evil/web", json!("true"))) && !rule.fits(&claims("acme/web", json!("false")))
        );
        assert!(!rule.fits(&claims("acme/web", json!(["true"]))) && !rule.fits(&Map::new()));
    }

    #[test]
    fn an_address_has_to_be_proved() {
        let rule = rule(&[("email", "push@acme.cn")]);
        let fits = |proved: Value| {
            rule.fits(json!({"email": "push@acme.cn", "email_verified": proved}).as_object().unwrap())
        };
        assert!(fits(json!(true)) && fits(json!("true")) && !fits(json!(false)) && !fits(json!("false")));
        assert!(rule.fits(json!({"email": "push@acme.cn"}).as_object().unwrap()));
    }

    #[test]
    fn a_rule_for_everybody_is_found() {
        let bound = |origin, claim: &str, pattern: &str| rule(&[(claim, pattern)]).is_bound(origin);
        for (claim, pattern) in [
            ("repository", "acme/web"),
            ("repository", "acme/*"),
            ("repository_owner", "acme"),
            ("repository_id", "123"),
            ("sub", "repo:acme/web:ref:refs/heads/*"),
            ("sub", "repo:acme/*"),
        ] {
            assert!(bound(Origin::Github, claim, pattern), "{claim} {pattern}");
        }
        for (claim, pattern) in [
            ("ref", "refs/heads/main"),
            ("repository", "*"),
            ("repository", "acme*"),
            ("repository", "*/web"),
            ("repository", "/*"),
            ("repository_owner", "acm?"),
            ("repository_id", "12*"),
            ("sub", "repo:*"),
            ("sub", "repo:acme*"),
            ("sub", "*"),
            ("sub", ""),
            ("project_path", "acme/web"),
        ] {
            assert!(!bound(Origin::Github, claim, pattern), "{claim} {pattern}");
        }
        assert!(bound(Origin::Gitlab, "project_path", "acme/*") && !bound(Origin::Gitlab, "ref", "main"));
        assert!(bound(Origin::Other, "email", "ci@acme.cn") && !bound(Origin::Other, "email", "*@acme.cn"));
        assert!(!rule(&[]).is_bound(Origin::Other));
        for (claim, exact) in [("ref", "main"), ("iss", "https://ci.example.com"), ("aud", "x"), ("job", "1")]
        {
            assert!(!bound(Origin::Other, claim, exact), "{claim} = {exact} is anybody's");
        }
        assert!(
            bound(Origin::Other, "sub", "team:acme") && bound(Origin::Other, "organization_slug", "acme")
        );
        assert!(bound(Origin::Google, "email", "push@p.iam.gserviceaccount.com"));
        assert!(
            !bound(Origin::Google, "email", "*@p.iam.gserviceaccount.com")
                && !bound(Origin::Google, "aud", "x")
        );
    }
}
