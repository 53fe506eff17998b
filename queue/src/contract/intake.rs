//! What is handed in for ingresses, and what workers tell them.

use std::collections::HashSet;

use bytes::Bytes;
use proto::{Catalogue, Inventory, Listing, PoolName, Reason, TargetGates, TargetName, reason};

use super::{Maker, acknowledge, job, next, nothing_comes, pool, served, settle, within};
use crate::{Deliveries, Entry, Queue, Settlement, Since};

async fn submit(queue: &dyn Queue, message: &'static [u8]) {
    within("submit", queue.submit(Bytes::from_static(message))).await.unwrap();
}

async fn intake(queue: &dyn Queue) -> Box<dyn Deliveries> {
    within("the intake", queue.intake(10)).await.unwrap()
}

/// Nobody need have taken anything before: the intake always is.
pub async fn what_is_submitted_waits_for_an_ingress(maker: &dyn Maker) {
    let queue = maker.open().await;
    submit(&*queue, b"first").await;
    let mut takings = intake(&*queue).await;
    let first = next(&mut *takings).await;
    assert_eq!((first.body().as_ref(), first.attempt()), (&b"first"[..], 1));
    acknowledge(first).await;
    submit(&*queue, b"\xff\0 no text").await;
    let second = next(&mut *takings).await;
    assert_eq!(second.body().as_ref(), b"\xff\0 no text");
    acknowledge(second).await;
    nothing_comes(&mut *takings).await;
    queue.close().await;
}

/// Submitted means kept, and what was in hand comes again.
pub async fn what_is_submitted_survives_a_restart(maker: &dyn Maker) {
    let queue = maker.open().await;
    submit(&*queue, b"kept").await;
    let mut takings = intake(&*queue).await;
    let held = next(&mut *takings).await;
    queue.close().await;
    drop((held, takings, queue));
    let queue = maker.open().await;
    let mut takings = intake(&*queue).await;
    let again = next(&mut *takings).await;
    assert_eq!((again.body().as_ref(), again.attempt()), (&b"kept"[..], 1));
    acknowledge(again).await;
    queue.close().await;
}

/// It waits as a job does: counted or not, released or dropped.
pub async fn a_submission_that_cannot_be_taken_in_comes_again(maker: &dyn Maker) {
    let queue = maker.open().await;
    let (mut takings, after) = (intake(&*queue).await, maker.shortest_delay());
    submit(&*queue, b"later").await;
    settle(next(&mut *takings).await, Settlement::Retry { after }).await;
    let second = next(&mut *takings).await;
    assert_eq!(second.attempt(), 2);
    settle(second, Settlement::Snooze { after }).await;
    let third = next(&mut *takings).await;
    assert_eq!(third.attempt(), 2);
    settle(third, Settlement::Release).await;
    drop(next(&mut *takings).await);
    let last = next(&mut *takings).await;
    assert_eq!((last.body().as_ref(), last.attempt()), (&b"later"[..], 2));
    acknowledge(last).await;
    nothing_comes(&mut *takings).await;
    queue.close().await;
}

/// Bad input loses nothing: it lies among the dead letters, of no pool, with the reason.
pub async fn a_submission_that_cannot_be_read_is_laid_aside(maker: &dyn Maker) {
    let queue = maker.open().await;
    let mut takings = intake(&*queue).await;
    submit(&*queue, b"nonsense").await;
    let why = Reason::new(reason::UNDECODABLE, "the message is not a sighting").hint("mend its sender");
    settle(next(&mut *takings).await, Settlement::Dead { reason: why.clone() }).await;
    let letters = within("dead letters", queue.dead_letters()).await.unwrap();
    let [letter] = &letters[..] else { panic!("one letter: {letters:?}") };
    assert_eq!(letter.body.as_ref(), b"nonsense");
    assert_eq!((letter.pool.as_ref(), letter.attempts, &letter.reason), (None, 1, &why));
    nothing_comes(&mut *takings).await;
    queue.close().await;
}

