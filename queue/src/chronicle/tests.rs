use proto::{PoolName, State};

use super::*;
use crate::{
    Since,
    contract::{self, slow::SlowHistory},
};

/// A chronicle, and the places it was shown.
fn follow(queue: &SlowHistory, since: Since) -> (Chronicle, Arc<Mutex<Vec<u64>>>) {
    let read = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&read);
    let chronicle = Chronicle::follow(Arc::new(queue.clone()), since, move |recorded| {
        noted.lock().unwrap().push(recorded.position.0);
    });
    (chronicle, read)
}

/// So many entries, a hundred a second.
fn slow(entries: u64) -> SlowHistory {
    let entries = (0..entries).map(|_| Entry::Marker(Uuid::now_v7()));
    SlowHistory::new(entries, Duration::from_millis(10), u64::MAX)
}

const PATIENCE: Duration = Duration::from_secs(30);
const LONG: u64 = 11_000;

fn window() -> Since {
    Since::Time(Timestamp::now() - Duration::from_secs(25 * 3600))
}

#[tokio::test(start_paused = true)]
async fn a_history_that_takes_longer_than_anybody_waits_is_read_once_to_its_end() {
    let queue = slow(LONG);
    let (chronicle, read) = follow(&queue, window());
    // As whoever starts and asks again and again, beside others that want to see what they said.
    while chronicle.catch_up(PATIENCE).await.is_err() {
        let _ = chronicle.catch_up(Duration::from_secs(10)).await;
    }
    let read = read.lock().unwrap();
    assert!(read.iter().copied().eq(0..read.len() as u64), "each once, in order");
    assert!(read.len() as u64 > LONG);
    assert_eq!(queue.opened().len(), 1, "{:?}", queue.opened());
}

#[tokio::test(start_paused = true)]
async fn who_reads_up_waits_for_as_long_as_it_gets_on_and_hears_how_far_it_is() {
    let queue = slow(LONG);
    let (chronicle, _) = follow(&queue, window());
    let mut told = Vec::new();
    let reached = chronicle.read_up(PATIENCE, |reached| told.push(reached.entries)).await.unwrap();
    assert_eq!(reached, Position(LONG));
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.is_sorted() && told[0] > 2000, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_sees_nothing_goes_on_where_it_was_and_only_then_begins_anew() {
    let queue = slow(100);
    let (chronicle, _) = follow(&queue, window());
    let head = chronicle.catch_up(PATIENCE).await.unwrap();
    queue.show_up_to(Position(head.0 + 1));
    chronicle.read_up(PATIENCE, |_| {}).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(queue.opened()[1..], [Since::After(head)]);
    chronicle.catch_up(PATIENCE).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(matches!(queue.opened()[2], Since::Time(_)), "{:?}", queue.opened());
    queue.show_up_to(Position(u64::MAX));
    chronicle.catch_up(PATIENCE).await.unwrap();
    assert_eq!(queue.opened().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn several_who_doubt_the_same_silence_open_it_once() {
    let queue = slow(100);
    let (chronicle, _) = follow(&queue, window());
    let head = chronicle.catch_up(PATIENCE).await.unwrap();
    queue.show_up_to(head);
    let ten = Duration::from_secs(10);
    let waited = tokio::join!(chronicle.catch_up(ten), chronicle.catch_up(ten), chronicle.catch_up(ten));
    assert!(waited.0.is_err() && waited.1.is_err() && waited.2.is_err());
    tokio::time::sleep(Duration::from_secs(1)).await;
    queue.show_up_to(Position(u64::MAX));
    chronicle.catch_up(PATIENCE).await.unwrap();
    assert_eq!(queue.opened()[1..], [Since::After(head)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_told_and_never_read_makes_the_reader_doubtful_though_nobody_waits_for_it() {
    let queue = slow(100);
    let (chronicle, _) = follow(&queue, window());
    let head = chronicle.catch_up(PATIENCE).await.unwrap();
    let event = Event::of(&contract::job(&PoolName::default(), "web"), State::Accepted, 0, 0);
    chronicle.tell(&event, PATIENCE).await.unwrap();
    tokio::time::sleep(4 * DEAF_AFTER).await;
    assert_eq!(queue.opened().len(), 1, "it was read: {:?}", queue.opened());
    queue.show_up_to(Position(head.0 + 1));
    chronicle.tell(&event, PATIENCE).await.unwrap();
    tokio::time::sleep(3 * DEAF_AFTER).await;
    assert_eq!(queue.opened().get(1), Some(&Since::After(Position(head.0 + 1))), "{:?}", queue.opened());
}

#[tokio::test(start_paused = true)]
async fn a_moment_of_silence_is_no_reason_to_doubt() {
    let queue = slow(100);
    let (chronicle, _) = follow(&queue, window());
    let head = chronicle.catch_up(PATIENCE).await.unwrap();
    queue.show_up_to(head);
    for _ in 0..3 {
        chronicle.catch_up(Duration::from_secs(1)).await.unwrap_err();
    }
    queue.show_up_to(Position(u64::MAX));
    chronicle.catch_up(PATIENCE).await.unwrap();
    assert_eq!(queue.opened().len(), 1, "{:?}", queue.opened());
}

#[tokio::test(start_paused = true)]
async fn who_reads_up_does_not_wait_for_a_marker_that_was_lost() {
    let queue = slow(LONG);
    queue.lose_a_marker();
    let (chronicle, _) = follow(&queue, window());
    let reached = chronicle.read_up(PATIENCE, |_| {}).await.unwrap();
    assert_eq!(reached, Position(LONG));
}
