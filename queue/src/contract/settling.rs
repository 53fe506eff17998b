//! A delivery is settled by value, and comes back or not accordingly.

use std::time::{Duration, Instant};

use proto::{Reason, reason};

use super::{
    Maker, acknowledge, acknowledge_all, id, next, nothing_comes, publish_some, served, settle, within,
};
use crate::Settlement;

/// A job that was acknowledged never comes again, not after a restart either.
pub async fn an_acknowledged_job_is_gone(maker: &dyn Maker) {
    ended_by(maker, Settlement::Ack).await;
}

/// A job that went to the dead letters never comes again, not after a restart either.
pub async fn a_dead_job_is_gone(maker: &dyn Maker) {
    let reason = Reason::new(reason::UNDECODABLE, "not a job");
    ended_by(maker, Settlement::Dead { reason }).await;
}

async fn ended_by(maker: &dyn Maker, how: Settlement) {
    let (queue, pool) = served(maker).await;
    publish_some(&*queue, &pool, 1).await;
    let mut takings = within("take", queue.take(&pool, 10)).await.unwrap();
    settle(next(&mut *takings).await, how).await;
    nothing_comes(&mut *takings).await;
    queue.close().await;
    let queue = maker.open().await;
    let mut takings = within("take", queue.take(&pool, 10)).await.unwrap();
    nothing_comes(&mut *takings).await;
    queue.close().await;
}

/// A retried job comes back, not before its time, and the attempt counts.
pub async fn a_retried_job_comes_back_counted(maker: &dyn Maker) {
    let after = maker.shortest_delay();
    comes_back(maker, Settlement::Retry { after }, after, 2).await;
}

/// A snoozed job comes back, not before its time, and the attempt does not count.
pub async fn a_snoozed_job_comes_back_uncounted(maker: &dyn Maker) {
    let after = maker.shortest_delay();
    comes_back(maker, Settlement::Snooze { after }, after, 1).await;
}

/// A released job comes back, and the attempt does not count.
pub async fn a_released_job_comes_back_uncounted(maker: &dyn Maker) {
    comes_back(maker, Settlement::Release, Duration::ZERO, 1).await;
}

async fn comes_back(maker: &dyn Maker, how: Settlement, not_before: Duration, attempt: u32) {
    let (queue, pool) = served(maker).await;
    publish_some(&*queue, &pool, 1).await;
    let mut takings = within("take", queue.take(&pool, 10)).await.unwrap();
    let first = next(&mut *takings).await;
    let (job, body) = (id(&first), first.body().clone());
    let settled = Instant::now();
    settle(first, how).await;
    let again = next(&mut *takings).await;
    assert!(settled.elapsed() >= not_before, "{:?} is before {not_before:?}", settled.elapsed());
    assert_eq!((id(&again), again.attempt()), (job, attempt));
    assert_eq!(again.body(), &body);
    acknowledge(again).await;
    nothing_comes(&mut *takings).await;
    queue.close().await;
}

/// Every retry counts, and what does not count keeps the count.
pub async fn attempts_add_up(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    publish_some(&*queue, &pool, 1).await;
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    let after = maker.shortest_delay();
    let ways = [
        (Settlement::Retry { after }, 1),
        (Settlement::Snooze { after }, 2),
        (Settlement::Release, 2),
        (Settlement::Retry { after }, 2),
        (Settlement::Ack, 3),
    ];
    for (how, attempt) in ways {
        let delivery = next(&mut *takings).await;
        assert_eq!(delivery.attempt(), attempt, "before {how:?}");
        settle(delivery, how).await;
    }
    queue.close().await;
}

