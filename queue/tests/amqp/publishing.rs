//! Publishing jobs.

use std::{sync::Arc, time::Instant};

use futures::{StreamExt, stream};
use lapin::types::FieldTable;
use proto::{Job, JobId};
use queue::{Queue, QueueError};

use crate::support::{Bench, full_at_one, job, next};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_for_a_pool_that_nobody_serves_is_refused() {
    let bench = Bench::open().await;
    // Nothing but pools' queues is bound to the jobs: anything else would have taken these.
    for target in ["web", "office/web", "a/b"] {
        let job = job(target);
        let refused = bench.queue.publish(&job).await;
        assert!(
            matches!(&refused, Err(QueueError::NoPool(pool)) if pool == job.target.pool()),
            "{refused:?}"
        );
    }
    let _taking = bench.take(1).await;
    bench.queue.publish(&job("web")).await.unwrap();
    // Another pool's queue is none for it.
    assert!(matches!(bench.queue.publish(&job("office/web")).await, Err(QueueError::NoPool(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_a_worker_of_its_pool_as_it_was_published() {
    let bench = Bench::open().await;
    drop(bench.take(1).await);
    let job = job("web");
    bench.queue.publish(&job).await.unwrap();
    let message = bench.raw.read(&bench.name("jobs.default"), 1).await.remove(0);
    assert_eq!(message.routing_key.as_str(), "default.web");
    assert_eq!(message.exchange.as_str(), bench.name("jobs"));
    assert_eq!(message.properties.message_id().as_ref().unwrap().as_str(), job.id.to_string());
    assert_eq!(*message.properties.delivery_mode(), Some(2));
    assert_eq!(Job::decode(&message.data).unwrap(), job);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_so() {
    let bench = Bench::open().await;
    let _taking = bench.take(1).await;
    bench.raw.subscribe(&bench.name("jobs"), "default.*", full_at_one()).await;
    bench.queue.publish(&job("web")).await.unwrap();
    assert!(matches!(bench.queue.publish(&job("web")).await, Err(QueueError::Full)));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_two_thousand_publishes_at_once_learns_its_own_outcome() {
    let bench = Bench::open().await;
    let mut taking = bench.take(2000).await;
    let began = Instant::now();
    let outcomes: Vec<(JobId, bool, Result<(), QueueError>)> = stream::iter(0..2000)
        .map(|n| {
            let queue = Arc::clone(&bench.queue);
            let missing = n % 7 == 3;
            let job = job(if missing { "nowhere/web" } else { "web" });
            async move {
                let published = tokio::spawn(async move { (job.id, queue.publish(&job).await) });
                let (id, outcome) = published.await.unwrap();
                (id, missing, outcome)
            }
        })
        .buffer_unordered(64)
        .collect()
        .await;
    println!("2000 publishes by 64 callers: {:?}", began.elapsed());
    for (id, missing, outcome) in &outcomes {
        let is_right = match outcome {
            Ok(()) => !missing,
            Err(QueueError::NoPool(_)) => *missing,
            Err(_) => false,
        };
        assert!(is_right, "{id} {missing} {outcome:?}");
    }
    let mut wanted: Vec<JobId> =
        outcomes.iter().filter(|(_, missing, _)| !missing).map(|(id, ..)| *id).collect();
    let mut found = Vec::new();
    for _ in &wanted {
        let delivery = next(&mut taking).await;
        found.push(Job::decode(delivery.body()).unwrap().id);
        delivery.settle(queue::Settlement::Ack).await.unwrap();
    }
    wanted.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_one_job_for_a_missing_pool_are_refused_each() {
    let bench = Bench::open().await;
    let job = job("nowhere/web");
    let copies = (0..100).map(|_| bench.queue.publish(&job));
    for refused in futures::future::join_all(copies).await {
        assert!(matches!(refused, Err(QueueError::NoPool(_))), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_beside_the_pools_would_hide_a_missing_one() {
    // Why nothing else may be bound there: with anything that takes all keys, a lost job looks taken.
    let bench = Bench::open().await;
    bench.raw.subscribe(&bench.name("jobs"), "#", FieldTable::default()).await;
    assert!(bench.queue.publish(&job("nowhere/web")).await.is_ok());
}
