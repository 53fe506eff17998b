use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;

use super::{keys::Keys, rules::Origin, *};
use crate::access::scope::Scope;

const ISSUER: &str = "http://127.0.0.1:1";
const AUDIENCE: &str = "https://deploy.acme.cn";

/// Made with openssl and a key that was thrown away: for 1000 to 2000 seconds after 1970.
const TOKEN: &str = "eyJhbGciOiAiUlMyNTYiLCAia2lkIjogIm9uZSIsICJ0eXAiOiAiSldUIn0.eyJpc3MiOiAiaHR0cDovLzEyNy4wLjAuMTox\
    IiwgImF1ZCI6ICJodHRwczovL2RlcGxveS5hY21lLmNuIiwgImV4cCI6IDIwMDAsICJuYmYiOiAxMDAwLCAiaWF0IjogMTAw\
    MCwgInN1YiI6ICJyZXBvOmFjbWUvd2ViOnJlZjpyZWZzL2hlYWRzL21haW4iLCAicmVwb3NpdG9yeSI6ICJhY21lL3dlYiIs\
    ICJyZWYiOiAicmVmcy9oZWFkcy9tYWluIn0.m4H9vaEuqJHrdcErdF3Gr9ltciT-BhHbsefeArfN6pFs-qCfMyfGYCZnnyF5\
    m28cs4VwxB3gW8VjqP1tjfjYZNhSvlWRbhZPXdkE0nzug059y49V44cQre1cm-BcUFc34hEuReyJ8Qf-k4w_vmeZh2YV4b49\
    oVTMtT4NRTiAVHDV4u9KlXZmuFmRqsLFUJFtgOgKrRglvOsAIR-KXH6H9MfsHzhDd70mwAIuKqqD6TPGkhCXBSwooNvWfBd5\
    lhofUnx1SKh-vOnCoOh-FvaXxqZosOSKRNMHzp7ikf3LVmdWVFgzW4T4SLi-ftL9UPEXtNZnh2XpQw8S14_HcvUc7g";
const MODULUS: &str = "m5A41LhxGsVWm3eNEpguAVuORxeeNje5Js_wLI2xChsTLpVMq_mUJQFGiGCNVCkqNx57IN3GfGnqgzcBaz_EjyJRCij1q8NK\
    PDS4ItjAlsx32YSYAOSQA9eROIg1ZdrN9IothIqk8HK6egztD38OlYRSRl9E5CwWwhf1Qp7BH8KU8H7EusTgHzfFM1tV1j_7\
    0_K2AQj1_fIDmyPg6IAb8rsnxH7mxJJCltehLoVsOXiRgE4T6L0oNfLt-dUVe00k3Z8bCwV55w2ZDG8Mo5edyYy5xaEr7Kno\
    0bw6ELqyQiciQIoiwImYyD1QdWTBjsl-Yqd9k8uybnH5APZVntQDiw";

fn key() -> Value {
    json!({"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig", "n": MODULUS, "e": "AQAB"})
}

/// An issuer that cannot be reached and had these keys.
fn issuer(keys: &[Value], repository: &str) -> Issuer {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, json!({"keys": keys}).to_string()).unwrap();
    let keys = Keys::new(ISSUER, None, Some(file)).unwrap();
    let patterns = BTreeMap::from([("repository".to_owned(), vec![repository.to_owned()])]);
    let settings = IssuerSettings {
        name: "github".to_owned(),
        url: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        ca: None,
        rules: vec![Rule::new(patterns, Scope::all())],
        named_by: Origin::Github.named_by(),
    };
    Issuer::new(settings, keys)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

#[tokio::test]
async fn an_identity_that_the_issuer_signed_lets_in_while_it_lasts() {
    let issuer = issuer(&[json!({"kty": "of-a-kind-to-come"}), key()], "acme/*");
    let caller = issuer.admit(TOKEN, at(1_500)).await.unwrap();
    assert_eq!(caller.name, "github:acme/web");
    assert!(caller.may("set-image", &"web".parse().unwrap()));
    assert_eq!(issuer.admit(TOKEN, at(2_059)).await.map(|who| who.name).unwrap(), "github:acme/web");
    assert_eq!(issuer.admit(TOKEN, at(2_060)).await, Err(Distrust::Expired("github:acme/web".to_owned())));
    assert!(matches!(issuer.admit(TOKEN, at(900)).await, Err(Distrust::Untrusted(_))));
}

