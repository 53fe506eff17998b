//! A directory that goes from the embedded queue to a broker, and back.

use super::{
    broker::{Broker, Fault, SOON, jobs},
    *,
};
use crate::{Entry, Since};

const DEFAULT: &str = "default";

fn said(job: &Job, state: State) -> Event {
    let mut event = Event::of(job, state, u32::from(state != State::Accepted), 0);
    if state == State::Dead {
        event.data.reason = Some(why());
    }
    event
}

fn why() -> Reason {
    Reason::new(reason::UNREACHABLE, "no route").hint("mend it")
}

async fn embedded(data: &TempDir) -> Embedded {
    let queue = Embedded::open(&data.path().join("queue")).unwrap();
    drop(queue.take(&DEFAULT.parse().unwrap(), 1).await.unwrap());
    queue
}

/// A directory in which jobs wait, with these words said of each.
async fn left(words: &[(&Job, &[State])]) -> TempDir {
    let data = TempDir::new().unwrap();
    let queue = embedded(&data).await;
    for (job, states) in words {
        queue.publish(job).await.unwrap();
        for state in *states {
            queue.emit(&said(job, *state)).await.unwrap();
        }
    }
    queue.close().await;
    data
}

/// All events in the directory's history.
async fn history(data: &TempDir) -> Vec<Event> {
    let queue = embedded(data).await;
    let end = Uuid::now_v7();
    queue.mark(end).await.unwrap();
    let (mut history, mut events) = (queue.history(Since::Start).await.unwrap(), Vec::new());
    loop {
        match history.next().await.unwrap().entry {
            Entry::Event(event) => events.push(*event),
            Entry::Marker(marker) if marker == end => break,
            Entry::Marker(_) | Entry::Catalogue(_) | Entry::Unreadable(_) => {}
        }
    }
    queue.close().await;
    events
}

fn states_of(events: &[Event], job: &Job) -> Vec<State> {
    events.iter().filter(|event| event.job_id() == job.id).map(Event::state).collect()
}

#[tokio::test]
async fn what_has_ended_is_not_handed_over_and_the_broker_knows_how() {
    let all = jobs(DEFAULT, 4);
    let (done, dead, open) = (&all[0], &all[1], &all[2]);
    let (accepted, started) = (State::Accepted, State::Started);
    let data = left(&[
        (done, &[accepted, started, State::Succeeded, State::Failed]),
        (dead, &[accepted, started, State::Dead]),
        (open, &[accepted, started, State::Retrying]),
    ])
    .await;
    let broker = Broker::serving(&[DEFAULT]).await;
    let spool = spool(&broker, &data, settings()).await;
    tokio::time::timeout(SOON, spool.has_told_its_past()).await.unwrap();
    drained(&spool).await;
    assert!(!spool.is_handing_over());
    assert_eq!(broker.published(), [open.id]);
    let told = broker.said().await;
    assert_eq!(told[&done.id], [accepted, started, State::Succeeded, State::Failed]);
    assert_eq!(told[&dead.id], [accepted, started, State::Dead]);
    // And said to be accepted, as whatever is handed over.
    assert_eq!(told[&open.id], [accepted, started, State::Retrying, accepted]);
    let letters = broker.dead_letters().await.unwrap();
    assert_eq!(letters.len(), 1, "its worker may have died before it wrote the letter: {letters:?}");
    assert_eq!((letters[0].job().unwrap().id, &letters[0].reason), (dead.id, &why()));
    spool.close().await;
    drop(spool);

    let again = super::spool(&broker, &data, settings()).await;
    drained(&again).await;
    assert!(!again.is_handing_over());
    assert_eq!(broker.said().await, told, "once is enough");
}

#[tokio::test]
async fn ids_go_on_above_those_in_the_history() {
    let mut all = jobs(DEFAULT, 3);
    let ahead = Timestamp::now() + jiff::SignedDuration::from_hours(24 * 365);
    all[1].id = JobId::mint(ahead, None);
    // After this one there would be no more.
    all[2].id = JobId::mint(JobId::END_OF_TIME - Duration::from_millis(1), None);
    let data = TempDir::new().unwrap();
    let queue = embedded(&data).await;
    for job in &all {
        queue.emit(&said(job, State::Succeeded)).await.unwrap();
    }
    queue.close().await;
    drop(queue);
    let broker = Broker::serving(&[DEFAULT]).await;
    broker.set(Some(Fault::Away));
    let spool = spool(&broker, &data, settings()).await;
    assert_eq!(spool.highest(), Some(all[1].id));
}

