//! What was said, in one order for all readers.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::{Event, EventId, Job, State, Timestamp};
use uuid::Uuid;

use super::{Maker, job, pool, within};
use crate::{Chronicle, Clocks, Entry, History, Position, Queue, Recorded, Since};

async fn emit(queue: &dyn Queue, event: &Event) {
    within("emit", queue.emit(event)).await.unwrap();
}

async fn read(queue: &dyn Queue, since: Since) -> Box<dyn History> {
    within("history", queue.history(since)).await.unwrap()
}

/// Says `count` different events of a job.
async fn emit_some(queue: &dyn Queue, job: &Job, count: u64) -> Vec<EventId> {
    let mut said = Vec::new();
    for n in 0..count {
        let event = Event::of(job, State::Retrying, 1, n);
        emit(queue, &event).await;
        said.push(event.id);
    }
    said
}

/// Everything up to a marker that is written now.
async fn read_all(queue: &dyn Queue, history: &mut dyn History) -> Vec<Recorded> {
    let marker = Uuid::now_v7();
    within("mark", queue.mark(marker)).await.unwrap();
    let reading = async {
        let mut read = Vec::new();
        loop {
            let recorded = history.next().await.unwrap();
            if recorded.entry == Entry::Marker(marker) {
                return read;
            }
            read.push(recorded);
        }
    };
    within("the marker", reading).await
}

/// The events of one job, whatever else the history holds.
fn of<'a>(job: &'a Job, read: &'a [Recorded]) -> impl Iterator<Item = (Position, &'a Event)> {
    read.iter().filter_map(|recorded| match &recorded.entry {
        Entry::Event(event) if event.job_id() == job.id => Some((recorded.position, &**event)),
        Entry::Event(_) | Entry::Catalogue(_) | Entry::Marker(_) | Entry::Unreadable(_) => None,
    })
}

fn ids(job: &Job, read: &[Recorded]) -> Vec<EventId> {
    of(job, read).map(|(_, event)| event.id).collect()
}

/// An event is read as it was said.
pub async fn an_event_is_read_as_it_was_said(maker: &dyn Maker) {
    let (queue, job) = (maker.open().await, job(&pool(), "web"));
    let event = Event::of(&job, State::Accepted, 0, 0);
    emit(&*queue, &event).await;
    let read = read_all(&*queue, &mut *read(&*queue, Since::Start).await).await;
    assert_eq!(of(&job, &read).map(|(_, event)| event.clone()).collect::<Vec<_>>(), [event]);
    queue.close().await;
}

/// Whatever is said at the same time, all readers read it in one order.
pub async fn all_readers_read_one_order(maker: &dyn Maker) {
    let (queue, pool) = (maker.open().await, pool());
    let mut early = read(&*queue, Since::Start).await;
    let jobs: Vec<Job> = (0..4).map(|n| job(&pool, &format!("web-{n}"))).collect();
    let emitting = jobs.iter().map(|job| emit_some(&*queue, job, 10));
    futures::future::join_all(emitting).await;
    let by_early = read_all(&*queue, &mut *early).await;
    let by_late = read_all(&*queue, &mut *read(&*queue, Since::Start).await).await;
    let mine = |read: &[Recorded]| -> Vec<(Position, EventId)> {
        let jobs: HashSet<_> = jobs.iter().map(|job| job.id).collect();
        let events = read.iter().filter_map(|recorded| match &recorded.entry {
            Entry::Event(event) if jobs.contains(&event.job_id()) => Some((recorded.position, event.id)),
            Entry::Event(_) | Entry::Catalogue(_) | Entry::Marker(_) | Entry::Unreadable(_) => None,
        });
        events.collect()
    };
    assert_eq!(mine(&by_early).len(), 40);
    assert_eq!(mine(&by_early), mine(&by_late));
    assert!(by_late.windows(2).all(|pair| pair[0].position < pair[1].position), "places only grow");
    queue.close().await;
}

/// What one caller says after the other comes after it.
pub async fn what_is_said_later_is_read_later(maker: &dyn Maker) {
    let (queue, job) = (maker.open().await, job(&pool(), "web"));
    let said = emit_some(&*queue, &job, 10).await;
    let read = read_all(&*queue, &mut *read(&*queue, Since::Start).await).await;
    assert_eq!(ids(&job, &read), said);
    queue.close().await;
}

