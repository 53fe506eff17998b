//! Taking jobs and settling them.

use std::time::{Duration, Instant};

use lapin::types::{AMQPValue, FieldTable};
use proto::{Job, PoolName, Reason, Timestamp, reason};
use queue::{AmqpSettings, Queue, QueueError, Settlement};

use crate::support::{
    Bench, LONG, Look, SHORT, header, job, next, nothing_comes, open, settings, settings_at, soon,
    text_header,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_job_is_gone() {
    let bench = Bench::open().await;
    let mut taking = bench.take(4).await;
    let job = job("web");
    bench.queue.publish(&job).await.unwrap();
    let delivery = next(&mut taking).await;
    assert_eq!((delivery.attempt(), delivery.is_ours()), (1, true));
    assert_eq!(Job::decode(delivery.body()).unwrap(), job);
    delivery.settle(Settlement::Ack).await.unwrap();
    drop(taking);
    nothing_comes(&mut bench.take(1).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_at_once_are_unsettled() {
    let bench = Bench::open().await;
    let mut taking = bench.take(2).await;
    for _ in 0..3 {
        bench.queue.publish(&job("web")).await.unwrap();
    }
    let (first, _second) = (next(&mut taking).await, next(&mut taking).await);
    nothing_comes(&mut taking).await;
    first.settle(Settlement::Ack).await.unwrap();
    drop(next(&mut taking).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_comes_back_later_and_counts_and_a_snooze_does_not() {
    let bench = Bench::open().await;
    let mut taking = bench.take(1).await;
    let job = job("web");
    bench.queue.publish(&job).await.unwrap();
    let waits = [
        (Settlement::Retry { after: SHORT }, SHORT, 2),
        (Settlement::Snooze { after: Duration::from_millis(1) }, Duration::from_millis(1), 2),
        (Settlement::Retry { after: LONG }, LONG, 3),
        (Settlement::Retry { after: Duration::ZERO }, Duration::ZERO, 4),
    ];
    for (how, at_least, attempt) in waits {
        let settled = Instant::now();
        next(&mut taking).await.settle(how.clone()).await.unwrap();
        let again = next(&mut taking).await;
        assert!(settled.elapsed() >= at_least, "{how:?} {:?}", settled.elapsed());
        assert_eq!(again.attempt(), attempt, "{how:?}");
        assert_eq!(Job::decode(again.body()).unwrap(), job);
        again.settle(Settlement::Release).await.unwrap();
    }
}

/// Jitter takes a part off a pause, and a target that is busy is free again sooner than the shortest rung ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_shorter_than_its_rung_is_no_longer_for_it() {
    let settings = AmqpSettings { rungs: vec![Duration::from_secs(3600)], ..settings() };
    let queue = open(&settings).await;
    let mut taking = queue.take(&PoolName::default(), 2).await.unwrap();
    let (first, second) = (job("web"), job("web"));
    for job in [&first, &second] {
        queue.publish(job).await.unwrap();
    }
    // The longer one later: a queue looks at its first message only.
    for after in [SHORT, LONG] {
        next(&mut taking).await.settle(Settlement::Snooze { after }).await.unwrap();
    }
    for job in [first, second] {
        let again = next(&mut taking).await;
        assert_eq!((Job::decode(again.body()).unwrap(), again.attempt()), (job, 1));
        again.settle(Settlement::Ack).await.unwrap();
    }
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_longer_than_every_rung_goes_round_until_it_is_due() {
    let bench = Bench::open().await;
    let mut taking = bench.take(1).await;
    bench.queue.publish(&job("web")).await.unwrap();
    let after = 2 * LONG + SHORT / 2;
    let settled = Instant::now();
    next(&mut taking).await.settle(Settlement::Retry { after }).await.unwrap();
    let again = next(&mut taking).await;
    assert!(settled.elapsed() >= after, "{:?}", settled.elapsed());
    assert_eq!(again.attempt(), 2);
    assert!(settled.elapsed() < after + LONG + Duration::from_secs(2), "{:?}", settled.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_not_due_is_not_handed_out() {
    let bench = Bench::open().await;
    let mut taking = bench.take(1).await;
    let mut headers = FieldTable::default();
    let due = Timestamp::now() + Duration::from_millis(700);
    headers.insert("longshore-due".into(), AMQPValue::LongLongInt(due.as_millisecond()));
    headers.insert("traceparent".into(), AMQPValue::LongString("00-1".into()));
    bench.raw.send(&bench.name("jobs"), "default.web", b"{}", headers).await;
    let delivery = next(&mut taking).await;
    assert!(Timestamp::now() >= due);
    assert_eq!((delivery.attempt(), delivery.body().as_ref()), (1, b"{}".as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_ladder_a_job_keeps_its_key_and_what_its_sender_wrote() {
    let bench = Bench::open().await;
    let mut taking = bench.take(1).await;
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString("00-1".into()));
    bench.raw.send(&bench.name("jobs"), "default.web", b"{}", headers).await;
    next(&mut taking).await.settle(Settlement::Retry { after: SHORT }).await.unwrap();
    drop(taking);
    let message = bench.raw.read(&bench.name("jobs.default"), 1).await.remove(0);
    assert_eq!(message.routing_key.as_str(), "default.web");
    assert_eq!(message.exchange.as_str(), bench.name("jobs"));
    assert_eq!(text_header(&message, "traceparent").as_deref(), Some("00-1"));
    assert_eq!(header(&message, "longshore-attempt"), Some(AMQPValue::LongLongInt(2)));
}

/// As the broker's management page does it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_into_a_queue_by_its_name_comes_back_from_the_ladder() {
    let bench = Bench::open().await;
    let mut taking = bench.take(1).await;
    bench.raw.send("", &bench.name("jobs.default"), b"{}", FieldTable::default()).await;
    for how in [Settlement::Snooze { after: SHORT }, Settlement::SetAside { after: SHORT }] {
        next(&mut taking).await.settle(how).await.unwrap();
    }
    let back = next(&mut taking).await;
    assert_eq!((back.body().as_ref(), back.attempt()), (b"{}".as_slice(), 1));
    back.settle(Settlement::Ack).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_job_comes_first_and_its_attempt_does_not_count() {
    let bench = Bench::open().await;
    let mut taking = bench.take(1).await;
    let jobs = [job("web"), job("web")];
    for job in &jobs {
        bench.queue.publish(job).await.unwrap();
    }
    next(&mut taking).await.settle(Settlement::Release).await.unwrap();
    let again = next(&mut taking).await;
    assert_eq!((Job::decode(again.body()).unwrap().id, again.attempt()), (jobs[0].id, 1));
    // One that is dropped comes again likewise.
    drop(again);
    let again = next(&mut taking).await;
    assert_eq!((Job::decode(again.body()).unwrap().id, again.attempt()), (jobs[0].id, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_ahead_goes_to_others_when_taking_stops() {
    let bench = Bench::open().await;
    let mut taking = bench.take(10).await;
    let jobs = [job("web"), job("web"), job("web")];
    for job in &jobs {
        bench.queue.publish(job).await.unwrap();
    }
    let held = next(&mut taking).await;
    drop(taking);
    let mut others = bench.take(10).await;
    for job in &jobs[1..] {
        let delivery = next(&mut others).await;
        assert_eq!(Job::decode(delivery.body()).unwrap().id, job.id);
        delivery.settle(Settlement::Ack).await.unwrap();
    }
    // The one that was handed out is still its holder's.
    nothing_comes(&mut others).await;
    assert!(held.is_ours());
    held.settle(Settlement::Ack).await.unwrap();
    nothing_comes(&mut others).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_job_lies_among_the_letters_with_its_body_and_why() {
    let bench = Bench::open().await;
    let mut taking = bench.take(1).await;
    bench.raw.send(&bench.name("jobs"), "default.web", b"no job \xff", FieldTable::default()).await;
    next(&mut taking).await.settle(Settlement::Retry { after: SHORT }).await.unwrap();
    let why = Reason::new(reason::INTERRUPTED, "it fell into the water").hint("fish it out");
    next(&mut taking).await.settle(Settlement::Dead { reason: why }).await.unwrap();
    let letter = bench.raw.read_stream(&bench.name("dead"), 1).await.remove(0);
    assert_eq!(letter.data, b"no job \xff");
    assert_eq!(letter.routing_key.as_str(), "default.web");
    assert_eq!(text_header(&letter, "longshore-reason").as_deref(), Some("interrupted"));
    assert_eq!(text_header(&letter, "longshore-reason-text").as_deref(), Some("it fell into the water"));
    assert_eq!(text_header(&letter, "longshore-reason-hint").as_deref(), Some("fish it out"));
    assert_eq!(text_header(&letter, "longshore-pool").as_deref(), Some("default"));
    assert_eq!(header(&letter, "longshore-attempts"), Some(AMQPValue::LongLongInt(2)));
    let died = text_header(&letter, "longshore-died-at").unwrap().parse::<Timestamp>().unwrap();
    assert!(Timestamp::now().duration_since(died).as_secs().abs() < 60);
    nothing_comes(&mut taking).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_queue_gives_up_lies_among_the_letters() {
    let bench = Bench::open().await;
    drop(bench.take(1).await);
    let job = job("web");
    bench.queue.publish(&job).await.unwrap();
    let (name, options) = (bench.name("jobs.default"), lapin::options::BasicGetOptions::default());
    // The consumer that was there a moment ago may have been given it before it was gone.
    let getting = async {
        loop {
            if let Some(got) = bench.raw.channel.basic_get(name.as_str().into(), options).await.unwrap() {
                return got;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let reject = lapin::options::BasicRejectOptions { requeue: false };
    soon(getting).await.acker.reject(reject).await.unwrap();
    let letter = bench.raw.read_stream(&bench.name("dead"), 1).await.remove(0);
    assert_eq!(Job::decode(&letter.data).unwrap(), job);
}

#[tokio::test(flavor = "multi_thread")]
async fn takers_of_one_pool_compete_and_pools_are_apart() {
    let bench = Bench::open().await;
    let other = open(&bench.settings).await;
    let mut office = bench.queue.take(&"office".parse::<PoolName>().unwrap(), 1).await.unwrap();
    let (mut one, mut two) = (bench.take(1).await, other.take(&PoolName::default(), 1).await.unwrap());
    for _ in 0..2 {
        bench.queue.publish(&job("web")).await.unwrap();
    }
    let held = (next(&mut one).await, next(&mut two).await);
    nothing_comes(&mut office).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_comes_again_after_its_connection_broke_and_the_former_holder_learns_it() {
    let proxy = crate::proxy::Proxy::open().await;
    let settings = settings_at(vec![proxy.address.to_string()]);
    let queue = open(&settings).await;
    let mut taking = queue.take(&PoolName::default(), 2).await.unwrap();
    let job = job("web");
    queue.publish(&job).await.unwrap();
    let lost = next(&mut taking).await;
    proxy.cut();
    let again = next(&mut taking).await;
    assert_eq!(Job::decode(again.body()).unwrap(), job);
    assert_eq!((again.attempt(), again.is_ours(), lost.is_ours()), (1, true, false));
    let late = lost.settle(Settlement::Retry { after: SHORT }).await;
    assert!(matches!(late, Err(QueueError::NotOurs)), "{late:?}");
    again.settle(Settlement::Ack).await.unwrap();
    // Neither did the late settlement leave a copy on the ladder: it would come before one that went there later.
    let later = crate::support::job("web");
    queue.publish(&later).await.unwrap();
    next(&mut taking).await.settle(Settlement::Retry { after: SHORT }).await.unwrap();
    let back = next(&mut taking).await;
    assert_eq!((Job::decode(back.body()).unwrap(), back.attempt()), (later, 2));
    back.settle(Settlement::Ack).await.unwrap();
    queue.close().await;
    let raw = Look::open().await;
    assert_eq!(raw.waiting(&format!("{}.jobs.default", settings.prefix)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_deleted_under_its_taker_stands_again() {
    let bench = Bench::open().await;
    let mut taking = bench.take(1).await;
    let name = bench.name("jobs.default");
    bench.raw.channel.queue_delete(name.as_str().into(), Default::default()).await.unwrap();
    let coming = tokio::spawn(async move { next(&mut taking).await });
    let job = job("web");
    soon(async {
        while bench.queue.publish(&job).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(Job::decode(coming.await.unwrap().body()).unwrap(), job);
}

/// Given back each time, it would be laid aside as one that its workers cannot stand.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_rung_is_gone_is_held_until_it_stands_again() {
    let bench = Bench::open().await;
    let mut taking = bench.take(1).await;
    let job = job("web");
    bench.queue.publish(&job).await.unwrap();
    let delivery = next(&mut taking).await;
    for rung in ["200ms", "500ms"] {
        let name = bench.name(&format!("retry.default.{rung}"));
        bench.raw.channel.queue_delete(name.as_str().into(), Default::default()).await.unwrap();
    }
    soon(delivery.settle(Settlement::Retry { after: SHORT })).await.unwrap();
    let again = next(&mut taking).await;
    assert_eq!((Job::decode(again.body()).unwrap(), again.attempt()), (job, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_senders_large_headers_take_no_session_down() {
    let bench = Bench::open().await;
    let mut taking = bench.take(2).await;
    bench.queue.publish(&job("web")).await.unwrap();
    let other = next(&mut taking).await;
    let mut large = FieldTable::default();
    // As much as a frame holds of what one application may send to another: ours beside it would be too much.
    large.insert("a".into(), AMQPValue::LongString("x".repeat(130_400).into()));
    large.insert("traceparent".into(), AMQPValue::LongString("00-1".into()));
    let body = job("large").encode();
    bench.raw.send(&bench.name("jobs"), "default.large", &body, large).await;
    for wait in [SHORT, 3 * LONG] {
        soon(next(&mut taking).await.settle(Settlement::Retry { after: wait })).await.unwrap();
        assert!(other.is_ours(), "the other delivery is still in hand");
    }
    let again = next(&mut taking).await;
    assert_eq!((again.attempt(), again.body().as_ref()), (3, &body[..]));
    let reason = Reason::new(reason::INTERNAL, "by the test");
    soon(again.settle(Settlement::Dead { reason })).await.unwrap();
    let letter = bench.raw.read_stream(&bench.name("dead"), 1).await.remove(0);
    assert_eq!(text_header(&letter, "traceparent").as_deref(), Some("00-1"));
    assert!(other.is_ours(), "the other delivery is still in hand");
    other.settle(Settlement::Ack).await.unwrap();
}

/// Who sets a broker up while workers serve it takes nothing from them.
#[tokio::test(flavor = "multi_thread")]
async fn declaring_a_pool_asks_for_none_of_its_jobs() {
    let bench = Bench::open().await;
    let pool = PoolName::default();
    soon(bench.queue.declare(&pool)).await.unwrap();
    soon(bench.queue.publish(&job("web"))).await.unwrap();
    soon(bench.queue.declare(&pool)).await.unwrap();
    let waiting = bench.raw.read(&bench.name("jobs.default"), 1).await.remove(0);
    assert!(!waiting.redelivered);
}
