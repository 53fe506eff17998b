//! The spool beside a broker that a test takes away.

mod broker;
mod disk;
mod past;

use config::Bytes as Amount;
use proto::{State, reason};
use tempfile::TempDir;

use self::broker::{Broker, Fault, SOON, job, jobs};
use super::*;
use crate::{Settlement, embedded::Embedded};

fn settings() -> SpoolSettings {
    SpoolSettings { pool_within: Duration::from_millis(100), ..SpoolSettings::default() }
}

async fn spool(broker: &Arc<Broker>, data: &TempDir, settings: SpoolSettings) -> Arc<Spooling> {
    Spooling::open(Arc::clone(broker) as Arc<dyn Queue>, data.path(), settings).await.unwrap()
}

async fn publish_all(spool: &Spooling, jobs: &[Job]) {
    for job in jobs {
        spool.publish(job).await.unwrap();
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let asking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, asking).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

async fn drained(spool: &Spooling) {
    until("nothing waits", || spool.status().since.is_none()).await;
    assert_eq!((spool.status().jobs, spool.status().bytes), (0, 0));
}

fn ids(jobs: &[Job]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

#[tokio::test]
async fn with_the_broker_there_nothing_is_kept() {
    let (broker, data) = (Broker::serving(&["default"]).await, TempDir::new().unwrap());
    let spool = spool(&broker, &data, settings()).await;
    let job = &jobs("default", 1)[0];
    spool.publish(job).await.unwrap();
    assert_eq!(broker.published(), [job.id]);
    let nothing = SpoolStatus { jobs: 0, bytes: 0, since: None, full: false, failing: false, damaged: false };
    assert_eq!((spool.status(), spool.highest()), (nothing, None));
    let refused = spool.publish(&jobs("nobody", 1)[0]).await;
    assert!(matches!(refused, Err(QueueError::NoPool(_))), "{refused:?}");
}

#[tokio::test]
async fn what_is_kept_outlives_the_process_and_goes_in_the_order_of_the_ids() {
    let (broker, data) = (Broker::serving(&["default", "office"]).await, TempDir::new().unwrap());
    broker.set(Some(Fault::Away));
    let first = spool(&broker, &data, settings()).await;
    let mut all = jobs("default", 100);
    for other in all.iter_mut().skip(1).step_by(3) {
        *other = job(other.id, "office", 0);
    }
    // Callers that run side by side are not kept in the order of their ids.
    publish_all(&first, &all[50..]).await;
    publish_all(&first, &all[..50]).await;
    let status = first.status();
    assert_eq!(status.jobs, 100);
    assert_eq!(status.bytes, all.iter().map(|job| job.encode().len() as u64).sum::<u64>());
    assert!(status.since.is_some() && !status.full && !first.is_available());
    first.close().await;
    drop(first);

    let second = spool(&broker, &data, settings()).await;
    assert_eq!((second.status().jobs, second.status().bytes), (100, status.bytes));
    assert_eq!(second.highest(), Some(all[99].id));
    let mut newest = Vec::new();
    second.newest(70, |job| newest.push(job.clone())).await.unwrap();
    assert_eq!(newest, all[30..]);
    assert_eq!(broker.published(), []);
    broker.set(None);
    drained(&second).await;
    assert_eq!(broker.published(), ids(&all));
    let said = broker.said().await;
    assert!(all.iter().all(|job| said[&job.id] == [State::Accepted]), "{said:?}");
    second.close().await;
    drop(second);
    assert_eq!(spool(&broker, &data, settings()).await.status().jobs, 0);
}

#[tokio::test]
async fn what_the_broker_took_and_did_not_confirm_is_kept_too() {
    let (broker, data) = (Broker::serving(&["default"]).await, TempDir::new().unwrap());
    let spool = spool(&broker, &data, settings()).await;
    let all = jobs("default", 2);
    broker.set(Some(Fault::Mute));
    spool.publish(&all[0]).await.unwrap();
    assert!(!spool.is_available());
    // Nobody waits for the one that did not answer the last time.
    let refused = spool.emit(&Event::of(&all[0], State::Accepted, 0, 0)).await;
    assert!(matches!(refused, Err(QueueError::Unavailable { .. })), "{refused:?}");
    let quick = tokio::time::timeout(CONFIRM_WITHIN / 2, spool.publish(&all[1])).await;
    quick.unwrap().unwrap();
    assert_eq!(spool.status().jobs, 2);
    broker.set(None);
    drained(&spool).await;
    assert!(spool.is_available());
    assert_eq!(broker.published(), [all[0].id, all[0].id, all[1].id]);
}

#[tokio::test]
async fn what_the_broker_refuses_is_kept_from_the_first_on() {
    let (broker, data) = (Broker::serving(&["default"]).await, TempDir::new().unwrap());
    let spool = spool(&broker, &data, settings()).await;
    let all = jobs("default", 2);
    broker.set(Some(Fault::Forbidding));
    publish_all(&spool, &all).await;
    spool.submit("what came in".into()).await.unwrap();
    assert_eq!((spool.status().jobs, broker.published()), (3, Vec::new()));
    broker.set(None);
    drained(&spool).await;
    assert_eq!(broker.published(), ids(&all));
    let mut intake = broker.intake(1).await.unwrap();
    let came = tokio::time::timeout(SOON, intake.next()).await.unwrap().unwrap();
    assert_eq!(came.body(), b"what came in".as_slice());
}

/// What the broker refuses may be one target's alone, and stays until people mend it.
#[tokio::test]
async fn a_kept_job_that_the_broker_refuses_keeps_back_no_other() {
    let (broker, data) = (Broker::serving(&["default"]).await, TempDir::new().unwrap());
    let spool = spool(&broker, &data, settings()).await;
    let all = jobs("default", 6);
    broker.set(Some(Fault::Away));
    publish_all(&spool, &all).await;
    broker.set(Some(Fault::ForbiddingOne(all[1].id)));
    until("all others are handed over", || spool.status().jobs == 1).await;
    let others = [&all[..1], &all[2..]].concat();
    assert_eq!(broker.published(), ids(&others));
    // Also what comes later goes its way at once.
    let later = jobs("default", 1);
    publish_all(&spool, &later).await;
    assert_eq!((spool.status().jobs, broker.published().last().copied()), (1, Some(later[0].id)));
    broker.set(None);
    drained(&spool).await;
    assert_eq!(broker.published().last().copied(), Some(all[1].id));
}

#[tokio::test]
async fn what_was_published_and_could_not_be_said_is_said_later() {
    let (broker, data) = (Broker::serving(&["default"]).await, TempDir::new().unwrap());
    let spool = spool(&broker, &data, settings()).await;
    let all = jobs("default", 3);
    let say = async |job: &Job| spool.emit(&Event::of(job, State::Accepted, 0, 0)).await;
    publish_all(&spool, &all[..2]).await;
    say(&all[0]).await.unwrap();
    broker.set(Some(Fault::Away));
    spool.publish(&all[2]).await.unwrap();
    for job in [&all[1], &all[2], &all[1]] {
        assert!(matches!(say(job).await, Err(QueueError::Unavailable { .. })));
    }
    // One is there for its word alone, the other waits anyway.
    assert_eq!(spool.status().jobs, 2);
    broker.set(None);
    drained(&spool).await;
    let said = broker.said().await;
    assert!(all.iter().all(|job| said[&job.id] == [State::Accepted]), "{said:?}");
}

#[tokio::test]
async fn a_full_spool_refuses_until_there_is_room_again() {
    let (broker, all) = (Broker::serving(&["default"]).await, jobs("default", 4));
    let one = all[0].encode().len() as u64;
    let by_jobs = SpoolSettings { jobs: 3, ..settings() };
    let by_bytes = SpoolSettings { bytes: Amount(3 * one + one / 2), ..settings() };
    for bounds in [by_jobs, by_bytes] {
        let data = TempDir::new().unwrap();
        broker.set(Some(Fault::Away));
        let spool = spool(&broker, &data, bounds).await;
        publish_all(&spool, &all[..3]).await;
        let refused = spool.publish(&all[3]).await;
        assert!(matches!(refused, Err(QueueError::Full)), "{refused:?}");
        assert!(spool.status().full);
        assert_eq!(spool.status().jobs, 3);
        broker.set(None);
        drained(&spool).await;
        assert!(!spool.status().full);
        broker.set(Some(Fault::Away));
        spool.publish(&all[3]).await.unwrap();
        spool.close().await;
    }
}

#[tokio::test]
async fn a_kept_job_whose_pool_nobody_serves_ends_rejected() {
    let (broker, data) = (Broker::serving(&["default"]).await, TempDir::new().unwrap());
    broker.set(Some(Fault::Away));
    let spool = spool(&broker, &data, settings()).await;
    let (nowhere, somewhere) = (jobs("nowhere", 1), jobs("default", 1));
    publish_all(&spool, &[nowhere[0].clone(), somewhere[0].clone()]).await;
    broker.set(None);
    drained(&spool).await;
    let (id, code, text) = tokio::time::timeout(SOON, broker.next_rejection()).await.unwrap();
    assert_eq!((id, code.as_str()), (nowhere[0].id, reason::NO_WORKER));
    assert!(text.contains("`nowhere`"), "{text}");
    let said = broker.said().await;
    assert_eq!(said[&nowhere[0].id], [State::Accepted, State::Rejected]);
    assert_eq!(said[&somewhere[0].id], [State::Accepted]);
    assert_eq!(broker.published(), ids(&somewhere));
}

#[tokio::test]
async fn a_pool_that_is_served_soon_enough_gets_its_kept_jobs() {
    let (broker, data) = (Broker::serving(&["default"]).await, TempDir::new().unwrap());
    broker.set(Some(Fault::Away));
    let spool = spool(&broker, &data, SpoolSettings::default()).await;
    let (late, there) = (jobs("late", 1), jobs("default", 1));
    publish_all(&spool, &late).await;
    publish_all(&spool, &there).await;
    broker.set(None);
    until("the other pool is not held up", || spool.status().jobs == 1).await;
    assert_eq!(broker.published(), ids(&there));
    broker.serve("late").await;
    drained(&spool).await;
    assert_eq!(broker.published(), [there[0].id, late[0].id]);
    assert_eq!(broker.said().await[&late[0].id], [State::Accepted]);
}

#[tokio::test]
async fn a_directory_that_the_embedded_queue_left_is_drained() {
    let (broker, data) = (Broker::serving(&["default"]).await, TempDir::new().unwrap());
    let left = Embedded::open(&data.path().join("queue")).unwrap();
    let (pool, all) = ("default".parse().unwrap(), jobs("default", 3));
    let mut takings = left.take(&pool, 3).await.unwrap();
    for job in &all {
        left.publish(job).await.unwrap();
    }
    left.publish_body(&pool, Bytes::from_static(b"no job")).await.unwrap();
    let (first, second) = (takings.next().await.unwrap(), takings.next().await.unwrap());
    first.settle(Settlement::Retry { after: Duration::from_secs(3600) }).await.unwrap();
    // In a worker's hands when the process ended.
    drop(second);
    left.close().await;
    drop((takings, left));

    let spool = spool(&broker, &data, settings()).await;
    drained(&spool).await;
    assert_eq!(broker.take_all("default", 3).await, ids(&all));
    let letters = broker.dead_letters().await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (&letters[0].body[..], letters[0].reason.code.as_ref()),
        (&b"no job"[..], reason::UNDECODABLE)
    );
    assert_eq!(broker.published(), ids(&all));
}

#[tokio::test]
async fn what_came_in_for_the_ingresses_is_kept_and_handed_over_too() {
    let (broker, data) = (Broker::serving(&["default"]).await, TempDir::new().unwrap());
    let left = Embedded::open(&data.path().join("queue")).unwrap();
    left.submit(Bytes::from_static(b"left by the embedded queue")).await.unwrap();
    left.close().await;
    drop(left);

    broker.set(Some(Fault::Away));
    let spool = spool(&broker, &data, settings()).await;
    assert_eq!(spool.status().jobs, 1);
    spool.submit(Bytes::from_static(b"while the broker was away")).await.unwrap();
    broker.set(None);
    drained(&spool).await;
    let mut came_in = broker.intake(1).await.unwrap();
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let delivery = tokio::time::timeout(SOON, came_in.next()).await.unwrap().unwrap();
        bodies.push(delivery.body().to_vec());
        delivery.settle(Settlement::Ack).await.unwrap();
    }
    bodies.sort();
    assert_eq!(bodies, [b"left by the embedded queue".to_vec(), b"while the broker was away".to_vec()]);
}