#[tokio::test]
async fn a_true_identity_without_a_rule_is_told_what_it_has() {
    let refused = issuer(&[key()], "other/web").admit(TOKEN, at(1_500)).await.unwrap_err();
    let claims = "repository = `acme/web`".to_owned();
    assert_eq!(refused, Distrust::NoRule { name: "github:acme/web".to_owned(), claims });
}

#[tokio::test]
async fn what_the_issuer_did_not_sign_is_refused() {
    let issuer = issuer(&[key()], "acme/*");
    let parts: Vec<&str> = TOKEN.split('.').collect();
    let encode = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let mut claims: Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    claims["repository"] = json!("acme/other");
    let other_claims = format!("{}.{}.{}", parts[0], encode(claims), parts[2]);
    let with_head = |head: Value| format!("{}.{}.{}", encode(head), parts[1], parts[2]);
    // The public key as the secret of a signature that is made with one.
    let head = encode(json!({"alg": "HS256", "kid": "one"}));
    let secret = jsonwebtoken::EncodingKey::from_secret(MODULUS.as_bytes());
    let body = format!("{head}.{}", parts[1]);
    let mark = jsonwebtoken::crypto::sign(body.as_bytes(), &secret, Algorithm::HS256).unwrap();
    let by_secret = format!("{body}.{mark}");
    let forged = [
        other_claims,
        by_secret,
        with_head(json!({"alg": "none"})),
        with_head(json!({"alg": "RS512", "kid": "one"})),
        with_head(json!({"alg": "ES256", "kid": "one"})),
        with_head(json!({"alg": "RS256", "kid": "two"})),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.AAAA", parts[0], parts[1]),
    ];
    let critical =
        issuer.admit(&with_head(json!({"alg": "RS256", "kid": "one", "crit": ["b64"]})), at(1_500)).await;
    assert!(matches!(&critical, Err(Distrust::Untrusted(why)) if why.contains("crit")), "{critical:?}");
    for token in forged {
        let refused = issuer.admit(&token, at(1_500)).await;
        assert!(matches!(refused, Err(Distrust::Untrusted(_))), "{token}: {refused:?}");
    }
}

#[tokio::test]
async fn a_key_for_something_else_is_none_and_without_keys_the_issuer_is_away() {
    for (field, value) in [("use", "enc"), ("alg", "RS512"), ("kid", "two")] {
        let mut other = key();
        other[field] = json!(value);
        let refused = issuer(&[other], "acme/*").admit(TOKEN, at(1_500)).await;
        assert!(
            matches!(refused, Err(Distrust::Untrusted(_)) | Err(Distrust::Away(_))),
            "{field}: {refused:?}"
        );
    }
    let never_asked = Issuer::new(issuer(&[], "acme/*").settings, Keys::new(ISSUER, None, None).unwrap());
    assert_eq!(never_asked.admit(TOKEN, at(1_500)).await, Err(Distrust::Away("github".to_owned())));
}

#[test]
fn claims_of_a_wrong_form_are_refused() {
    let issuer = issuer(&[], "acme/*");
    let good = json!({"iss": ISSUER, "aud": [AUDIENCE, "other"], "exp": 2000.5, "nbf": 1000});
    let check = |field: &str, value: Value| {
        let mut claims = good.as_object().unwrap().clone();
        claims.insert(field.to_owned(), value);
        issuer.check(&claims, at(1_500))
    };
    assert_eq!(check("iat", json!(1_000)), Ok(()));
    for (field, value) in [
        ("iss", json!("https://evil.example")),
        ("iss", json!(null)),
        ("aud", json!("other")),
        ("aud", json!([])),
        ("aud", json!({})),
        ("exp", json!("2000")),
        ("exp", json!(null)),
        ("nbf", json!("1000")),
        ("nbf", json!(1_561)),
        ("iat", json!(9_999)),
    ] {
        assert!(matches!(check(field, value.clone()), Err(Distrust::Untrusted(_))), "{field} {value}");
    }
}
