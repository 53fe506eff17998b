//! Questions on the broker.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use lapin::{
    BasicProperties,
    options::{BasicPublishOptions, QueueDeclareOptions},
    types::FieldTable,
};
use proto::PoolName;
use queue::{Questions, Queue, QueueError, Standing, amqp::Amqp};
use tokio::task::JoinHandle;

use crate::{
    proxy::Proxy,
    support::{Bench, SOON, WHILE, eval, job, next, open, settings_at, soon, until},
};

async fn listen(queue: &Amqp) -> Box<dyn Questions> {
    soon(queue.questions(&PoolName::default())).await.unwrap()
}

/// Answers every question with its own body.
fn echo(mut questions: Box<dyn Questions>) -> JoinHandle<QueueError> {
    tokio::spawn(async move {
        loop {
            match questions.next().await {
                Ok(question) => {
                    let answer = question.body().clone();
                    question.answer(answer).await;
                }
                Err(error) => return error,
            }
        }
    })
}

async fn is_answered(queue: &Amqp) -> bool {
    queue.ask(&PoolName::default(), "?".into(), Duration::from_secs(2)).await.is_ok()
}

/// Puts a question by hand, with any return address.
async fn put(bench: &Bench, address: Option<&str>) {
    let mut properties = BasicProperties::default().with_correlation_id("7".into());
    if let Some(address) = address {
        properties = properties.with_reply_to(address.into());
    }
    let (queue, options) = (bench.name("ask.default"), BasicPublishOptions::default());
    let put =
        bench.raw.channel.basic_publish("".into(), queue.as_str().into(), options, b"by hand", properties);
    put.await.unwrap().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_of_questions_is_what_the_contract_says() {
    let bench = Bench::open().await;
    let _questions = listen(&bench.queue).await;
    let name = bench.name("ask.default");
    let options = QueueDeclareOptions { durable: true, auto_delete: true, ..Default::default() };
    let declared =
        bench.raw.channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await;
    assert_eq!(declared.unwrap().consumer_count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_return_address_costs_no_job_and_no_later_question() {
    let bench = Bench::open().await;
    let mut taking = bench.take(2).await;
    bench.queue.publish(&job("web")).await.unwrap();
    let held = next(&mut taking).await;
    let answering = echo(listen(&bench.queue).await);
    assert!(is_answered(&bench.queue).await);
    for address in ["amq.rabbitmq.reply-to.", "amq.rabbitmq.reply-to.x", "amq.rabbitmq.reply-to.g2dkAA.!!"] {
        put(&bench, Some(address)).await;
        until("the next question is answered", async || is_answered(&bench.queue).await).await;
        assert!(bench.queue.is_available() && held.is_ours());
    }
    assert!(!answering.is_finished());
    bench.queue.close().await;
    assert!(matches!(soon(answering).await.unwrap(), QueueError::Closed));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_into_somebody_elses_queue() {
    let bench = Bench::open().await;
    let victim = bench.raw.subscribe("amq.fanout", "", FieldTable::default()).await;
    let mut questions = listen(&bench.queue).await;
    put(&bench, Some(&victim)).await;
    put(&bench, None).await;
    let heard = tokio::time::timeout(WHILE, questions.next()).await;
    assert!(heard.is_err(), "nobody could be answered, but {heard:?}");
    let _answering = echo(questions);
    assert!(is_answered(&bench.queue).await);
    assert_eq!(bench.raw.waiting(&victim).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_and_listening_go_on_after_every_connection_was_cut() {
    let proxy = Proxy::open().await;
    let settings = settings_at(vec![proxy.address.to_string()]);
    let (asker, listener) = (open(&settings).await, open(&settings).await);
    let answering = echo(listen(&listener).await);
    for _ in 0..3 {
        assert!(is_answered(&asker).await);
        proxy.cut();
        until("questions are answered again", async || is_answered(&asker).await).await;
    }
    proxy.close();
    let away = asker.ask(&PoolName::default(), "?".into(), Duration::from_millis(700)).await;
    assert!(matches!(away, Err(QueueError::Unavailable { .. })), "{away:?}");
    proxy.reopen();
    until("questions are answered again", async || is_answered(&asker).await).await;
    assert!(!answering.is_finished());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asker_that_dies_holds_up_no_answer() {
    let bench = Bench::open().await;
    let mut questions = listen(&bench.queue).await;
    let dying = open(&bench.settings).await;
    let (asker, pool) = (Arc::clone(&dying), PoolName::default());
    let asking = tokio::spawn(async move {
        join_all((0..64).map(|_| asker.ask(&pool, "?".into(), SOON))).await.into_iter().all(|a| a.is_err())
    });
    let mut heard = Vec::new();
    for _ in 0..64 {
        heard.push(soon(questions.next()).await.unwrap());
    }
    soon(dying.close()).await;
    assert!(soon(asking).await.unwrap());
    let answered = join_all(heard.into_iter().map(|question| question.answer("late".into())));
    tokio::time::timeout(Duration::from_secs(1), answered).await.expect("no answer waits for an asker");
    let _answering = echo(questions);
    assert!(is_answered(&bench.queue).await);
}

/// A user who may do anything with what is named after the fleet, and nothing else: not publish through the exchange
/// without a name, by which questions go out.
async fn user_of_the_fleet_alone(bench: &Bench) -> queue::AmqpSettings {
    let (user, prefix) = (bench.settings.prefix.clone(), &bench.settings.prefix);
    let host = format!("<<\"{}\">>", bench.settings.vhost);
    let rights = format!("<<\"^{prefix}[.]\">>");
    let expression = format!(
        "ok = rabbit_auth_backend_internal:add_user(<<\"{user}\">>, <<\"secret\">>, <<\"tests\">>), \
         rabbit_auth_backend_internal:set_permissions(<<\"{user}\">>, {host}, {rights}, {rights}, {rights}, <<\"tests\">>)."
    );
    eval(expression).await;
    queue::AmqpSettings { user, password: config::Secret::new("secret"), ..bench.settings.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_the_broker_refuses_is_told_so_at_once() {
    let bench = Bench::open().await;
    let engine = open(&user_of_the_fleet_alone(&bench).await).await;
    let pool = PoolName::default();
    let asking = engine.ask(&pool, "?".into(), SOON);
    let refused = tokio::time::timeout(SOON / 2, asking).await.expect("it is asked again and again");
    let Err(QueueError::Topology { name, answer }) = refused else { panic!("{refused:?}") };
    assert_eq!(name, bench.name("ask.default"));
    assert!(answer.contains("ACCESS_REFUSED"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_seen_with_those_who_take_its_jobs_and_what_waits_for_them() {
    let bench = Bench::open().await;
    let pool = PoolName::default();
    let stands = async |workers, waiting| {
        let expected = Some(Standing { workers, waiting });
        until("the pool stands so", async || bench.queue.standing(&pool).await.unwrap() == expected).await;
    };
    stands(0, 0).await;
    bench.queue.declare(&pool).await.unwrap();
    for _ in 0..3 {
        bench.queue.publish(&job("web")).await.unwrap();
    }
    stands(0, 3).await;
    let (one, other) = (bench.take(1).await, bench.take(1).await);
    stands(2, 1).await;
    // Who is gone takes nothing, and what it had goes back.
    drop(one);
    stands(1, 2).await;
    drop(other);
    stands(0, 3).await;
}