#[tokio::test]
async fn a_large_job_that_does_not_fit_leaves_the_spool_open_to_others() {
    let (broker, data) = (Broker::serving(&["default"]).await, TempDir::new().unwrap());
    broker.set(Some(Fault::Away));
    let bytes = Amount(256 * 1024);
    let spool = spool(&broker, &data, SpoolSettings { bytes, ..settings() }).await;
    let all = jobs("default", 2);
    let text = proto::StackText::of("x".repeat(300 * 1024));
    let large = Job { operation: proto::Operation::DeployStack(text), ..all[0].clone() };
    assert!(matches!(spool.publish(&large).await, Err(QueueError::Full)));
    assert!(!spool.status().full);
    spool.publish(&all[1]).await.unwrap();
    assert_eq!((spool.status().jobs, spool.status().full), (1, false));
}

#[tokio::test]
async fn dead_letters_that_the_embedded_queue_left_are_handed_over() {
    let (broker, data) = (Broker::serving(&["default"]).await, TempDir::new().unwrap());
    let dir = data.path().join("queue");
    let left = Embedded::open(&dir).unwrap();
    let (pool, why) =
        ("office".parse().unwrap(), Reason::new(reason::UNREACHABLE, "no route").hint("mend it"));
    let body = Bytes::from(jobs("office", 1)[0].encode());
    for body in [&body[..], broker::TOO_MUCH, b"no job", b"closed"] {
        left.bury(Bytes::copy_from_slice(body), &pool, 3, &why).await.unwrap();
    }
    let last = left.dead_letters().await.unwrap().pop().unwrap();
    left.close_letter(last.id, Closed::Discarded { by: None }).await.unwrap();
    left.close().await;
    drop(left);

    broker.set(Some(Fault::Away));
    let spool = spool(&broker, &data, settings()).await;
    broker.set(None);
    until("none is left that the broker takes", || !spool.inner.shelf.letters().may_be()).await;
    let letters = broker.dead_letters().await.unwrap();
    let bodies: Vec<&[u8]> = letters.iter().map(|letter| &letter.body[..]).collect();
    assert_eq!(bodies, [&body[..], b"no job"]);
    for letter in &letters {
        assert_eq!((&letter.pool, letter.attempts, &letter.reason), (&Some(pool.clone()), 3, &why));
    }
    spool.close().await;
    drop(spool);
    let left = Embedded::open(&dir).unwrap().dead_letters().await.unwrap();
    assert_eq!(left.len(), 1, "what the broker has is closed, what it refused is kept: {left:?}");
    assert_eq!(&left[0].body, broker::TOO_MUCH);
}

