use axum::http::HeaderName;

use super::*;

const BODY: &[u8] = b"Hello, World!";
const SECRET: &str = "It's a Secret to Everybody";
const SHA256: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
const SHA1: &str = "01dc10d0c83e72ed246219cdd91669667fe2ca59";

fn check_at(
    now: i64,
    scheme: Scheme,
    secrets: &[&str],
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<(), Refusal> {
    let header = |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    let headers: HeaderMap = headers.iter().map(header).collect();
    let signing = Signing { scheme, secrets: secrets.iter().map(|secret| Secret::new(*secret)).collect() };
    let message = Message { headers: &headers, body, tag: None };
    let checked = signing.check(&message, Timestamp::from_second(now).unwrap());
    assert_eq!(signing.is_presented(&headers), checked != Err(Refusal::NotSigned));
    checked
}

fn check(scheme: Scheme, headers: &[(&str, &str)]) -> Result<(), Refusal> {
    check_at(0, scheme, &["another", SECRET], headers, BODY)
}

#[test]
fn published_vectors_are_verified_under_every_header() {
    let prefixed = format!("sha256={SHA256}");
    for (scheme, header, value) in [
        (Scheme::Github, "x-hub-signature-256", &*prefixed),
        (Scheme::Generic, "x-hub-signature-256", &prefixed),
        (Scheme::Generic, "x-signature", &prefixed),
        (Scheme::Generic, "x-signature", &format!("sha256={}, sha256={SHA256}", "0".repeat(64))),
        (Scheme::Gitea, "x-gitea-signature", SHA256),
        (Scheme::Gitea, "x-forgejo-signature", SHA256),
        (Scheme::Gitea, "x-hub-signature-256", &prefixed),
        (Scheme::Drone, "x-drone-signature", &prefixed),
        (Scheme::Jfrog, "x-jfrog-event-auth", SHA256),
        (Scheme::Jfrog, "x-jfrog-event-auth", SECRET),
        (Scheme::Nexus, "x-nexus-webhook-signature", SHA1),
        (Scheme::Gitlab, "x-gitlab-token", SECRET),
    ] {
        assert_eq!(check(scheme, &[(header, value)]), Ok(()), "{scheme:?} {header}");
        let wrong = value.replace('7', "8").replace("Secret", "secret").replace("dc", "cd");
        assert_eq!(check(scheme, &[(header, &wrong)]), Err(Refusal::WrongSignature), "{scheme:?} {header}");
        let other = check_at(0, scheme, &["another"], &[(header, value)], BODY);
        assert_eq!(other, Err(Refusal::WrongSignature), "{scheme:?} {header}");
    }
}

#[test]
fn an_empty_signature_is_none() {
    for (scheme, header) in [
        (Scheme::Github, "x-hub-signature-256"),
        (Scheme::Gitea, "x-gitea-signature"),
        (Scheme::Gitlab, "x-gitlab-token"),
        (Scheme::Nexus, "x-nexus-webhook-signature"),
        (Scheme::Generic, "webhook-signature"),
    ] {
        for value in ["", "sha256=", "sha1=", "v1,"] {
            assert_eq!(check(scheme, &[(header, value)]), Err(Refusal::NotSigned), "{scheme:?} {value}");
        }
        assert_eq!(check(scheme, &[]), Err(Refusal::NotSigned));
    }
    assert_eq!(check(Scheme::Github, &[("x-hub-signature-256", "sha256=zz")]), Err(Refusal::WrongSignature));
    assert_eq!(
        check(Scheme::Github, &[("x-hub-signature", &format!("sha1={SHA1}"))]),
        Err(Refusal::NotSigned)
    );
}

#[test]
fn standard_webhooks_hold_for_five_minutes() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let body = br#"{"test": 2432232314}"#;
    let headers = |at: &'static str| {
        let signature = "v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", at),
            ("webhook-signature", signature),
        ]
    };
    let good = headers("1614265330");
    for scheme in [Scheme::Generic, Scheme::Gitlab] {
        let at = |now| check_at(now, scheme, &["x", secret], &good, body);
        assert_eq!((at(1_614_265_330), at(1_614_265_630), at(1_614_265_030)), (Ok(()), Ok(()), Ok(())));
        assert_eq!((at(1_614_265_631), at(1_614_265_029)), (Err(Refusal::Stale), Err(Refusal::Stale)));
    }
    let at = |headers: &[(&str, &str)]| check_at(1_614_265_331, Scheme::Generic, &[secret], headers, body);
    assert_eq!(at(&headers("1614265331")), Err(Refusal::WrongSignature));
    assert_eq!(at(&good[1..]), Err(Refusal::WrongSignature));
}

#[test]
fn a_form_is_verified_as_each_forge_signs_it() {
    let form = b"payload=Hello%2C+World%21";
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("x-gitea-signature", SHA256)];
    assert_eq!(check_at(0, Scheme::Gitea, &[SECRET], &headers, form), Ok(()));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(form);
    let whole = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let github = |value: &str| {
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("x-hub-signature-256", value)];
        check_at(0, Scheme::Github, &[SECRET], &headers, form)
    };
    assert_eq!(github(&whole), Ok(()));
    assert_eq!(github(&format!("sha256={SHA256}")), Err(Refusal::WrongSignature));
}

#[test]
fn drones_signature_is_of_the_date_and_of_the_bodys_digest() {
    let date = "Fri, 21 Aug 2026 10:00:00 GMT";
    let now = DateTimeParser::new().parse_timestamp(date).unwrap().as_second();
    let digest = format!("SHA-256={}", STANDARD.encode(Sha256::digest(BODY)));
    let signature = |names: &str, signed: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        format!("keyId=\"hmac-key\",algorithm=\"hmac-sha256\",headers=\"{names}\",signature=\"{signature}\"")
    };
    let good = signature("date digest", &format!("date: {date}\ndigest: {digest}"));
    let check = |now: i64, signature: &str, body: &[u8]| {
        let headers = [("date", date), ("digest", &*digest), ("signature", signature)];
        check_at(now, Scheme::Drone, &["x", SECRET], &headers, body)
    };
    assert_eq!(check(now, &good, BODY), Ok(()));
    assert_eq!(check(now + 301, &good, BODY), Err(Refusal::Stale));
    assert_eq!(check(now, &good, b"another body"), Err(Refusal::WrongSignature));
    assert_eq!(check(now, &signature("date", &format!("date: {date}")), BODY), Err(Refusal::WrongSignature));
    assert_eq!(check(now, &good.replace("date digest", "digest date"), BODY), Err(Refusal::WrongSignature));
}