/// Whoever may hand something in could hand in a job of their own making: laid aside, it is none to replay.
pub async fn a_submission_laid_aside_is_no_job(maker: &dyn Maker) {
    let queue = maker.open().await;
    let mut takings = intake(&*queue).await;
    let body = Bytes::from(job(&pool(), "web").encode());
    within("submit", queue.submit(body.clone())).await.unwrap();
    settle(next(&mut *takings).await, Settlement::Dead { reason: Reason::new(reason::UNDECODABLE, "no") })
        .await;
    let letters = within("dead letters", queue.dead_letters()).await.unwrap();
    let [letter] = &letters[..] else { panic!("one letter: {letters:?}") };
    assert_eq!(
        (&letter.body, letter.submitted, letter.pool.as_ref(), letter.job()),
        (&body, true, None, None)
    );
    queue.close().await;
}

/// What an ingress itself hands in is known to be its own, also when it comes back.
pub async fn a_submission_of_ones_own_is_known_as_such(maker: &dyn Maker) {
    let queue = maker.open().await;
    let (mut takings, after) = (intake(&*queue).await, maker.shortest_delay());
    submit(&*queue, b"mine").await;
    let first = next(&mut *takings).await;
    let envelope = first.envelope().clone();
    assert!(envelope.is_own, "{envelope:?}");
    settle(first, Settlement::Snooze { after }).await;
    let second = next(&mut *takings).await;
    assert!(second.envelope().is_own);
    assert_eq!((&second.envelope().user, &second.envelope().id), (&envelope.user, &envelope.id));
    acknowledge(second).await;
    queue.close().await;
}

/// Each goes to one of several takers.
pub async fn ingresses_compete_for_submissions(maker: &dyn Maker) {
    let queue = maker.open().await;
    let (mut one, mut other) = (intake(&*queue).await, intake(&*queue).await);
    for message in [&b"a"[..], b"b", b"c", b"d"] {
        submit(&*queue, message).await;
    }
    let mut seen = HashSet::new();
    for _ in 0..4 {
        let delivery = within("a submission", async {
            tokio::select! {
                delivery = one.next() => delivery,
                delivery = other.next() => delivery,
            }
        })
        .await
        .unwrap();
        assert!(seen.insert(delivery.body().clone()), "twice: {seen:?}");
        acknowledge(delivery).await;
    }
    assert_eq!(seen.len(), 4);
    queue.close().await;
}

/// A pool's taker sees no submission, an ingress no job.
pub async fn submissions_and_jobs_do_not_mix(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let (mut jobs, mut submissions) =
        (within("take", queue.take(&pool, 10)).await.unwrap(), intake(&*queue).await);
    submit(&*queue, b"submission").await;
    let job = job(&pool, "web");
    within("publish", queue.publish(&job)).await.unwrap();
    let (taken, submitted) = (next(&mut *jobs).await, next(&mut *submissions).await);
    assert_eq!((taken.body().as_ref(), submitted.body().as_ref()), (&job.encode()[..], &b"submission"[..]));
    acknowledge(taken).await;
    acknowledge(submitted).await;
    nothing_comes(&mut *jobs).await;
    nothing_comes(&mut *submissions).await;
    queue.close().await;
}

/// Catalogues stand in the history, where who comes later reads them too.
pub async fn a_catalogue_is_read_as_it_was_told(maker: &dyn Maker) {
    let (queue, pool) = (maker.open().await, pool());
    let told = catalogue(&pool);
    within("tell a catalogue", queue.list(&told)).await.unwrap();
    queue.close().await;
    drop(queue);
    let queue = maker.open().await;
    let mut history = within("history", queue.history(Since::Start)).await.unwrap();
    let found = within("the catalogue", async {
        loop {
            if let Entry::Catalogue(found) = history.next().await.unwrap().entry {
                return found;
            }
        }
    })
    .await;
    assert_eq!(*found, told);
    queue.close().await;
}

fn catalogue(pool: &PoolName) -> Catalogue {
    let web = Listing {
        target: TargetName::new(pool.clone(), "web").unwrap(),
        kind: "swarm-service".to_owned(),
        follows: vec!["acme/web:dev-*".parse().unwrap()],
        gates: TargetGates::default(),
        discovered: true,
    };
    let (system, kind) = ("a swarm.of ours".to_owned(), "swarm".to_owned());
    Catalogue::of(Inventory {
        pool: pool.clone(),
        system,
        kind,
        targets: vec![web],
        faults: Vec::new(),
        unsearched: false,
    })
}