/// How long a job was set aside adds up over restarts, until somebody has it who can read it.
pub async fn a_job_remembers_how_long_it_was_set_aside(maker: &dyn Maker) {
    let (mut queue, pool) = served(maker).await;
    publish_some(&*queue, &pool, 2).await;
    let after = maker.shortest_delay();
    let ways = [
        (Settlement::SetAside { after }, 0),
        (Settlement::Release, 1),
        (Settlement::SetAside { after: 2 * after }, 1),
        (Settlement::Snooze { after }, 3),
        (Settlement::SetAside { after }, 0),
        (Settlement::Retry { after }, 1),
        (Settlement::Ack, 0),
    ];
    for (how, times) in ways {
        let mut takings = within("take", queue.take(&pool, 2)).await.unwrap();
        // Both, so that each is told of apart.
        let both = [next(&mut *takings).await, next(&mut *takings).await];
        for delivery in both {
            assert_eq!(delivery.set_aside(), times * after, "before {how:?}");
            settle(delivery, how.clone()).await;
        }
        queue.close().await;
        queue = maker.open().await;
    }
    publish_some(&*queue, &pool, 1).await;
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    let other = next(&mut *takings).await;
    assert_eq!(other.set_aside(), Duration::ZERO, "it is no other's");
    acknowledge(other).await;
    queue.close().await;
}

/// Where another process may have had a job before, its delivery says so, however it came back.
pub async fn a_delivery_says_that_it_was_given_out_before(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    publish_some(&*queue, &pool, 1).await;
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    let beside = maker.open_beside().await;
    let after = maker.shortest_delay();
    let mut is_first = true;
    for how in
        [Settlement::Release, Settlement::Snooze { after }, Settlement::Retry { after }, Settlement::Ack]
    {
        let delivery = next(&mut *takings).await;
        assert_eq!(delivery.came_back(), !is_first && beside.is_some(), "before {how:?}");
        is_first = false;
        settle(delivery, how).await;
    }
    if let Some(beside) = beside {
        beside.close().await;
    }
    queue.close().await;
}

/// A delivery that is dropped unsettled comes again, and the attempt does not count.
pub async fn a_dropped_delivery_comes_again(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    publish_some(&*queue, &pool, 1).await;
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    let first = next(&mut *takings).await;
    let job = id(&first);
    drop(first);
    let again = next(&mut *takings).await;
    assert_eq!((id(&again), again.attempt()), (job, 1));
    acknowledge(again).await;
    queue.close().await;
}

/// What was unsettled when the queue ended comes again after a restart, and the attempt does not count.
pub async fn unsettled_jobs_survive_a_restart(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let published = publish_some(&*queue, &pool, 5).await;
    let mut takings = within("take", queue.take(&pool, 5)).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(next(&mut *takings).await);
    }
    queue.close().await;
    drop(held);
    let queue = maker.open().await;
    let mut takings = within("take", queue.take(&pool, 10)).await.unwrap();
    assert_eq!(acknowledge_all(&mut *takings, 5).await, published);
    queue.close().await;
}

/// A delayed job outlives a restart, keeps its attempt, and does not come before its time.
pub async fn a_delayed_job_survives_a_restart(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    publish_some(&*queue, &pool, 1).await;
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    let delivery = next(&mut *takings).await;
    let (job, after) = (id(&delivery), maker.shortest_delay());
    let settled = Instant::now();
    settle(delivery, Settlement::Retry { after }).await;
    queue.close().await;
    let queue = maker.open().await;
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    let again = next(&mut *takings).await;
    assert!(settled.elapsed() >= after, "{:?} is before {after:?}", settled.elapsed());
    assert_eq!((id(&again), again.attempt()), (job, 2));
    acknowledge(again).await;
    queue.close().await;
}

/// A job that waits for its time keeps no other waiting.
pub async fn a_delayed_job_holds_up_nobody(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    publish_some(&*queue, &pool, 1).await;
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    let delivery = next(&mut *takings).await;
    let delayed = id(&delivery);
    settle(delivery, Settlement::Snooze { after: Duration::from_secs(5) }).await;
    let published = publish_some(&*queue, &pool, 3).await;
    let came = acknowledge_all(&mut *takings, 3).await;
    assert_eq!(came, published);
    assert!(!came.contains(&delayed));
    queue.close().await;
}
