//! Portainer behind TLS, vouched for by an authority of one's own, by itself, or by nobody.

use proto::State;
use worker::target::{
    Target, TargetError,
    portainer::{Portainer, PortainerSettings},
};

use crate::{
    fake_portainer::{API_KEY, PASSWORD, USERNAME},
    front::Front,
    lab::{FILE, Lab, set},
    stage::{Stage, carried_out, code, text},
};

/// A worker's configuration that finds the lab's Portainer behind its front, and trusts as `more` says.
fn configuration(lab: &Lab, front: &Front, more: &str) -> String {
    let access =
        format!("api_key: {API_KEY}, environment: production{}", more.replace("DIR", &front.path("")));
    lab.configured(&access, "").replace(&lab.portainer.url(), &front.url)
}

async fn look(front: &Front, ca: Option<&str>) -> Result<(), TargetError> {
    let settings = serde_json::json!({
        "url": front.url, "api_key": API_KEY, "environment": "production", "ca": ca.map(|name| front.pem(name)),
    });
    let settings: PortainerSettings = serde_json::from_value(settings).unwrap();
    Portainer::new("docks", &settings)?.stack("shop").look().await.map(drop)
}

#[tokio::test]
async fn a_deploy_goes_through_tls_that_is_vouched_for_or_explicitly_not_looked_at() {
    for (shown, more) in [
        ("server", ", ca_file: DIRca.pem"),
        ("itself", ", ca_file: DIRitself.pem"),
        ("first-start", ", ca_file: DIRfirst-start.pem"),
        ("server", ", insecure_tls: true"),
    ] {
        let lab = Lab::swarm(FILE);
        let front = Front::before(&lab.portainer.url(), shown).await;
        let stage = Stage::new(&configuration(&lab, &front, more)).await;
        let end = carried_out(&stage, &set("acme/web:2")).await;
        assert_eq!(end.state(), State::Succeeded, "{shown} {more}: {end:?}");
        assert!(lab.image("web").starts_with("acme/web:2"));
    }
}

/// Portainer itself speaks HTTP/1.1 alone, and what stands before it may offer more.
#[tokio::test]
async fn one_that_offers_http2_is_spoken_to_in_the_older_way() {
    let lab = Lab::swarm(FILE);
    let front = Front::before(&lab.portainer.url(), "server").await;
    let stage = Stage::new(&configuration(&lab, &front, ", ca_file: DIRca.pem")).await;
    let end = carried_out(&stage, &set("acme/web:2")).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    let (all, newer) = front.connections();
    assert!(all > 0 && newer == 0, "{newer} of {all} speak HTTP/2");
    // It was really to be had.
    front.connect_with_http2().await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_gets_no_access_token() {
    let lab = Lab::swarm(FILE);
    for (shown, ca) in [
        ("server", None),
        ("server", Some("other-ca.pem")),
        ("server", Some("itself.pem")),
        ("itself", None),
        ("itself", Some("ca.pem")),
        ("first-start", None),
    ] {
        let front = Front::before(&lab.portainer.url(), shown).await;
        let error = look(&front, ca).await.err();
        assert!(matches!(error, Some(TargetError::Untrusted { .. })), "{shown} {ca:?}: {error:?}");
    }
    assert!(lab.portainer.requests().is_empty(), "{:?}", lab.portainer.requests());
}

/// It is shown again the next time: there is nothing to wait for.
#[tokio::test]
async fn a_deploy_ends_at_once_where_the_certificate_is_not_trusted() {
    for access in [format!("api_key: {API_KEY}"), format!("username: {USERNAME}, password: '{PASSWORD}'")] {
        let lab = Lab::swarm(FILE);
        let front = Front::before(&lab.portainer.url(), "first-start").await;
        let configuration = lab.configured(&format!("{access}, environment: production"), "");
        let stage = Stage::new(&configuration.replace(&lab.portainer.url(), &front.url)).await;
        let end = carried_out(&stage, &set("acme/web:2")).await;
        assert_eq!(
            (end.state(), code(&end), end.data.attempt),
            (State::Dead, "certificate-untrusted", 1),
            "{end:?}"
        );
        assert!(text(&end).contains("the certificate of docks is not trusted"), "{}", text(&end));
    }
}
