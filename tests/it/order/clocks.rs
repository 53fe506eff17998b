//! Ids go up whatever the clocks of those who mint them say, and whatever ids come from outside.

use std::time::Duration;

use lapin::types::AMQPValue;
use proto::{Job, JobId, State, Timestamp};
use serde_json::json;
use tests::clock::Clock;
use tests::fleet::Engine;

use super::stage::{LONG, Stage};

const QUICK: &str = "takes: 20ms";
const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn two_ingresses_30_s_apart_order_wishes_as_they_were_made_on_the_broker() {
    let mut right = Stage::prepare(Engine::Broker, QUICK).await;
    let mut behind = right.beside(QUICK).await;
    let _worker = right.worker().await;
    let clock = Clock::with_offset("-30s").unwrap();
    let _ingresses = (right.ingress(None).await, behind.ingress(Some(&clock)).await);
    let mut last = None;
    for n in 0..20 {
        let id = if n % 2 == 0 {
            let id = right.wish(&n.to_string(), json!({})).await;
            behind.has_heard_of(id).await;
            id
        } else {
            let id = behind.wish(&n.to_string(), json!({})).await;
            right.has_heard_of(id).await;
            right.ledger.accept("web".parse().unwrap(), id);
            id
        };
        assert!(Some(id) > last, "the wish {n} is ordered before the one made before it");
        last = Some(id);
    }
    let accepted = behind.until_said(last.unwrap(), State::Accepted).await;
    let told = accepted.job().unwrap().accepted_at;
    let apart = Timestamp::now().duration_since(told).as_secs();
    assert!(apart >= 25, "the clock was not behind: {apart} s");
    right.account().await;
    right.ends(last.unwrap(), State::Succeeded).await;
    right.runs("19").await;
}

#[tokio::test]
async fn what_an_ingress_two_hours_behind_accepts_is_in_time_on_the_broker() {
    let mut stage = Stage::prepare(Engine::Broker, QUICK).await;
    let _worker = stage.worker().await;
    let clock = Clock::with_offset("-2h").unwrap();
    let ingress = stage.ingress(Some(&clock)).await;
    let job = stage.wish("1", json!({})).await;
    let told = stage.until_said(job, State::Accepted).await.job().unwrap().accepted_at;
    let apart = Timestamp::now().duration_since(told).abs();
    assert!(apart.as_secs() < 300, "dated {apart:#} from now");
    stage.ends(job, State::Succeeded).await;
    ingress.wait_for_line("behind the broker's", LONG).await.unwrap();
    stage.account().await;
}

#[tokio::test]
async fn a_clock_set_back_while_it_runs_and_before_it_starts_orders_nothing_wrongly_on_the_broker() {
    let mut stage = Stage::prepare(Engine::Broker, QUICK).await;
    let _worker = stage.worker().await;
    let clock = Clock::with_offset("+0").unwrap();
    let mut ingress = stage.ingress(Some(&clock)).await;
    let first = stage.wish("1", json!({})).await;
    clock.set("-15m").await.unwrap();
    let second = stage.wish("2", json!({})).await;
    let was = stage.until_said(second, State::Accepted).await.job().unwrap().accepted_at;
    assert!(was + Duration::from_secs(600) < Timestamp::now(), "the clock was not set back");
    ingress.kill().await.unwrap();
    clock.set("-30m").await.unwrap();
    let _ingress = stage.ingress(Some(&clock)).await;
    let third = stage.wish("3", json!({})).await;
    assert!(first < second && second < third, "{first} {second} {third}");
    stage.ends(third, State::Succeeded).await;
    stage.runs("3").await;
    stage.account().await;
}

#[tokio::test]
async fn a_clock_a_year_ahead_costs_nothing_lasting_on_the_broker() {
    let mut ahead = Stage::prepare(Engine::Broker, QUICK).await;
    let mut right = ahead.beside(QUICK).await;
    let mut worker = ahead.worker().await;
    let clock = Clock::with_offset("+365d").unwrap();
    let mut ingress = ahead.ingress(Some(&clock)).await;
    let first = ahead.wish("1", json!({})).await;
    assert!(first.time() > Timestamp::now() + 364 * DAY, "the clock was not ahead");
    ahead.ends(first, State::Succeeded).await;
    ingress.kill().await.unwrap();

    // Another ingress, and another worker, whose clocks are right.
    let mut other = right.ingress(None).await;
    let second = right.wish("2", json!({})).await;
    assert!(second > first, "{second}");
    right.ends(second, State::Succeeded).await;
    worker.kill().await.unwrap();
    other.kill().await.unwrap();
    let _worker = ahead.worker().await;
    let _other = right.ingress(None).await;
    let third = right.wish("3", json!({})).await;
    assert!(third > second);
    right.ends(third, State::Succeeded).await;
    ahead.runs("3").await;
    right.ledger.accept("web".parse().unwrap(), first);
    right.account().await;
}

