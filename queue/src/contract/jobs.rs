//! Jobs wait durably and come to one worker of their pool.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use proto::{Event, JobId, State};

use super::{
    Maker, PATIENCE, acknowledge, acknowledge_all, job, next, nothing_comes, pool, publish_some, served,
    within,
};
use crate::{QueueError, Settlement, Since};

/// A published job is delivered with the body it was published with, as a first attempt.
pub async fn a_published_job_is_delivered_as_it_was(maker: &dyn Maker) {
    let (queue, pool) = (maker.open().await, pool());
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    let job = job(&pool, "web");
    within("publish", queue.publish(&job)).await.unwrap();
    let delivery = next(&mut *takings).await;
    assert_eq!(delivery.body().as_ref(), job.encode());
    assert_eq!(delivery.attempt(), 1);
    assert!(delivery.is_ours());
    acknowledge(delivery).await;
    queue.close().await;
}

/// A job whose publishing returned is there after a restart.
pub async fn a_published_job_survives_a_restart(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let published = publish_some(&*queue, &pool, 20).await;
    queue.close().await;
    let queue = maker.open().await;
    let mut takings = within("take", queue.take(&pool, 100)).await.unwrap();
    assert_eq!(acknowledge_all(&mut *takings, published.len()).await, published);
    queue.close().await;
}

/// A job for a pool that no worker ever served is refused.
pub async fn a_pool_never_served_is_refused(maker: &dyn Maker) {
    let (queue, pool) = (maker.open().await, pool());
    assert!(!within("look", queue.is_served(&pool)).await.unwrap());
    let refused = within("publish", queue.publish(&job(&pool, "web"))).await;
    assert!(matches!(&refused, Err(QueueError::NoPool(name)) if *name == pool), "{refused:?}");
    // The refused job waits nowhere.
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    nothing_comes(&mut *takings).await;
    queue.close().await;
}

/// A pool that was served once takes jobs while no worker is there, and after a restart.
pub async fn a_pool_once_served_stays(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    within("publish", queue.publish(&job(&pool, "web"))).await.unwrap();
    queue.close().await;
    let queue = maker.open().await;
    assert!(within("look", queue.is_served(&pool)).await.unwrap());
    within("publish", queue.publish(&job(&pool, "web"))).await.unwrap();
    queue.close().await;
}

/// A taker never holds more unsettled jobs than it asked for; each that it settles makes room for one.
pub async fn a_taker_holds_no_more_than_it_asked_for(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    publish_some(&*queue, &pool, 4).await;
    let mut takings = within("take", queue.take(&pool, 2)).await.unwrap();
    let (first, second) = (next(&mut *takings).await, next(&mut *takings).await);
    nothing_comes(&mut *takings).await;
    acknowledge(first).await;
    let third = next(&mut *takings).await;
    nothing_comes(&mut *takings).await;
    acknowledge(second).await;
    acknowledge(third).await;
    acknowledge(next(&mut *takings).await).await;
    queue.close().await;
}

/// Takers of one pool compete: each job comes to one of them.
pub async fn takers_compete(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let mut one = within("take", queue.take(&pool, 5)).await.unwrap();
    let mut two = within("take", queue.take(&pool, 5)).await.unwrap();
    let published = publish_some(&*queue, &pool, 10).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(next(&mut *one).await);
        held.push(next(&mut *two).await);
    }
    let ids: HashSet<JobId> = held.iter().map(super::id).collect();
    assert_eq!(ids, published, "each once");
    for delivery in held {
        acknowledge(delivery).await;
    }
    queue.close().await;
}

/// A job comes to takers of its own pool only.
pub async fn pools_do_not_mix(maker: &dyn Maker) {
    let (queue, one) = served(maker).await;
    let other = pool();
    let mut of_other = within("take", queue.take(&other, 10)).await.unwrap();
    publish_some(&*queue, &one, 3).await;
    nothing_comes(&mut *of_other).await;
    queue.close().await;
}

/// A taker that waits gets a job when it is published.
pub async fn a_waiting_taker_is_woken(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    nothing_comes(&mut *takings).await;
    let waiting = tokio::spawn(async move { super::id(&next(&mut *takings).await) });
    let job = job(&pool, "web");
    within("publish", queue.publish(&job)).await.unwrap();
    assert_eq!(within("the waiting taker", waiting).await.unwrap(), job.id);
    queue.close().await;
}

/// What is no job is delivered as it is: deciding is the worker's.
pub async fn a_body_that_is_no_job_is_delivered(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    for body in [&b"{\"version\":99}"[..], b"not json", b"\xff\xfe\0", b""] {
        let body = Bytes::from_static(body);
        within("publish bytes", maker.publish_body(&pool, body.clone())).await;
        let delivery = next(&mut *takings).await;
        assert_eq!((delivery.body(), delivery.attempt()), (&body, 1));
        acknowledge(delivery).await;
    }
    queue.close().await;
}

