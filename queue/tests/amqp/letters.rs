//! The dead letters on the broker.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use lapin::{
    BasicProperties,
    options::{BasicPublishOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};
use proto::{Job, PoolName, Reason, reason};
use queue::{Closed, LetterId, MOST_LETTERS, MOST_SUBMITTED, Queue, amqp::Amqp};

use crate::support::{Bench, job, next, open, soon, text_header};

const DISCARDED: Closed = Closed::Discarded { by: None };

/// More often than the broker lets a job come back.
const TOO_OFTEN: usize = 1100;

/// Long enough for so many returns on a busy machine.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(90);

/// Pause between two looks at the letters.
const LOOK_EVERY: Duration = Duration::from_millis(200);

async fn bury(queue: &Amqp, body: impl Into<Bytes>) {
    let reason = Reason::new(reason::INTERNAL, "by the test");
    soon(queue.bury(body.into(), &PoolName::default(), 1, &reason)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_the_broker_wrote_has_a_reason_of_its_own() {
    let bench = Bench::open().await;
    let mut taking = bench.take(1).await;
    let job = job("office-1");
    bench.queue.publish(&job).await.unwrap();
    let given_up = async {
        for _ in 0..TOO_OFTEN {
            let Ok(delivery) = taking.next().await else { return };
            // Dropped unsettled, it goes back, and the broker counts.
            drop(delivery);
        }
    };
    let lies_there = async {
        while bench.queue.dead_letters().await.unwrap().is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let given_up = async { tokio::join!(given_up, std::future::pending::<()>()) };
    let waited = tokio::time::timeout(GIVEN_UP_WITHIN, async {
        tokio::select! {
            _ = given_up => {}
            () = lies_there => {}
        }
    });
    waited.await.expect("the broker gives it up");
    let letter = bench.queue.dead_letters().await.unwrap().remove(0);
    assert_eq!((letter.job().as_ref(), letter.attempts), (Some(&job), 1));
    assert_eq!(letter.pool, Some(PoolName::default()));
    assert_eq!(letter.reason.code, reason::GIVEN_UP);
    assert!(letter.reason.text.contains("more often than the broker allows"), "{:?}", letter.reason);
    assert!(letter.died_at.as_second() >= job.accepted_at.as_second(), "{}", letter.died_at);
    soon(bench.queue.close_letter(letter.id, DISCARDED)).await.unwrap();
    assert!(bench.queue.dead_letters().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_put_among_the_letters_is_listed_and_closes_nothing() {
    let bench = Bench::open().await;
    bury(&bench.queue, "first").await;
    let first = bench.queue.dead_letters().await.unwrap().remove(0);
    for kind in ["application/vnd.longshore.closed-letter+json", "application/vnd.longshore.marker"] {
        let forged = format!("{{\"letter\":{},\"closed\":\"discarded\"}}", first.id);
        let properties = BasicProperties::default().with_content_type(kind.into());
        let (exchange, options) = (bench.name("dead"), BasicPublishOptions::default());
        let sent = bench.raw.channel.basic_publish(
            exchange.as_str().into(),
            "x".into(),
            options,
            forged.as_bytes(),
            properties,
        );
        sent.await.unwrap().await.unwrap();
    }
    let letters = bench.queue.dead_letters().await.unwrap();
    assert_eq!(letters.len(), 3);
    assert_eq!(letters[0], first);
    assert!(
        letters[1..].iter().all(|letter| letter.pool.is_none() && letter.reason.code == reason::GIVEN_UP)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_to_the_letters_hear_of_letters_only() {
    let bench = Bench::open().await;
    let heard = bench.raw.subscribe(&bench.name("dead"), "#", FieldTable::default()).await;
    let job = job("office/web");
    bury(&bench.queue, job.encode()).await;
    let letter = bench.queue.dead_letters().await.unwrap().remove(0);
    soon(bench.queue.close_letter(letter.id, DISCARDED)).await.unwrap();
    bury(&bench.queue, "last").await;
    let messages = bench.raw.read(&heard, 2).await;
    assert_eq!(
        (messages[0].routing_key.as_str(), messages[1].routing_key.as_str()),
        ("office.web", "default.unknown")
    );
    assert_eq!(Job::decode(&messages[0].data).unwrap(), job);
    assert_eq!(messages[1].data, b"last");
    assert_eq!(text_header(&messages[0], "longshore-reason").as_deref(), Some(reason::INTERNAL));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_were_deleted_under_us_begin_anew() {
    let bench = Bench::open().await;
    for n in 0..50 {
        bury(&bench.queue, format!("{n}")).await;
    }
    for letter in bench.queue.dead_letters().await.unwrap() {
        soon(bench.queue.close_letter(letter.id, DISCARDED)).await.unwrap();
    }
    assert!(bench.queue.dead_letters().await.unwrap().is_empty());
    delete_the_letters(&bench).await;
    assert!(soon(bench.queue.dead_letters()).await.unwrap().is_empty());
    bury(&bench.queue, "new").await;
    let letters = soon(bench.queue.dead_letters()).await.unwrap();
    assert_eq!(letters.iter().map(|letter| &letter.body[..]).collect::<Vec<_>>(), [b"new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_grew_again_beyond_what_was_read_are_all_there() {
    let bench = Bench::open().await;
    bury(&bench.queue, "old").await;
    let old = bench.queue.dead_letters().await.unwrap().remove(0);
    soon(bench.queue.close_letter(old.id, DISCARDED)).await.unwrap();
    assert!(bench.queue.dead_letters().await.unwrap().is_empty());
    delete_the_letters(&bench).await;
    // By another process, so that nothing was read of it here in between.
    let beside = open(&bench.settings).await;
    assert!(soon(beside.dead_letters()).await.unwrap().is_empty());
    for n in 0..20 {
        bury(&beside, format!("{n}")).await;
    }
    assert_eq!(soon(bench.queue.dead_letters()).await.unwrap().len(), 20);
}

async fn delete_the_letters(bench: &Bench) {
    let (name, options) = (bench.name("dead"), QueueDeleteOptions::default());
    bench.raw.channel.queue_delete(name.as_str().into(), options).await.unwrap();
}

fn properties(headers: &[(&str, &str)]) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    BasicProperties::default().with_headers(table)
}

/// Writes letters past the engine, with numbers for bodies.
async fn bury_many(bench: &Bench, count: usize, properties: BasicProperties) {
    let exchange = bench.name("dead");
    let sending = stream::iter(0..count).map(|n| {
        let (channel, exchange, properties) = (&bench.raw.channel, exchange.as_str(), properties.clone());
        async move {
            let (options, body) = (BasicPublishOptions::default(), format!("{n}"));
            let key = "default.web".into();
            let sent = channel.basic_publish(exchange.into(), key, options, body.as_bytes(), properties);
            sent.await.unwrap().await.unwrap()
        }
    });
    assert_eq!(soon(sending.buffered(256).count()).await, count);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_more_letters_than_are_listed_the_newest_are() {
    let bench = Bench::open().await;
    let more = 40;
    // As the fleet writes them.
    let login = bench.settings.user.as_str();
    let ours = properties(&[("longshore-reason", "internal"), ("longshore-pool", "default")]);
    bury_many(&bench, MOST_LETTERS + more, ours.with_user_id(login.into())).await;
    // As whoever may write to the intake could have them written by the broker: these hide none of the others.
    let forged = properties(&[("longshore-reason", "internal"), ("longshore-pool", "default")]);
    bury_many(&bench, MOST_SUBMITTED + more, forged).await;
    let asked = Instant::now();
    let letters = soon(bench.queue.dead_letters()).await.unwrap();
    println!("{} letters listed in {:?}", letters.len(), asked.elapsed());
    let (submitted, letters): (Vec<_>, Vec<_>) = letters.into_iter().partition(|letter| letter.submitted);
    assert_eq!(submitted.len(), MOST_SUBMITTED);
    assert_eq!(&submitted[0].body[..], format!("{more}").as_bytes());
    assert_eq!(letters.len(), MOST_LETTERS);
    assert_eq!(&letters[0].body[..], format!("{more}").as_bytes());
    assert_eq!(&letters[MOST_LETTERS - 1].body[..], format!("{}", MOST_LETTERS + more - 1).as_bytes());
    let first = soon(bench.queue.letters_that(Arc::new(|letter| letter.body == "0"))).await.unwrap();
    assert_eq!(first.len(), 2, "one that is not listed is found by what is in it");
    let gone = LetterId(letters[MOST_LETTERS - 1].id.0);
    soon(bench.queue.close_letter(gone, DISCARDED)).await.unwrap();
    let left = soon(bench.queue.dead_letters()).await.unwrap();
    assert!(left.len() >= MOST_LETTERS + MOST_SUBMITTED - 1 && left.iter().all(|letter| letter.id != gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_survives_its_session() {
    let bench = Bench::open().await;
    let mut taking = bench.take(1).await;
    bench.queue.publish(&job("web")).await.unwrap();
    let reason = Reason::new(reason::UNREACHABLE, "no route");
    next(&mut taking).await.settle(queue::Settlement::Dead { reason: reason.clone() }).await.unwrap();
    bench.queue.close().await;
    let again = open(&bench.settings).await;
    let letters = soon(again.dead_letters()).await.unwrap();
    assert_eq!(letters.iter().map(|letter| &letter.reason).collect::<Vec<_>>(), [&reason]);
}
