//! The real services do what the other tests build on.

use std::time::Duration;

use anyhow::{Result, ensure};
use axum::Router;
use axum::routing::get;
use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use serde_json::json;
use tests::broker::Broker;
use tests::engine::Engine;
use tests::environment::unique;
use tests::http;
use tests::process::Process;
use tests::receiver::Receiver;
use tests::registry::{Notifications, Registry};
use tests::sse::EventStream;
use tests::wait::eventually;
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(20);
const ROLLOUT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_push_makes_the_registry_post_a_notification() {
    let mut receiver = Receiver::start().await.unwrap();
    let notifications = Notifications {
        url: format!("{}/hooks/registry", receiver.url()),
        headers: vec![("Authorization".to_owned(), "Bearer of-good-news".to_owned())],
    };
    let registry = Registry::start_with(vec![notifications]).await.unwrap();
    let repository = unique("shop/web");
    let image = Engine::of_the_run().unwrap().push_app(&registry, &repository, "2").await.unwrap();

    let target = loop {
        let post = receiver.next(SOON).await.unwrap();
        assert_eq!(post.path, "/hooks/registry");
        assert_eq!(post.headers["authorization"], "Bearer of-good-news");
        // Blobs and the heads of what is already there are told as well.
        let events = post.body["events"].as_array().expect("a list of events").clone();
        let tagged = events.iter().find(|event| event["action"] == "push" && event["target"]["tag"] == "2");
        if let Some(event) = tagged {
            break event["target"].clone();
        }
    };
    assert_eq!(target["repository"], json!(repository));
    assert_eq!(target["digest"], json!(image.digest));
}

#[tokio::test]
async fn a_service_runs_what_was_pushed_and_rolls_to_another() {
    let engine = Engine::of_the_run().unwrap();
    let registry = Registry::start().await.unwrap();
    let repository = unique("app");
    let one = engine.push_app(&registry, &repository, "1").await.unwrap();
    let two = engine.push_app(&registry, &repository, "2").await.unwrap();
    assert_ne!(one.digest, two.digest);

    let options = ["--replicas", "2", "--update-monitor", "500ms"];
    let service = engine.create_service(&unique("web"), &one.reference, &options).await.unwrap();
    assert_eq!(service.image().await.unwrap(), one.pinned());
    engine.docker(&["service", "update", "--quiet", "--image", &two.reference, &service.name]).await.unwrap();
    assert_eq!(service.image().await.unwrap(), two.pinned());
    let running = eventually(ROLLOUT, "two tasks of the second image", || async {
        let running = service.running_images().await?;
        ensure!(running.len() == 2, "{running:?}");
        Ok(running)
    });
    assert!(running.await.unwrap().iter().all(|image| image.starts_with(&two.reference)));
}

#[tokio::test]
async fn an_image_carries_its_tag() {
    let engine = Engine::of_the_run().unwrap();
    let registry = Registry::start().await.unwrap();
    let image = engine.push_app(&registry, &unique("app"), "1.4.0-rc.1").await.unwrap();
    let said = engine.docker(&["run", "--rm", &image.pinned(), "cat", "/www/version"]).await.unwrap();
    assert_eq!(said, "1.4.0-rc.1");
}

#[tokio::test]
async fn a_subscriber_gets_what_matches_its_key_in_its_virtual_host() {
    let (broker, other) = tokio::try_join!(Broker::own_virtual_host(), Broker::own_virtual_host()).unwrap();
    let (declared, subscriber) = tokio::join!(declare(&broker), broker.subscribe("events", "succeeded.#"));
    declared.unwrap();
    let mut subscriber = subscriber.unwrap();
    declare(&other).await.unwrap();
    let mut stranger = other.subscribe("events", "#").await.unwrap();

    let refused = broker.publish("events", "failed.default.web", b"{}").await.unwrap_err();
    assert!(refused.to_string().contains("was not taken"), "{refused}");
    broker.publish("events", "succeeded.default.web", br#"{"n":1}"#).await.unwrap();
    let message = subscriber.next(SOON).await.unwrap();
    assert_eq!((message.routing_key.as_str(), message.body), ("succeeded.default.web", json!({"n": 1})));

    other.publish("events", "mine", b"plain").await.unwrap();
    assert_eq!(stranger.next(SOON).await.unwrap().body, json!("plain"));
}

#[tokio::test]
async fn an_event_stream_is_read_by_event() {
    let sent = "id: 1\nevent: started\ndata: {}\n\n: still here\n\nid: 2\ndata: end\n\n";
    let router =
        Router::new().route("/", get(move || async move { ([("content-type", "text/event-stream")], sent) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let client = http::client().unwrap();
    let mut stream = EventStream::open(client.get(&url)).await.unwrap();
    let first = stream.next(SOON).await.unwrap().expect("a first event");
    assert_eq!((first.id.as_str(), first.event.as_str(), first.data.as_str()), ("1", "started", "{}"));
    assert_eq!(stream.next(SOON).await.unwrap().expect("a second event").data, "end");
    assert_eq!(stream.next(SOON).await.unwrap(), None);
}

/// No silent skip: the very test above, run without the services, fails and says how to run it.
#[tokio::test]
async fn without_the_services_a_test_fails_and_says_how_to_run_it() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "services::a_push_makes_the_registry_post_a_notification"]).env_clear();
    let mut process = Process::start(command).unwrap();
    process
        .wait_for_line("is not set: this test needs real services, run tests through tests/run", SOON)
        .await
        .unwrap();
    assert!(!process.wait(SOON).await.unwrap().success());
}

async fn declare(broker: &Broker) -> Result<()> {
    let channel = broker.connect().await?.create_channel().await?;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare("events".into(), ExchangeKind::Topic, options, FieldTable::default()).await?;
    Ok(())
}