/// Publishing a job again is harmless: one copy comes or both do, each with the same body.
pub async fn copies_of_one_job_are_harmless(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let job = job(&pool, "web");
    within("publish", queue.publish(&job)).await.unwrap();
    within("publish", queue.publish(&job)).await.unwrap();
    let mut takings = within("take", queue.take(&pool, 10)).await.unwrap();
    let first = next(&mut *takings).await;
    assert_eq!(first.body().as_ref(), job.encode());
    acknowledge(first).await;
    if let Ok(second) = tokio::time::timeout(super::QUIET, takings.next()).await {
        let second = second.unwrap();
        assert_eq!(second.body().as_ref(), job.encode());
        acknowledge(second).await;
    }
    nothing_comes(&mut *takings).await;
    queue.close().await;
}

/// Giving up waiting for a job loses none, at whatever instant.
pub async fn giving_up_waiting_loses_nothing(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let mut takings = within("take", queue.take(&pool, 200)).await.unwrap();
    let (publisher, to) = (Arc::clone(&queue), pool.clone());
    let publishing = tokio::spawn(async move { publish_some(&*publisher, &to, 60).await });
    let mut got = HashSet::new();
    let giving_up = async {
        let mut patience_us = 0;
        while got.len() < 60 {
            patience_us = (patience_us + 37) % 2000;
            let patience = std::time::Duration::from_micros(patience_us);
            if let Ok(delivery) = tokio::time::timeout(patience, takings.next()).await {
                let delivery = delivery.unwrap();
                got.insert(super::id(&delivery));
                acknowledge(delivery).await;
            }
        }
    };
    within("all jobs", giving_up).await;
    assert_eq!(got, within("publish", publishing).await.unwrap());
    queue.close().await;
}

/// What a taker had not handed out yet goes to others once it is dropped; what it had stays its own.
pub async fn what_was_taken_ahead_goes_back_with_its_taker(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let published = publish_some(&*queue, &pool, 10).await;
    let mut ahead = within("take", queue.take(&pool, 10)).await.unwrap();
    let held = next(&mut *ahead).await;
    drop(ahead);
    let mut takings = within("take", queue.take(&pool, 10)).await.unwrap();
    let mut came = acknowledge_all(&mut *takings, 9).await;
    assert!(held.is_ours() && came.insert(super::id(&held)), "it is in one pair of hands");
    assert_eq!(came, published);
    acknowledge(held).await;
    nothing_comes(&mut *takings).await;
    queue.close().await;
}

/// A closed queue says so: to new calls, to those who wait, and to `is_available`.
pub async fn a_closed_queue_says_so(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let job = job(&pool, "web");
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    let mut history = within("history", queue.history(Since::Time(proto::Timestamp::now()))).await.unwrap();
    let mut live = within("live", queue.live()).await.unwrap();
    assert!(queue.is_available());
    let waiting = tokio::spawn(async move { takings.next().await.map(drop) });
    within("close", queue.close()).await;
    assert!(!queue.is_available());
    let target = &job.target;
    let answers = [
        within("the waiting taker", waiting).await.unwrap(),
        within("history", async {
            while history.next().await.is_ok() {}
            history.next().await.map(drop)
        })
        .await,
        within("live", live.next()).await.map(drop),
        within("publish", queue.publish(&job)).await,
        within("take", queue.take(&pool, 1)).await.map(drop),
        within("emit", queue.emit(&Event::of(&job, State::Accepted, 0, 0))).await,
        within("mark", queue.mark(uuid::Uuid::now_v7())).await,
        within("history", queue.history(Since::Start)).await.map(drop),
        within("live", queue.live()).await.map(drop),
        within("lock", queue.lock(target)).await.map(drop),
    ];
    for (which, answer) in answers.into_iter().enumerate() {
        assert!(matches!(answer, Err(QueueError::Closed)), "answer {which}: {answer:?}");
    }
    // Closing again is no harm.
    tokio::time::timeout(PATIENCE, queue.close()).await.expect("close returns");
}

/// What is settled after the queue was closed is refused, and comes again.
pub async fn settling_after_closing_is_refused(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let published = publish_some(&*queue, &pool, 1).await;
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    let delivery = next(&mut *takings).await;
    queue.close().await;
    assert!(!delivery.is_ours());
    within("settle", delivery.settle(Settlement::Ack)).await.expect_err("the queue is closed");
    let queue = maker.open().await;
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    assert_eq!(acknowledge_all(&mut *takings, 1).await, published);
    queue.close().await;
}