#[tokio::test]
async fn what_is_said_on_the_broker_is_known_where_the_embedded_queue_goes_on() {
    let all = jobs(DEFAULT, 3);
    let (before, waits, new) = (&all[0], &all[1], &all[2]);
    let data = left(&[(before, &[State::Accepted, State::Succeeded]), (waits, &[State::Accepted])]).await;
    let broker = Broker::serving(&[DEFAULT]).await;
    for _ in 0..2 {
        // The second time it is found that all is known.
        let spool = spool(&broker, &data, settings()).await;
        drained(&spool).await;
        for (job, state) in [(waits, State::Succeeded), (new, State::Accepted), (new, State::RolledBack)] {
            broker.emit(&said(job, state)).await.unwrap();
        }
        spool.close().await;
    }
    let known = history(&data).await;
    assert_eq!(states_of(&known, before), [State::Accepted, State::Succeeded]);
    assert_eq!(states_of(&known, waits)[..2], [State::Accepted, State::Succeeded]);
    assert_eq!(states_of(&known, new)[..2], [State::Accepted, State::RolledBack]);
    let queue = embedded(&data).await;
    assert_eq!(queue.survey(0, |count, _, _| *count += 1).await.unwrap(), 0, "nothing waits");

    // What is said here from now on is told, and nothing of what the broker said itself.
    let newest = &jobs(DEFAULT, 1)[0];
    queue.emit(&said(newest, State::Succeeded)).await.unwrap();
    queue.close().await;
    drop(queue);
    let told = broker.said().await;
    let spool = spool(&broker, &data, settings()).await;
    tokio::time::timeout(SOON, spool.has_told_its_past()).await.unwrap();
    let mut expected = told.clone();
    expected.insert(newest.id, vec![State::Succeeded]);
    assert_eq!(broker.said().await, expected);
}

#[tokio::test]
async fn a_directory_that_was_a_spool_only_notes_what_is_said_where_it_is_asked_to() {
    let job = &jobs(DEFAULT, 1)[0];
    for follows in [false, true] {
        let (broker, data) = (Broker::serving(&[DEFAULT]).await, TempDir::new().unwrap());
        let spool = spool(&broker, &data, SpoolSettings { follows, ..settings() }).await;
        assert!(!spool.is_handing_over());
        broker.emit(&said(job, State::Succeeded)).await.unwrap();
        spool.close().await;
        drop(spool);
        assert_eq!(states_of(&history(&data).await, job).len(), usize::from(follows));
    }
}

#[tokio::test]
async fn a_crash_at_any_instant_of_telling_the_past_changes_no_end() {
    let all = jobs(DEFAULT, 2);
    let words: [(&Job, &[State]); 2] =
        [(&all[0], &[State::Accepted, State::Started, State::Succeeded]), (&all[1], &[State::Accepted])];
    for instant in 0..=7 {
        let data = left(&words).await;
        let broker = Broker::serving(&[DEFAULT]).await;
        broker.die_after(instant);
        let first = spool(&broker, &data, settings()).await;
        until("it died or is done", || {
            broker.has_died.load(Ordering::SeqCst) || first.status().since.is_none()
        })
        .await;
        broker.set(Some(Fault::Away));
        first.close().await;
        drop(first);
        broker.set(None);
        broker.die_after(u64::MAX);
        let second = spool(&broker, &data, settings()).await;
        drained(&second).await;
        let (told, published) = (broker.said().await, broker.published());
        assert!(told[&all[0].id].contains(&State::Succeeded), "{instant}: {told:?}");
        assert!(told[&all[1].id].contains(&State::Accepted), "{instant}: {told:?}");
        assert!(
            published.iter().all(|id| *id == all[1].id) && !published.is_empty(),
            "{instant}: {published:?}"
        );
        second.close().await;
    }
}