#[tokio::test]
async fn a_crash_at_any_instant_of_draining_loses_nothing() {
    const JOBS: usize = 4;
    // Each job is published and said, and the pool that is missing takes two words.
    for instant in 0..=2 * JOBS as u64 + 2 {
        let (broker, data) = (Broker::serving(&["default"]).await, TempDir::new().unwrap());
        broker.set(Some(Fault::Away));
        let first = spool(&broker, &data, settings()).await;
        let (all, nowhere) = (jobs("default", JOBS), jobs("nowhere", 1));
        publish_all(&first, &all).await;
        publish_all(&first, &nowhere).await;
        broker.die_after(instant);
        broker.set(None);
        until("it died or is done", || {
            broker.has_died.load(Ordering::SeqCst) || first.status().since.is_none()
        })
        .await;
        // The process ends there: nobody waits for the answer that does not come.
        first.close().await;
        drop(first);

        broker.die_after(u64::MAX);
        let second = spool(&broker, &data, settings()).await;
        drained(&second).await;
        let published = broker.published();
        assert!(ids(&all).iter().all(|id| published.contains(id)), "{instant}: {published:?}");
        let said = broker.said().await;
        assert!(all.iter().all(|job| said[&job.id].contains(&State::Accepted)), "{instant}: {said:?}");
        assert!(said[&nowhere[0].id].contains(&State::Rejected), "{instant}: {said:?}");
        second.close().await;
    }
}

#[tokio::test]
async fn the_directory_is_for_one_process() {
    let (broker, data) = (Broker::serving(&["default"]).await, TempDir::new().unwrap());
    let _first = spool(&broker, &data, settings()).await;
    let second = Spooling::open(Arc::clone(&broker) as Arc<dyn Queue>, data.path(), settings()).await;
    assert!(matches!(second.err(), Some(QueueError::InUse(_))));
}