#[tokio::test]
async fn a_clock_a_year_ahead_costs_nothing_lasting_on_the_embedded_queue() {
    let mut stage = Stage::prepare(Engine::Embedded, QUICK).await;
    let clock = Clock::with_offset("+365d").unwrap();
    let mut up = stage.up(Some(&clock)).await;
    let first = stage.wish("1", json!({})).await;
    assert!(first.time() > Timestamp::now() + 364 * DAY, "the clock was not ahead");
    stage.ends(first, State::Succeeded).await;
    up.kill().await.unwrap();

    let mut up = stage.up(None).await;
    let second = stage.wish("2", json!({})).await;
    assert!(second > first, "{second}");
    stage.ends(second, State::Succeeded).await;
    stage.runs("2").await;
    stage.account().await;
    assert_eq!(stage.listed().await, 2, "what was said by the wrong clock is of today");
    up.kill().await.unwrap();

    // A start reads a day and an hour back: in three days nothing of this.
    clock.set("+3d").await.unwrap();
    let _up = stage.up(Some(&clock)).await;
    assert_eq!(stage.listed().await, 0);
    stage.ends(second, State::Succeeded).await;
}

#[tokio::test]
async fn a_job_with_a_forged_id_is_one_like_any_other_on_the_broker() {
    let mut stage = Stage::prepare(Engine::Broker, QUICK).await;
    let _processes = stage.start().await;
    let before = stage.wish("1", json!({})).await;
    stage.ends(before, State::Succeeded).await;
    let forged = JobId::mint("2150-01-01T00:00:00Z".parse().unwrap(), None);
    publish(&stage, job(forged.to_string(), "2150")).await;
    stage.has_heard_of(forged).await;
    stage.ends(forged, State::Succeeded).await;
    let after = stage.wish("2", json!({})).await;
    assert!(after > forged);
    stage.ends(after, State::Succeeded).await;
    stage.runs("2").await;
    stage.account().await;
}

#[tokio::test]
async fn a_job_with_an_id_after_2200_is_a_dead_letter_on_the_broker() {
    let mut stage = Stage::prepare(Engine::Broker, QUICK).await;
    let _processes = stage.start().await;
    let mut letters = stage.broker().subscribe("longshore.dead", "#").await.unwrap();
    // One millisecond late.
    publish(&stage, job("0699e991-a800-7000-8000-000000000000".to_owned(), "2200")).await;
    let letter = letters.next(LONG).await.unwrap();
    assert_eq!(letter.body["id"], "0699e991-a800-7000-8000-000000000000", "with its body intact");
    let headers = letter.properties.headers().clone().unwrap_or_default();
    let Some(AMQPValue::LongString(reason)) = headers.inner().get("longshore-reason") else {
        panic!("{headers:?}")
    };
    assert_eq!(reason.as_bytes(), b"undecodable");
    let after = stage.wish("1", json!({})).await;
    assert!(after.time() < Timestamp::now() + DAY, "{after}");
    stage.ends(after, State::Succeeded).await;
    stage.account().await;
}

async fn publish(stage: &Stage, job: serde_json::Value) {
    stage.broker().publish("longshore.jobs", "default.web", job.to_string().as_bytes()).await.unwrap();
}

fn job(id: String, tag: &str) -> serde_json::Value {
    let now = Timestamp::now();
    json!({
        "version": Job::VERSION, "id": id, "chain": id, "target": "default/web",
        "operation": {"type": "set-image", "image": format!("acme/web:{tag}")},
        "slots": ["image:docker.io/acme/web"], "cause": {"kind": "amqp"},
        "accepted_at": now, "deadline": now + Duration::from_secs(600),
    })
}
