//! How much may wait in the embedded queue, and how many dead letters stay there, by their size.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

use std::{path::Path, time::Duration};

use bytes::Bytes;
use config::Bytes as Amount;
use proto::{PoolName, Reason, reason};
use queue::{
    Closed, Deliveries, Delivery, Keep, Kept, Queue, QueueError, Settlement, Waiting, contract::ear::Ear,
    embedded::Embedded,
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of every body.
const BODY: u64 = 1000;

fn pool() -> PoolName {
    "bounds".parse().unwrap()
}

fn body(n: u8) -> Bytes {
    Bytes::from(vec![n; usize::try_from(BODY).unwrap()])
}

/// Room for so many bodies to wait, and a little more.
fn room_for(bodies: u64) -> Keep {
    Keep { waiting: Waiting { bytes: Amount(bodies * BODY + 10), ..Waiting::default() }, ..Keep::default() }
}

async fn open(dir: &Path, keep: Keep) -> (Embedded, Box<dyn Deliveries>) {
    let queue = Embedded::open_keeping(dir, keep).unwrap();
    let takings = queue.take(&pool(), 100).await.unwrap();
    (queue, takings)
}

async fn next(takings: &mut dyn Deliveries) -> Delivery {
    tokio::time::timeout(PATIENCE, takings.next()).await.unwrap().unwrap()
}

async fn is_full(queue: &Embedded) -> bool {
    match queue.publish_body(&pool(), body(0)).await {
        Ok(()) => false,
        Err(QueueError::Full) => true,
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn what_waits_is_bounded_by_its_bytes() {
    let dir = TempDir::new().unwrap();
    let (queue, mut takings) = open(dir.path(), room_for(3)).await;
    for _ in 0..3 {
        assert!(!is_full(&queue).await);
    }
    assert!(is_full(&queue).await);
    // What was taken in is never refused, whatever becomes of it.
    let again = Settlement::Retry { after: Duration::from_secs(3600) };
    next(&mut *takings).await.settle(again).await.unwrap();
    let released = next(&mut *takings).await;
    released.settle(Settlement::Release).await.unwrap();
    assert!(is_full(&queue).await);
    next(&mut *takings).await.settle(Settlement::Ack).await.unwrap();
    assert!(!is_full(&queue).await);
    let dead = Settlement::Dead { reason: Reason::new(reason::GIVEN_UP, "as told") };
    next(&mut *takings).await.settle(dead).await.unwrap();
    assert!(!is_full(&queue).await);
    assert!(is_full(&queue).await);
    queue.close().await;
}

#[tokio::test]
async fn many_that_come_at_once_are_bounded_together() {
    let dir = TempDir::new().unwrap();
    let (queue, _takings) = open(dir.path(), room_for(10)).await;
    let (pool, coming) = (pool(), body(1));
    let publishing = (0..64).map(|_| queue.publish_body(&pool, coming.clone()));
    let published = futures::future::join_all(publishing).await;
    assert_eq!(published.iter().filter(|published| published.is_ok()).count(), 10);
    assert!(published.iter().all(|published| matches!(published, Ok(()) | Err(QueueError::Full))));
    queue.close().await;
}

/// The files as they lie there are what a kill leaves.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[tokio::test]
async fn the_bytes_are_counted_over_starts_and_kills() {
    let dir = TempDir::new().unwrap();
    let [first, killed] = ["first", "killed"].map(|name| dir.path().join(name));
    let (queue, mut takings) = open(&first, room_for(5)).await;
    for _ in 0..4 {
        assert!(!is_full(&queue).await);
    }
    next(&mut *takings).await.settle(Settlement::Ack).await.unwrap();
    // What the journal alone has counts likewise.
    copy(&first, &killed);
    queue.close().await;
    drop(takings);
    for dir in [first, killed] {
        let (queue, _takings) = open(&dir, room_for(5)).await;
        assert!(
            queue.has_room(2, 2 * BODY) && !queue.has_room(3, 3 * BODY) && !queue.has_room(1, 2 * BODY + 11)
        );
        assert!(!is_full(&queue).await && !is_full(&queue).await, "three wait, of five");
        assert!(is_full(&queue).await && !queue.has_room(1, BODY));
        queue.close().await;
    }
}

#[tokio::test]
async fn of_too_many_bytes_of_letters_the_oldest_go_and_that_is_told() {
    const TOLD: &str = "the oldest dead letters were dropped";
    let ear = Ear::default();
    // The writer has a thread of its own.
    tracing::subscriber::set_global_default(ear.clone()).unwrap();
    let dir = TempDir::new().unwrap();
    let why = Reason::new(reason::GIVEN_UP, "as told");
    let each = BODY + serde_json::to_vec(&why).unwrap().len() as u64;
    let letters = Kept { bytes: Amount(3 * each), ..Kept::default() };
    let keep = Keep { letters, ..Keep::default() };
    let (queue, takings) = open(dir.path(), keep).await;
    // Whoever did something hears of it before the writer tells what else came of it, but the next after that.
    let told = async |queue: &Embedded| {
        assert!(!is_full(queue).await);
        ear.heard(TOLD)
    };
    let bury = async |queue: &Embedded, n: u8| queue.bury(body(n), &pool(), 1, &why).await.unwrap();
    let open_letters = async |queue: &Embedded| -> Vec<u8> {
        queue.dead_letters().await.unwrap().iter().map(|letter| letter.body[0]).collect()
    };
    for n in 0..3 {
        bury(&queue, n).await;
    }
    assert_eq!((open_letters(&queue).await, told(&queue).await), (vec![0, 1, 2], 0));
    bury(&queue, 3).await;
    assert_eq!((open_letters(&queue).await, told(&queue).await), (vec![1, 2, 3], 1));
    // One that somebody looked at is no loss.
    let oldest = queue.dead_letters().await.unwrap()[0].id;
    queue.close_letter(oldest, Closed::Discarded { by: None }).await.unwrap();
    bury(&queue, 4).await;
    assert_eq!((open_letters(&queue).await, told(&queue).await), (vec![2, 3, 4], 1));
    // One that is larger than all may be stays, alone.
    let large = Bytes::from(vec![9; 10_000]);
    queue.bury(large, &pool(), 1, &why).await.unwrap();
    assert_eq!((open_letters(&queue).await, told(&queue).await), (vec![9], 2));
    queue.close().await;
    drop(takings);
    // What is there already counts after a start too.
    let (queue, _takings) = open(dir.path(), keep).await;
    bury(&queue, 10).await;
    assert_eq!((open_letters(&queue).await, told(&queue).await), (vec![10], 3));
    queue.close().await;
}
