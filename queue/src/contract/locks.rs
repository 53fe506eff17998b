//! A target has one writer.

use proto::TargetName;

use super::{Maker, pool, within};
use crate::{Lock, Queue};

fn target(name: &str) -> TargetName {
    TargetName::new(pool(), name).unwrap()
}

async fn lock(queue: &dyn Queue, target: &TargetName) -> Option<Lock> {
    within("lock", queue.lock(target)).await.unwrap()
}

/// Asks again until the lock is free: a broker may take a moment to free one.
async fn lock_once_free(queue: &dyn Queue, target: &TargetName) -> Lock {
    let asking = async {
        loop {
            if let Some(lock) = lock(queue, target).await {
                return lock;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    within("a lock that becomes free", asking).await
}

/// A target has one holder, within one process too.
pub async fn a_target_has_one_holder(maker: &dyn Maker) {
    let (queue, target) = (maker.open().await, target("web"));
    let held = lock(&*queue, &target).await.expect("a free target is locked");
    assert_eq!((held.target(), held.is_held()), (&target, true));
    assert!(lock(&*queue, &target).await.is_none());
    assert!(held.is_held(), "being asked for does not end it");
    queue.close().await;
}

/// A target is free once its lock is dropped.
pub async fn a_dropped_lock_frees_its_target(maker: &dyn Maker) {
    let (queue, target) = (maker.open().await, target("web"));
    for _ in 0..3 {
        let held = lock_once_free(&*queue, &target).await;
        assert!(lock(&*queue, &target).await.is_none());
        drop(held);
    }
    queue.close().await;
}

/// Locking one target locks no other, not even one of the same name in another pool.
pub async fn a_lock_is_for_one_target(maker: &dyn Maker) {
    let (queue, one) = (maker.open().await, target("web"));
    let beside = TargetName::new(one.pool().clone(), "web-2").unwrap();
    let elsewhere = target("web");
    let held = [&one, &beside, &elsewhere].map(|target| lock(&*queue, target));
    for held in futures::future::join_all(held).await {
        assert!(held.expect("each is free").is_held());
    }
    queue.close().await;
}

/// Closing a queue frees what was locked through it, and the holder is told.
pub async fn closing_frees_the_locks(maker: &dyn Maker) {
    let (queue, target) = (maker.open().await, target("web"));
    let held = lock(&*queue, &target).await.expect("a free target is locked");
    queue.close().await;
    assert!(!held.is_held());
    let queue = maker.open().await;
    let again = lock_once_free(&*queue, &target).await;
    drop(held);
    assert!(again.is_held());
    assert!(lock(&*queue, &target).await.is_none(), "the remains of the old lock free nothing");
    queue.close().await;
}

/// Of two processes, one holds a target. An engine for one process refuses the second
/// process altogether.
pub async fn a_target_has_one_holder_among_processes(maker: &dyn Maker) {
    let (one, target) = (maker.open().await, target("web"));
    let Some(two) = maker.open_beside().await else { return one.close().await };
    let held = lock(&*one, &target).await.expect("a free target is locked");
    assert!(lock(&*two, &target).await.is_none());
    drop(held);
    let held = lock_once_free(&*two, &target).await;
    assert!(lock(&*one, &target).await.is_none());
    drop(held);
    one.close().await;
    two.close().await;
}
