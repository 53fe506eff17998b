//! Saying events, reading them back, and listening to progress.

use std::{sync::Arc, time::Duration};

use lapin::types::FieldTable;
use proto::{Event, State, Timestamp};
use queue::{Chronicle, Entry, History, Position, Queue, Recorded, SayError, Since};
use uuid::Uuid;

use crate::support::{Bench, SOON, WHILE, event, full_at_one, soon, until};

async fn recorded(history: &mut Box<dyn History>) -> Recorded {
    soon(history.next()).await.unwrap()
}

async fn next_event(history: &mut Box<dyn History>) -> Event {
    match recorded(history).await.entry {
        Entry::Event(event) => *event,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_has_every_state_but_progress_in_the_order_they_were_said() {
    let bench = Bench::open().await;
    let said: Vec<Event> = State::ALL.into_iter().map(|state| event("web", state)).collect();
    for event in &said {
        bench.queue.emit(event).await.unwrap();
    }
    let mut history = bench.queue.history(Since::Start).await.unwrap();
    for event in said.iter().filter(|event| event.state() != State::Progress) {
        assert_eq!(next_event(&mut history).await, *event);
    }
    let more = event("office/web", State::Accepted);
    bench.queue.emit(&more).await.unwrap();
    assert_eq!(next_event(&mut history).await, more);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_for_subscribers_what_cloudevents_says() {
    let bench = Bench::open().await;
    let events =
        bench.raw.subscribe(&bench.name("events"), "rolled-back.office.#", FieldTable::default()).await;
    let said = event("office/web", State::RolledBack);
    bench.queue.emit(&event("web", State::RolledBack)).await.unwrap();
    bench.queue.emit(&said).await.unwrap();
    let message = bench.raw.read(&events, 1).await.remove(0);
    assert_eq!(message.routing_key.as_str(), "rolled-back.office.web");
    assert_eq!(message.properties.content_type().as_ref().unwrap().as_str(), "application/cloudevents+json");
    assert_eq!(message.properties.message_id().as_ref().unwrap().as_str(), said.id.to_string());
    assert_eq!(*message.properties.delivery_mode(), Some(2));
    assert_eq!(Event::decode(&message.data).unwrap(), said);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_again_is_for_those_who_read_the_history_alone() {
    let bench = Bench::open().await;
    let events = bench.raw.subscribe(&bench.name("events"), "#", FieldTable::default()).await;
    let (before, now) = (event("office/web", State::Succeeded), event("office/web", State::Failed));
    bench.queue.retell(&before).await.unwrap();
    bench.queue.emit(&now).await.unwrap();
    let heard = bench.raw.read(&events, 1).await.remove(0);
    assert_eq!(Event::decode(&heard.data).unwrap(), now);
    let mut history = bench.queue.history(Since::Start).await.unwrap();
    assert_eq!(next_event(&mut history).await, before);
    assert_eq!(next_event(&mut history).await, now);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_for_those_who_listen_and_may_have_nobody() {
    let bench = Bench::open().await;
    let said = event("web", State::Progress);
    bench.queue.emit(&said).await.unwrap();
    let mut live = bench.queue.live().await.unwrap();
    bench.queue.emit(&event("web", State::Started)).await.unwrap();
    bench.queue.emit(&said).await.unwrap();
    assert_eq!(soon(live.next()).await.unwrap(), said);
    assert!(tokio::time::timeout(WHILE, live.next()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_exactly_after_a_place() {
    let bench = Bench::open().await;
    let said: Vec<Event> = (0..40).map(|_| event("web", State::Accepted)).collect();
    // At once: they share chunks, and a stream begins with a whole chunk.
    let emitted = futures::future::join_all(said.iter().map(|event| bench.queue.emit(event))).await;
    emitted.into_iter().for_each(|emitted| emitted.unwrap());
    let mut all = Vec::new();
    let mut history = bench.queue.history(Since::Start).await.unwrap();
    while all.len() < said.len() {
        all.push(recorded(&mut history).await);
    }
    assert!(all.is_sorted_by(|one, next| one.position < next.position));
    for place in [0, 1, 17, 38] {
        let mut history = bench.queue.history(Since::After(all[place].position)).await.unwrap();
        assert_eq!(recorded(&mut history).await, all[place + 1], "after {place}");
    }
    let last = all.last().unwrap().position;
    let mut history = bench.queue.history(Since::After(last)).await.unwrap();
    assert!(tokio::time::timeout(WHILE, history.next()).await.is_err());
    let more = event("web", State::Succeeded);
    bench.queue.emit(&more).await.unwrap();
    let found = recorded(&mut history).await;
    assert!(found.position > last);
    assert_eq!(found.entry, Entry::Event(Box::new(more)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_begins_at_a_time() {
    let bench = Bench::open().await;
    bench.queue.emit(&event("web", State::Accepted)).await.unwrap();
    // The broker's own clock, by which it seeks, has whole seconds: that of the first has to be over.
    let said = Timestamp::now().as_second();
    until("the second is over", async || Timestamp::now().as_second() > said + 1).await;
    let since = Timestamp::now();
    let later = event("web", State::Succeeded);
    bench.queue.emit(&later).await.unwrap();
    let mut history = bench.queue.history(Since::Time(since)).await.unwrap();
    assert_eq!(next_event(&mut history).await, later);
    let mut ahead = bench.queue.history(Since::Time(since + Duration::from_secs(86_400))).await.unwrap();
    let newest = event("web", State::Failed);
    bench.queue.emit(&newest).await.unwrap();
    let found = soon(async { while next_event(&mut ahead).await != newest {} });
    found.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_is_for_readers_of_the_history_only() {
    let bench = Bench::open().await;
    let events = bench.raw.subscribe(&bench.name("events"), "#", FieldTable::default()).await;
    let (marker, said) = (Uuid::now_v7(), event("web", State::Accepted));
    bench.queue.mark(marker).await.unwrap();
    bench.queue.emit(&said).await.unwrap();
    let mut history = bench.queue.history(Since::Start).await.unwrap();
    assert_eq!(recorded(&mut history).await.entry, Entry::Marker(marker));
    assert_eq!(next_event(&mut history).await, said);
    let first = bench.raw.read(&events, 1).await.remove(0);
    assert_eq!(Event::decode(&first.data).unwrap(), said);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_has_its_place_all_the_same() {
    let bench = Bench::open().await;
    bench.raw.send(&bench.name("events"), "accepted.default.web", b"?", FieldTable::default()).await;
    let said = event("web", State::Accepted);
    bench.queue.emit(&said).await.unwrap();
    let mut history = bench.queue.history(Since::Start).await.unwrap();
    let odd = recorded(&mut history).await;
    assert!(matches!(odd.entry, Entry::Unreadable(_)), "{odd:?}");
    let next = recorded(&mut history).await;
    assert!(next.position > odd.position);
    assert_eq!(next.entry, Entry::Event(Box::new(said)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_whose_queue_is_full_stops_nobody() {
    let bench = Bench::open().await;
    bench.raw.subscribe(&bench.name("events"), "#", full_at_one()).await;
    let queue: Arc<dyn Queue> = bench.queue.clone();
    let chronicle = Chronicle::follow(queue, Since::Start, |_| ());
    for _ in 0..5 {
        chronicle.say(&event("web", State::Started), SOON).await.unwrap();
        bench.queue.emit(&event("web", State::Progress)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_was_deleted_stands_again() {
    let bench = Bench::open().await;
    let queue: Arc<dyn Queue> = bench.queue.clone();
    let chronicle = Chronicle::follow(queue, Since::Start, |_| ());
    let mut last = Position(0);
    for _ in 0..12 {
        last = chronicle.say(&event("web", State::Started), SOON).await.unwrap();
    }
    let name = bench.name("history");
    bench.raw.channel.queue_delete(name.as_str().into(), Default::default()).await.unwrap();
    // First it is opened again where it was, then from the beginning, each after some seconds in which nothing came.
    let said = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            match chronicle.say(&event("web", State::Started), Duration::from_secs(2)).await {
                Ok(place) => return place,
                Err(SayError::Queue(_) | SayError::Unseen(_)) => {}
            }
        }
    });
    // It counts from the beginning again, and the chronicle went back there with it.
    assert!(said.await.expect("it is seen in time") < last);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chronicle_sees_what_was_said_while_its_connection_broke() {
    let proxy = crate::proxy::Proxy::open().await;
    let settings = crate::support::settings_at(vec![proxy.address.to_string()]);
    let engine = crate::support::open(&settings).await;
    let beside = crate::support::open(&settings_beside(&settings)).await;
    let (seen, mut sees) = tokio::sync::mpsc::unbounded_channel();
    let queue: Arc<dyn Queue> = engine.clone();
    let chronicle = Chronicle::follow(queue, Since::Start, move |recorded| {
        let _ = seen.send(recorded.clone());
    });
    chronicle.catch_up(SOON).await.unwrap();
    let mut wanted = Vec::new();
    for round in 0..6 {
        if round % 2 == 1 {
            proxy.cut();
        }
        let said = event("web", State::Accepted);
        beside.emit(&said).await.unwrap();
        wanted.push(said.id);
    }
    let mut found = Vec::new();
    while found.len() < wanted.len() {
        if let Entry::Event(event) = soon(sees.recv()).await.unwrap().entry {
            found.push(event.id);
        }
    }
    assert_eq!(found, wanted);
}

/// The same names, past the proxy.
fn settings_beside(settings: &queue::AmqpSettings) -> queue::AmqpSettings {
    queue::AmqpSettings { prefix: settings.prefix.clone(), ..crate::support::settings() }
}
