//! Whom a worker trusts: an authority that it was given, or one that Rancher shows and whose digest it knows.

use std::process::Command;

use proto::State;

use crate::{
    fake_http::Mishap,
    fake_rancher::KEY,
    front::Front,
    lab::{Lab, configured, set},
    stage::{Stage, carried_out, code, text},
};

/// TLS before the lab's Rancher, which shows the authority of that.
async fn front_of(lab: &Lab) -> Front {
    let front = Front::before(&lab.rancher.url(), "server").await;
    lab.rancher.show_authorities(&front.pem("ca.pem"));
    front
}

/// As people make it: the setting's text through `sha256sum`.
fn digest(front: &Front, name: &str) -> String {
    let told = Command::new("sha256sum").arg(front.path(name)).output().unwrap();
    String::from_utf8(told.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

fn configuration(front: &Front, lab: &Lab, trust: &str) -> String {
    configured(&front.url, &format!("token: '{KEY}'{trust}"), &lab.short())
}

#[tokio::test]
async fn an_authority_is_given_or_known_by_its_digest_or_nobody_is_asked_for_one() {
    let lab = Lab::new();
    let front = front_of(&lab).await;
    let fingerprint = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in", &front.path("ca.pem")])
        .output()
        .unwrap();
    let fingerprint = String::from_utf8(fingerprint.stdout).unwrap();
    for (n, trust) in [
        format!(", ca_file: '{}'", front.path("ca.pem")),
        format!(", ca_sha256: '{}'", digest(&front, "ca.pem")),
        format!(", ca_sha256: '{}'", fingerprint.trim()),
        ", insecure_tls: true".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let stage = Stage::new(&configuration(&front, &lab, &trust)).await;
        let tag = format!("trusted-{n}");
        let end = carried_out(&stage, &set(&tag)).await;
        assert_eq!(end.state(), State::Succeeded, "{trust}: {end:?}");
        assert!(lab.image().ends_with(&tag));
    }
}

#[tokio::test]
async fn authorities_that_do_not_come_are_asked_for_again() {
    let lab = Lab::new();
    let front = front_of(&lab).await;
    for (n, mishap) in [Mishap::CutBefore, Mishap::Instead(502, "")].into_iter().enumerate() {
        lab.rancher.server().befall_next("GET /v3/settings/cacerts", mishap);
        let trust = format!(", ca_sha256: '{}'", digest(&front, "ca.pem"));
        let stage = Stage::new(&configuration(&front, &lab, &trust)).await;
        let end = carried_out(&stage, &set(&format!("again-{n}"))).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
    }
}

/// As people make them for an address of an office: such a one vouches for itself, and is marked as an authority.
#[tokio::test]
async fn the_very_certificate_is_given_or_known_by_its_digest() {
    let lab = Lab::new();
    let front = Front::before(&lab.rancher.url(), "itself").await;
    lab.rancher.show_authorities(&front.pem("itself.pem"));
    for (n, trust) in [
        format!(", ca_file: '{}'", front.path("itself.pem")),
        format!(", ca_sha256: '{}'", digest(&front, "itself.pem")),
    ]
    .into_iter()
    .enumerate()
    {
        let stage = Stage::new(&configuration(&front, &lab, &trust)).await;
        let end = carried_out(&stage, &set(&format!("itself-{n}"))).await;
        assert_eq!(end.state(), State::Succeeded, "{trust}: {end:?}");
    }
}

/// What stands before Rancher lets nobody through: that says nothing of its authorities.
#[tokio::test]
async fn a_page_for_people_in_their_place_is_told_as_one() {
    let lab = Lab::new();
    let front = front_of(&lab).await;
    for _ in 0..20 {
        let page = Mishap::Instead(200, "<html>log in</html>");
        lab.rancher.server().befall_next("GET /v3/settings/cacerts", page);
    }
    let trust = format!(", ca_sha256: '{}'", digest(&front, "ca.pem"));
    let stage = Stage::new(&configuration(&front, &lab, &trust)).await;
    let end = carried_out(&stage, &set("2")).await;
    assert!(text(&end).contains("a web page came back instead of an answer"), "{end:?}");
}

#[tokio::test]
async fn whoever_is_not_trusted_is_not_told_the_key() {
    let lab = Lab::new();
    let front = front_of(&lab).await;
    for (trust, why) in [
        (String::new(), "is not trusted: "),
        (format!(", ca_file: '{}'", front.path("other-ca.pem")), "is not trusted: "),
        (
            format!(", ca_sha256: '{}'", digest(&front, "other-ca.pem")),
            "which is not the one in `ca_sha256`: either it has new ones, or something else answers in its place",
        ),
    ] {
        let stage = Stage::new(&configuration(&front, &lab, &trust)).await;
        let end = carried_out(&stage, &set("2")).await;
        assert_eq!((end.state(), code(&end)), (State::Dead, "certificate-untrusted"), "{trust}: {end:?}");
        assert!(text(&end).contains(why), "{trust}: {}", text(&end));
        let hint = end.data.reason.and_then(|reason| reason.hint).unwrap_or_default();
        assert!(hint.contains("`ca_file`") && hint.contains("`ca_sha256`"), "{hint}");
    }
    // What is asked before anybody is trusted is the authorities alone, without a key.
    let asked = lab.rancher.server().requests();
    assert!(asked.iter().all(|line| line == "GET /v3/settings/cacerts"), "{asked:?}");
    lab.rancher.show_authorities("");
    let trust = format!(", ca_sha256: '{}'", digest(&front, "ca.pem"));
    let stage = Stage::new(&configuration(&front, &lab, &trust)).await;
    let job = set("2");
    stage.accept(&job).await;
    let retrying = stage.until_said(&job, State::Retrying).await;
    assert!(text(&retrying).contains("it shows no authorities of its own"), "{}", text(&retrying));
}