/// An event said again is the same event: it keeps its id, by which readers drop it.
pub async fn an_event_said_again_keeps_its_id(maker: &dyn Maker) {
    let (queue, job) = (maker.open().await, job(&pool(), "web"));
    let event = Event::of(&job, State::Succeeded, 1, 0);
    for _ in 0..3 {
        emit(&*queue, &event).await;
    }
    let read = read_all(&*queue, &mut *read(&*queue, Since::Start).await).await;
    assert_eq!(ids(&job, &read).into_iter().collect::<HashSet<_>>(), HashSet::from([event.id]));
    assert!(of(&job, &read).all(|(_, read)| *read == event));
    queue.close().await;
}

/// The history outlives a restart, and what is said afterwards comes after it.
pub async fn the_history_survives_a_restart(maker: &dyn Maker) {
    let (queue, job) = (maker.open().await, job(&pool(), "web"));
    let mut said = emit_some(&*queue, &job, 5).await;
    queue.close().await;
    let queue = maker.open().await;
    let late = Event::of(&job, State::Succeeded, 1, 0);
    emit(&*queue, &late).await;
    said.push(late.id);
    let read = read_all(&*queue, &mut *read(&*queue, Since::Start).await).await;
    assert_eq!(ids(&job, &read), said);
    queue.close().await;
}

/// A reader after a place begins with the first entry behind it.
pub async fn reading_after_a_place(maker: &dyn Maker) {
    let (queue, job) = (maker.open().await, job(&pool(), "web"));
    let said = emit_some(&*queue, &job, 6).await;
    let all = read_all(&*queue, &mut *read(&*queue, Since::Start).await).await;
    let (place, third) = of(&job, &all).nth(2).map(|(place, event)| (place, event.id)).unwrap();
    assert_eq!(third, said[2]);
    let mut after = read(&*queue, Since::After(place)).await;
    let read = read_all(&*queue, &mut *after).await;
    assert!(read.iter().all(|recorded| recorded.position > place));
    assert_eq!(ids(&job, &read), said[3..]);
    queue.close().await;
}

/// A reader from a time reads all that was said since; it may begin somewhat earlier.
pub async fn reading_from_a_time(maker: &dyn Maker) {
    let (queue, job) = (maker.open().await, job(&pool(), "web"));
    emit_some(&*queue, &job, 5).await;
    let time = Timestamp::now();
    let mut said = Vec::new();
    for n in 100..105 {
        let event = Event::of(&job, State::Retrying, 1, n);
        emit(&*queue, &event).await;
        said.push(event.id);
    }
    let read_since = read_all(&*queue, &mut *read(&*queue, Since::Time(time)).await).await;
    assert!(ids(&job, &read_since).ends_with(&said), "all since the time");
    let long_ago = time.saturating_sub(jiff::SignedDuration::from_hours(1)).unwrap();
    let read_more = read_all(&*queue, &mut *read(&*queue, Since::Time(long_ago)).await).await;
    assert_eq!(ids(&job, &read_more).len(), 10);
    queue.close().await;
}

/// A reader at the end waits for what is said next.
pub async fn a_reader_waits_at_the_end(maker: &dyn Maker) {
    let (queue, job) = (maker.open().await, job(&pool(), "web"));
    let mut history = read(&*queue, Since::Start).await;
    read_all(&*queue, &mut *history).await;
    let waiting = tokio::spawn(async move { history.next().await.unwrap().entry });
    let event = Event::of(&job, State::Started, 1, 1);
    emit(&*queue, &event).await;
    let entry = within("the waiting reader", waiting).await.unwrap();
    assert_eq!(entry, Entry::Event(Box::new(event)));
    queue.close().await;
}

/// Giving up waiting for an entry loses none.
pub async fn giving_up_reading_loses_nothing(maker: &dyn Maker) {
    let (queue, job) = (maker.open().await, job(&pool(), "web"));
    let mut history = read(&*queue, Since::Start).await;
    let (teller, of_job) = (Arc::clone(&queue), job.clone());
    let telling = tokio::spawn(async move { emit_some(&*teller, &of_job, 50).await });
    let mut seen = Vec::new();
    let giving_up = async {
        let mut patience_us = 0;
        while seen.len() < 50 {
            patience_us = (patience_us + 37) % 2000;
            let patience = Duration::from_micros(patience_us);
            if let Ok(recorded) = tokio::time::timeout(patience, history.next()).await {
                seen.extend(ids(&job, &[recorded.unwrap()]));
            }
        }
    };
    within("all events", giving_up).await;
    assert_eq!(seen, within("emit", telling).await.unwrap());
    queue.close().await;
}

