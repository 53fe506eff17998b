//! From a message of a limited user to a job that ran, and to a letter that says what was wrong with it.

use std::time::Duration;

use anyhow::ensure;
use lapin::options::{BasicConsumeOptions, BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use tests::broker::Message;
use tests::process::{Process, longshore};
use tests::wait::eventually;

use super::stage::{SOON, Stage, properties, publish};

const SECTIONS: &str = "\
systems: {s: {kind: rehearsal}}
targets:
  web: {at: s, follow: \"acme/web:*\"}
  api: {at: s, follow: \"acme/api:*\"}
";

#[tokio::test]
async fn a_deploy_of_a_limited_user_runs_and_what_is_wrong_is_told() {
    let mut stage = Stage::new(SECTIONS).await.unwrap();
    let file = stage.fleet.folder().join("longshore.yaml").display().to_string();

    // Published before any worker has served the pool: it waits, and its sender is known to the next ingress too.
    let mut command = longshore("longshore-ingress").unwrap();
    command.args(["--config", &file]).current_dir(stage.fleet.folder());
    let mut first = Process::start(command).unwrap();
    first.wait_for_line("connected to the broker", SOON).await.unwrap();
    let deploy = json!({"target": "web", "image": "acme/web:2"}).to_string();
    eventually(SOON, "the intake to be there", || stage.publish("build-1", &deploy)).await.unwrap();
    first.wait_for_line("a message waits", SOON).await.unwrap();
    first.kill().await.unwrap();
    let declared = stage.typed(&["broker", "setup", "--config", &file]).await.unwrap();
    assert!(declared.contains("longshore.intake") && declared.contains("the pool default"), "{declared}");

    let listener = stage.as_user(&stage.page).unwrap();
    let mut events = listener.subscribe("longshore.events", "#").await.unwrap();
    stage.fleet.start().await.unwrap();
    let of_web =
        |state: &'static str| move |message: &Message| message.routing_key == format!("{state}.default.web");
    let seen = events.until(SOON, of_web("succeeded")).await.unwrap();
    let accepted = seen.iter().find(|message| of_web("accepted")(message)).unwrap();
    let cause = &accepted.body["data"]["job"]["cause"];
    assert_eq!(*cause, json!({"kind": "amqp", "by": stage.ci, "delivery": "build-1"}), "{accepted:?}");

    // Sent again it is the same job; what follows it proves that it was looked at.
    stage.publish("build-1", &deploy).await.unwrap();
    stage.publish("build-2", &json!([{"target": "web", "image": "acme/web:3"}]).to_string()).await.unwrap();
    let seen = events.until(SOON, of_web("succeeded")).await.unwrap();
    let accepted: Vec<_> = seen.iter().filter(|message| of_web("accepted")(message)).collect();
    assert_eq!(accepted.len(), 1, "{seen:?}");
    assert_eq!(accepted[0].body["data"]["job"]["cause"]["delivery"], "build-2");

    what_is_wrong_is_told(&stage).await;
    nobody_else_lays_a_job_aside(&mut stage, accepted[0].body["data"]["job"].clone()).await;
    stage.fleet.kill().await.unwrap();
}

/// The broker lays aside what expires while no ingress runs, with whatever its sender wrote beside it.
async fn nobody_else_lays_a_job_aside(stage: &mut Stage, mut job: Value) {
    stage.fleet.kill().await.unwrap();
    // A job that nobody knows: one digit further than a known one.
    let known = job["id"].as_str().unwrap();
    let id = format!("{}{}", &known[..35], if known.ends_with('0') { '1' } else { '0' });
    job["id"] = json!(id);
    let mut headers = FieldTable::default();
    for (name, text) in [
        ("longshore-reason", "unreachable"),
        ("longshore-pool", "default"),
        ("x-first-death-queue", "longshore.jobs.default"),
        ("x-first-death-reason", "delivery_limit"),
    ] {
        headers.insert(name.into(), AMQPValue::LongString(text.into()));
    }
    let forged = properties(&stage.ci).with_expiration("1".into()).with_headers(headers);
    let channel = stage.channel(&stage.ci).await.unwrap();
    publish(&channel, "longshore.intake", "default.web", &job.to_string(), forged).await.unwrap();
    stage.fleet.start().await.unwrap();
    let told = eventually(SOON, "another dead letter", || async {
        let told = stage.typed(&["jobs", "--state", "dead"]).await?;
        ensure!(told.matches("letter-").count() == 3, "{told}");
        Ok(told)
    });
    let told = told.await.unwrap();
    assert!(!told.contains(&id), "{told}");
    let letter = told.split_whitespace().find(|word| word.starts_with("letter-")).unwrap();
    let replayed = stage.typed(&["job", "replay", letter]).await.unwrap_err().to_string();
    assert!(replayed.contains("no job"), "{replayed}");
    let shown = stage.typed(&["job", "show", &id]).await.unwrap_err().to_string();
    assert!(shown.contains("no job `"), "{shown}");
}

/// Each lies among the dead letters with its reason, and does not come again.
async fn what_is_wrong_is_told(stage: &Stage) {
    stage.publish("bad-1", "{\"target\":\"web\",\"image\":\"acme/web\"}").await.unwrap();
    stage.publish("bad-2", &json!({"target": "api", "image": "acme/api:1"}).to_string()).await.unwrap();
    stage.publish("bad-3", "no JSON").await.unwrap();
    let told = eventually(SOON, "three dead letters", || async {
        let told = stage.typed(&["jobs", "--state", "dead"]).await?;
        ensure!(told.matches("letter-").count() == 3, "{told}");
        Ok(told)
    })
    .await
    .unwrap();
    let by = format!("sent by `{}`", stage.ci);
    for why in ["names no tag", "may not `set-image` on `default/api`", "not JSON, see line 1", &by] {
        assert!(told.contains(why), "{why}: {told}");
    }
    let letter = told.split_whitespace().find(|word| word.starts_with("letter-")).unwrap();
    let shown = stage.typed(&["job", "show", letter]).await.unwrap();
    assert!(shown.contains("body      no JSON"), "{shown}");
    stage.typed(&["job", "discard", letter]).await.unwrap();
    let broker = stage.fleet.broker.as_ref().unwrap();
    assert_eq!(broker.messages_in("longshore.intake").await.unwrap(), 0);
    assert_eq!(stage.typed(&["jobs", "--state", "dead"]).await.unwrap().matches("letter-").count(), 2);
}

#[tokio::test]
async fn a_limited_user_can_publish_to_the_intake_and_nothing_else() {
    let mut stage = Stage::new(SECTIONS).await.unwrap();
    stage.fleet.start().await.unwrap();
    let ci = stage.ci.clone();
    let image = json!({"image": "acme/web:2"}).to_string();
    publish(&stage.channel(&ci).await.unwrap(), "longshore.intake", "", &image, properties(&ci))
        .await
        .unwrap();

    let channel = stage.channel(&ci).await.unwrap();
    let forged = publish(&channel, "longshore.intake", "deploy", &image, properties(&stage.diun)).await;
    refused("another's name", forged, "PRECONDITION_FAILED");
    for (exchange, key) in [
        ("longshore.jobs", "default.web"),
        ("longshore.events", "succeeded.default.web"),
        ("longshore.dead", "default.web"),
        ("", "longshore.jobs.default"),
        ("", "longshore.history"),
        ("longshore.intake.retry.5s", ""),
        ("amq.topic", "x"),
    ] {
        let channel = stage.channel(&ci).await.unwrap();
        let published = publish(&channel, exchange, key, &image, properties(&ci)).await;
        refused(&format!("publishing to `{exchange}`"), published, "ACCESS_REFUSED");
    }

    let none = FieldTable::default;
    let channel = stage.channel(&ci).await.unwrap();
    let options = QueueDeclareOptions::default();
    let declared = channel.queue_declare("longshore.jobs.mine".into(), options, none()).await;
    refused("declaring a queue", declared, "ACCESS_REFUSED");
    for queue in ["longshore.intake", "longshore.jobs.default", "longshore.dead"] {
        let channel = stage.channel(&ci).await.unwrap();
        let got = channel.basic_get(queue.into(), BasicGetOptions::default()).await;
        refused(&format!("reading `{queue}`"), got, "ACCESS_REFUSED");
        let channel = stage.channel(&ci).await.unwrap();
        let options = BasicConsumeOptions::default();
        let consumed = channel.basic_consume(queue.into(), "".into(), options, none()).await;
        refused(&format!("consuming `{queue}`"), consumed, "ACCESS_REFUSED");
    }
    let channel = stage.channel(&ci).await.unwrap();
    let options = QueueBindOptions::default();
    let bound = channel
        .queue_bind("longshore.intake".into(), "longshore.events".into(), "#".into(), options, none())
        .await;
    refused("binding a queue", bound, "ACCESS_REFUSED");

    as_diun_publishes(&stage).await;
}

/// Diun declares a queue of its own that does not last, and publishes with its name as the key.
async fn as_diun_publishes(stage: &Stage) {
    let listener = stage.as_user(&stage.page).unwrap();
    let mut events = listener.subscribe("longshore.events", "accepted.default.api").await.unwrap();
    let channel = stage.channel(&stage.diun).await.unwrap();
    let (name, options) = (stage.diun.as_str(), QueueDeclareOptions::default());
    channel.queue_declare(name.into(), options, FieldTable::default()).await.unwrap();
    let body = json!({"diun_version": "4.33.0", "hostname": "h", "status": "update", "provider": "file",
        "image": "docker.io/acme/api:7", "digest": format!("sha256:{}", "a".repeat(64)), "platform": "linux/amd64"});
    let transient = lapin::BasicProperties::default().with_content_type("application/json".into());
    publish(&channel, "longshore.intake", name, &body.to_string(), transient).await.unwrap();
    let accepted = events.next(SOON).await.unwrap();
    let job = &accepted.body["data"]["job"];
    assert_eq!(job["cause"]["kind"], "amqp", "{job}");
    assert!(job["operation"]["image"].as_str().unwrap().starts_with("docker.io/acme/api:7@sha256:"), "{job}");
    let left = stage.as_user(&stage.diun).unwrap().messages_in(name).await.unwrap();
    assert_eq!(left, 0, "nothing fills the queue that nobody reads");
    tokio::time::timeout(Duration::from_secs(10), channel.close(200, "bye".into())).await.unwrap().unwrap();
}

fn refused<T>(what: &str, outcome: Result<T, impl std::fmt::Debug>, answer: &str) {
    let told = match outcome {
        Ok(_) => panic!("{what} is allowed"),
        Err(error) => format!("{error:?}").to_uppercase(),
    };
    assert!(told.contains(answer) || told.contains(&answer.replace('_', "")), "{what}: {told}");
}
