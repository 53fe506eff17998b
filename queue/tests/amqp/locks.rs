//! One writer for a target.

use proto::TargetName;
use queue::Queue;

use crate::support::{Bench, job, next, open, settings_at, soon, until};

fn web() -> TargetName {
    "web".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_has_one_holder_in_a_process_and_among_processes() {
    let bench = Bench::open().await;
    let other = open(&bench.settings).await;
    let held = bench.queue.lock(&web()).await.unwrap().unwrap();
    assert!(held.is_held());
    assert_eq!(*held.target(), web());
    assert!(bench.queue.lock(&web()).await.unwrap().is_none());
    assert!(other.lock(&web()).await.unwrap().is_none());
    // Other targets and other pools are not meant.
    assert!(other.lock(&"other".parse().unwrap()).await.unwrap().is_some());
    assert!(other.lock(&"office/web".parse().unwrap()).await.unwrap().is_some());
    drop(held);
    until("the lock is free", async || other.lock(&web()).await.unwrap().is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_refused_disturbs_nothing_else() {
    let bench = Bench::open().await;
    let other = open(&bench.settings).await;
    let mut taking = other.take(&Default::default(), 2).await.unwrap();
    bench.queue.publish(&job("web")).await.unwrap();
    let delivery = next(&mut taking).await;
    let mine = other.lock(&"other".parse().unwrap()).await.unwrap().unwrap();
    let _held = bench.queue.lock(&web()).await.unwrap().unwrap();
    for _ in 0..5 {
        assert!(other.lock(&web()).await.unwrap().is_none());
    }
    assert!(delivery.is_ours() && mine.is_held());
    delivery.settle(queue::Settlement::Ack).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_taken_again_at_once_keeps_others_out() {
    let bench = Bench::open().await;
    let other = open(&bench.settings).await;
    for round in 0..50 {
        let held = bench.queue.lock(&web()).await.unwrap();
        let held = held.unwrap_or_else(|| panic!("round {round}: nobody else holds it"));
        // The former one's remains must not take it away.
        assert!(other.lock(&web()).await.unwrap().is_none(), "round {round}");
        assert!(held.is_held());
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_want_one_lock_never_hold_it_together() {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };
    let bench = Bench::open().await;
    let engines = [bench.queue.clone(), open(&bench.settings).await];
    let (inside, turns) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut wanting = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (engine, inside, turns) = (engines[n % 2].clone(), inside.clone(), turns.clone());
        wanting.spawn(async move {
            for _ in 0..20 {
                if let Some(held) = engine.lock(&web()).await.unwrap() {
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    turns.fetch_add(1, Ordering::SeqCst);
                    drop(held);
                }
            }
        });
    }
    soon(wanting.join_all()).await;
    assert!(turns.load(Ordering::SeqCst) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_not_held_after_its_connection_broke() {
    let proxy = crate::proxy::Proxy::open().await;
    let settings = settings_at(vec![proxy.address.to_string()]);
    let queue = open(&settings).await;
    let held = queue.lock(&web()).await.unwrap().unwrap();
    proxy.close();
    until("it is known to be lost", async || !held.is_held()).await;
    let beside =
        open(&queue::AmqpSettings { hosts: crate::support::settings().hosts, ..settings.clone() }).await;
    let mut theirs = None;
    until("another process has it", async || beside.lock(&web()).await.unwrap().is_some()).await;
    soon(async {
        while theirs.is_none() {
            theirs = beside.lock(&web()).await.unwrap();
        }
    })
    .await;
    // Dropping what was lost takes nothing from its new holder.
    drop(held);
    proxy.reopen();
    until("the broker is back", async || queue.is_available()).await;
    assert!(queue.lock(&web()).await.unwrap().is_none());
    assert!(theirs.is_some_and(|lock| lock.is_held()));
}
