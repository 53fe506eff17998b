//! What was confirmed is there after a kill: nothing was put away first.

use std::{collections::HashSet, time::Instant};

use proto::{Event, Reason, State, reason};

use super::{
    Maker, acknowledge, acknowledge_all, id, job, next, nothing_comes, pool, publish_some, served, settle,
    within,
};
use crate::{Entry, Settlement, Since};

/// A job whose publishing returned is there after a crash, and its pool takes more.
pub async fn a_published_job_survives_a_crash(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let mut published = publish_some(&*queue, &pool, 20).await;
    maker.crash().await;
    let queue = maker.open().await;
    published.extend(publish_some(&*queue, &pool, 2).await);
    let mut takings = within("take", queue.take(&pool, 100)).await.unwrap();
    assert_eq!(acknowledge_all(&mut *takings, published.len()).await, published);
    queue.close().await;
}

/// What was in hand at a crash comes again, and the attempt does not count; its locks are free.
pub async fn what_was_in_hand_survives_a_crash(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let published = publish_some(&*queue, &pool, 5).await;
    let mut takings = within("take", queue.take(&pool, 5)).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(next(&mut *takings).await);
    }
    let target = job(&pool, "web").target;
    let _lock = within("lock", queue.lock(&target)).await.unwrap().unwrap();
    maker.crash().await;
    let queue = maker.open().await;
    let mut takings = within("take", queue.take(&pool, 10)).await.unwrap();
    assert_eq!(acknowledge_all(&mut *takings, 5).await, published);
    let free = async { while queue.lock(&target).await.unwrap().is_none() {} };
    within("the lock is free", free).await;
    queue.close().await;
}

/// What was settled before a crash stays settled: an acknowledged job is gone, a delayed one keeps its attempt and
/// does not come before its time. Where an acknowledgement can be lost on its way, each may come once more as it was.
pub async fn what_was_settled_stays_so_after_a_crash(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    publish_some(&*queue, &pool, 2).await;
    let mut takings = within("take", queue.take(&pool, 2)).await.unwrap();
    let acknowledged = next(&mut *takings).await;
    let mut may_come_again = vec![id(&acknowledged)];
    acknowledge(acknowledged).await;
    let delayed = next(&mut *takings).await;
    let (job, after) = (id(&delayed), maker.shortest_delay());
    may_come_again.push(job);
    let settled = Instant::now();
    settle(delayed, Settlement::Retry { after }).await;
    maker.crash().await;
    let queue = maker.open().await;
    let mut takings = within("take", queue.take(&pool, 2)).await.unwrap();
    let mut comes = next(&mut *takings).await;
    while !maker.settles_for_good() && comes.attempt() == 1 {
        let copy = may_come_again.iter().position(|settled| *settled == id(&comes));
        may_come_again.remove(copy.expect("a copy of what was settled, and only one"));
        acknowledge(comes).await;
        comes = next(&mut *takings).await;
    }
    assert!(settled.elapsed() >= after, "{:?} is before {after:?}", settled.elapsed());
    assert_eq!((id(&comes), comes.attempt()), (job, 2));
    acknowledge(comes).await;
    if maker.settles_for_good() {
        nothing_comes(&mut *takings).await;
    }
    queue.close().await;
}

/// What was said, and what died, is there after a crash.
pub async fn the_history_and_the_letters_survive_a_crash(maker: &dyn Maker) {
    let (queue, served_pool) = served(maker).await;
    publish_some(&*queue, &served_pool, 1).await;
    let mut takings = within("take", queue.take(&served_pool, 1)).await.unwrap();
    let dying = next(&mut *takings).await;
    let died = id(&dying);
    let reason = Reason::new(reason::UNREACHABLE, "no route to the dock");
    settle(dying, Settlement::Dead { reason: reason.clone() }).await;
    let told = job(&pool(), "web");
    let mut said = HashSet::new();
    for n in 0..5 {
        let event = Event::of(&told, State::Retrying, 1, n);
        within("emit", queue.emit(&event)).await.unwrap();
        said.insert(event.id);
    }
    maker.crash().await;
    let queue = maker.open().await;
    let letters = within("letters", queue.dead_letters()).await.unwrap();
    let [letter] = &letters[..] else { panic!("one letter: {letters:?}") };
    assert_eq!((letter.job().map(|job| job.id), &letter.reason), (Some(died), &reason));
    let mut history = within("history", queue.history(Since::Start)).await.unwrap();
    let all_read = async {
        while !said.is_empty() {
            if let Entry::Event(event) = history.next().await.unwrap().entry {
                said.remove(&event.id);
            }
        }
    };
    within("all that was said", all_read).await;
    queue.close().await;
}
