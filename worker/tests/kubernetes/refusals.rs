//! Bad input and bad answers: each its own clear end, and nothing written.

use std::sync::Arc;

use proto::{Event, ImageRef, State};
use serde_json::json;

use crate::{
    fake_http::{Answer, FakeServer, Request, Service},
    fake_kubernetes::TOKEN,
    lab::Lab,
    stage::{Stage, carried_out, code, job, text},
};

async fn refused(lab: &Lab, configuration: &str) -> Event {
    let stage = Stage::new(configuration).await;
    let end = carried_out(&stage, &lab.set("2")).await;
    assert!(end.state().is_end() && end.state() != State::Succeeded, "{end:?}");
    let carried_out: Vec<_> = lab.cluster().writes().into_iter().filter(|write| write.status < 300).collect();
    assert_eq!(carried_out, []);
    end
}

#[tokio::test]
async fn names_that_lead_nowhere_are_told() {
    let lab = Lab::deployment();
    for (workload, why) in [
        ("workload: shopp/deployment/web", "docks has no deployment `web` in the namespace `shopp`"),
        ("workload: shop/statefulset/web", "docks has no stateful set `web` in the namespace `shop`"),
        ("namespace: shop, kind: deployment, name: wep", "docks has no deployment `wep`"),
        (
            "workload: shop/deployment/web, container: wep",
            "docks has no container `wep` in the deployment `web` in the namespace `shop`, which has `web` (",
        ),
    ] {
        let end = refused(&lab, &lab.configured(workload, TOKEN, "")).await;
        assert_eq!((end.state(), code(&end)), (State::Failed, "not-found"), "{end:?}");
        assert!(text(&end).contains(why), "{}", text(&end));
    }
}

#[tokio::test]
async fn one_of_several_containers_has_to_be_named() {
    let lab = Lab::deployment();
    lab.change(|object| {
        let side =
            json!({"name": "side", "image": object["spec"]["template"]["spec"]["containers"][0]["image"]});
        object["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(side);
    });
    let end = refused(&lab, &lab.configuration("")).await;
    assert_eq!(end.state(), State::Rejected, "{end:?}");
    assert!(text(&end).contains("has several containers; name one as `container`"), "{}", text(&end));
    assert!(text(&end).contains("`web` (") && text(&end).contains("`side` ("), "{}", text(&end));
}

/// An API server takes any text for an image.
#[test]
fn an_image_with_a_variable_in_it_never_reaches_the_cluster() {
    for text in ["acme/web:$TAG", "acme/web:${TAG}", "acme/web: 2", ""] {
        assert!(text.parse::<ImageRef>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn credentials_that_are_refused_are_not_tried_again() {
    let lab = Lab::deployment();
    let end = refused(&lab, &lab.configured("workload: shop/deployment/web", "wrong", "")).await;
    assert_eq!((end.state(), code(&end)), (State::Dead, "credentials-refused"), "{end:?}");
    assert_eq!(lab.kubernetes.server().requests().len(), 1);
    lab.cluster().deny("patch", "deployments");
    let end = refused(&lab, &lab.configuration("")).await;
    assert_eq!((end.state(), code(&end)), (State::Dead, "credentials-refused"), "{end:?}");
    assert!(text(&end).contains("cannot patch resource \"deployments\""), "{}", text(&end));
}

#[tokio::test]
async fn what_could_not_be_watched_is_not_written() {
    let lab = Lab::deployment();
    lab.change(|object| object["spec"]["paused"] = json!(true));
    let end = refused(&lab, &lab.configuration("")).await;
    assert_eq!(end.state(), State::Rejected, "{end:?}");
    assert!(text(&end).contains("are paused, and what is written would wait"), "{}", text(&end));
    for plural in ["statefulsets", "daemonsets"] {
        let lab = Lab::of(plural);
        lab.change(|object| object["spec"]["updateStrategy"] = json!({"type": "OnDelete"}));
        let end = refused(&lab, &lab.configuration("")).await;
        assert_eq!((end.state(), code(&end)), (State::Rejected, "refused"), "{end:?}");
        assert!(text(&end).contains("(updateStrategy OnDelete)"), "{}", text(&end));
    }
}

#[tokio::test]
async fn an_image_that_the_cluster_rewrites_is_not_called_refused() {
    // The same content by another name: it is what was wished, and the event says what it is called there.
    let lab = Lab::deployment();
    lab.cluster().rewrite_images("127.0.0.1", "mirror.lan");
    let stage = lab.stage("").await;
    for _ in 0..2 {
        let end = carried_out(&stage, &lab.set("2")).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert!(text(&end).contains("something in the cluster put `mirror.lan"), "{}", text(&end));
        // What one goes back to is what ran before, whatever the image is called.
        assert_eq!(lab.annotation("longshore.good/web"), Some(lab.image("1")));
    }
    // Another image: it was written, and what came of it rolls out. That is neither a success nor a refusal.
    let lab = Lab::deployment();
    let digest = lab.digest("2");
    lab.cluster().rewrite_images(&format!("{}@{digest}", lab.image("2")), "mirror.lan/acme/web:stable");
    let stage = lab.stage(", rollback: true").await;
    let job = lab.set("2");
    let end = carried_out(&stage, &job).await;
    assert_eq!((end.state(), code(&end)), (State::Failed, "image-rewritten"), "{end:?}");
    let told = text(&end);
    assert!(told.contains("was written, and something in docks put `mirror.lan/acme/web:stable`"), "{told}");
    assert!(told.contains("was not watched"), "{told}");
    assert_eq!(lab.stands(), "mirror.lan/acme/web:stable");
    assert_eq!(lab.annotation("longshore.job/web"), Some(job.id.to_string()));
}

/// Something stands before the API server that answers everything with a page.
struct Page(&'static str);

impl Service for Page {
    fn answer(&self, _: &Request) -> Answer {
        Answer::text(200, self.0)
    }
}

#[tokio::test]
async fn a_page_instead_of_json_is_told_as_what_it_is() {
    let server = FakeServer::start(Arc::new(Page("<!doctype html><title>log in</title>"))).unwrap();
    let configuration = format!(
        "systems:\n  docks: {{kind: kubernetes, url: '{}', token: t}}\n\
         targets:\n  demo: {{at: docks, workload: shop/deployment/web}}\n",
        server.url()
    );
    let stage = Stage::new(&configuration).await;
    let image = format!("acme/web@sha256:{}", "1".repeat(64));
    let end = carried_out(&stage, &job("demo", &image)).await;
    assert_eq!((end.state(), code(&end)), (State::Failed, "refused"), "{end:?}");
    assert!(text(&end).contains("a web page came back instead of an answer"), "{}", text(&end));
}