/// Whoever reads a marker has read everything said before it.
pub async fn a_marker_comes_after_what_was_said_before(maker: &dyn Maker) {
    let (queue, job) = (maker.open().await, job(&pool(), "web"));
    let mut history = read(&*queue, Since::Start).await;
    for n in 0..10 {
        let event = Event::of(&job, State::Retrying, 1, n);
        emit(&*queue, &event).await;
        assert!(ids(&job, &read_all(&*queue, &mut *history).await).contains(&event.id));
    }
    queue.close().await;
}

/// Progress comes to those who listen, and is not in the history; nothing else comes to them.
pub async fn progress_is_live_only(maker: &dyn Maker) {
    let (queue, job) = (maker.open().await, job(&pool(), "web"));
    let mut live = within("live", queue.live()).await.unwrap();
    emit(&*queue, &Event::of(&job, State::Started, 1, 1)).await;
    let progress = Event::of(&job, State::Progress, 1, 2);
    emit(&*queue, &progress).await;
    let hearing = async {
        loop {
            let heard = live.next().await.unwrap();
            assert_eq!(heard.state(), State::Progress);
            if heard.job_id() == job.id {
                return heard;
            }
        }
    };
    assert_eq!(within("progress", hearing).await, progress);
    let read = read_all(&*queue, &mut *read(&*queue, Since::Start).await).await;
    let states: Vec<State> = of(&job, &read).map(|(_, event)| event.state()).collect();
    assert_eq!(states, [State::Started]);
    queue.close().await;
}

/// Progress that nobody listens to is no failure.
pub async fn progress_without_listeners_is_fine(maker: &dyn Maker) {
    let (queue, job) = (maker.open().await, job(&pool(), "web"));
    emit(&*queue, &Event::of(&job, State::Progress, 1, 1)).await;
    queue.close().await;
}

/// What a chronicle says has been read by its reader when it returns; so has all that was said before
/// catching up.
pub async fn a_chronicle_has_read_what_it_said(maker: &dyn Maker) {
    let (queue, job) = (maker.open().await, job(&pool(), "web"));
    emit(&*queue, &Event::of(&job, State::Accepted, 0, 0)).await;
    let read: Arc<Mutex<Vec<Recorded>>> = Arc::default();
    let reader = Arc::clone(&read);
    let chronicle = Chronicle::follow(Arc::clone(&queue), Since::Start, move |recorded| {
        reader.lock().unwrap().push(recorded.clone());
    });
    let states =
        || -> Vec<State> { of(&job, &read.lock().unwrap()).map(|(_, event)| event.state()).collect() };
    chronicle.catch_up(super::PATIENCE).await.unwrap();
    assert_eq!(states(), [State::Accepted]);
    let said = chronicle.say(&Event::of(&job, State::Started, 1, 1), super::PATIENCE).await.unwrap();
    assert_eq!(states(), [State::Accepted, State::Started]);
    emit(&*queue, &Event::of(&job, State::Succeeded, 1, 0)).await;
    let caught_up = chronicle.catch_up(super::PATIENCE).await.unwrap();
    assert!(caught_up > said);
    assert_eq!(states(), [State::Accepted, State::Started, State::Succeeded]);
    queue.close().await;
}

/// By the history itself, which the broker keeps by its own clock.
pub async fn clocks_that_are_apart_are_found(maker: &dyn Maker) {
    let queue = maker.open().await;
    emit_some(&*queue, &job(&pool(), "web"), 5).await;
    let chronicle = Chronicle::follow(Arc::clone(&queue), Since::Start, |_| {});
    let (apart, by) = (Duration::from_secs(3600), Duration::from_secs(600));
    let now = Timestamp::now();
    for (here, found) in [(now, Clocks::Agree), (now + apart, Clocks::Ahead), (now - apart, Clocks::Behind)] {
        let compared = within("compare the clocks", chronicle.compare_clocks(here, by)).await;
        assert_eq!(compared.unwrap(), found, "{here}");
        let behind = chronicle.is_behind_by(here, by, Duration::from_secs(1));
        let behind = within("find out how far it is behind", behind).await.unwrap();
        match found {
            Clocks::Behind => assert!(behind.abs_diff(apart) < Duration::from_secs(60), "{behind:?}"),
            Clocks::Agree | Clocks::Ahead => assert_eq!(behind, Duration::ZERO),
        }
    }
    queue.close().await;
}
