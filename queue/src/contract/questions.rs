//! A pool is asked, and one of its workers answers in time.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::join_all;
use proto::PoolName;

use super::{Maker, PATIENCE, pool, within};
use crate::{Questions, Queue, QueueError};

async fn listen(queue: &dyn Queue, pool: &PoolName) -> Box<dyn Questions> {
    within("listen to questions", queue.questions(pool)).await.unwrap()
}

async fn ask(queue: &dyn Queue, pool: &PoolName, question: &'static [u8]) -> Result<Bytes, QueueError> {
    within("ask", queue.ask(pool, Bytes::from_static(question), PATIENCE)).await
}

/// Answers every question with its own body behind this name.
fn answer_all(mut questions: Box<dyn Questions>, name: &'static str) -> tokio::task::JoinHandle<usize> {
    tokio::spawn(async move {
        let mut answered = 0;
        while let Ok(question) = questions.next().await {
            let answer = [name.as_bytes(), b" ", question.body()].concat();
            question.answer(Bytes::from(answer)).await;
            answered += 1;
        }
        answered
    })
}

/// A question comes as it was asked, and the answer as it was given, whatever their bytes.
pub async fn a_question_is_answered(maker: &dyn Maker) {
    let (queue, pool) = (maker.open().await, pool());
    let mut questions = listen(&*queue, &pool).await;
    for body in [&b"targets?"[..], b"\xff\xfe\0", b""] {
        let asking = ask(&*queue, &pool, body);
        let answering = async {
            let question = within("the question", questions.next()).await.unwrap();
            assert_eq!(question.body().as_ref(), body);
            question.answer(Bytes::from([body, b"\0!"].concat())).await;
        };
        let (answer, ()) = futures::join!(asking, answering);
        assert_eq!(answer.unwrap().as_ref(), [body, b"\0!"].concat());
    }
    queue.close().await;
}

/// One of several listeners gets each question, and nobody of another pool does.
pub async fn a_question_reaches_one_of_several(maker: &dyn Maker) {
    let (queue, asked, other) = (maker.open().await, pool(), pool());
    let one = answer_all(listen(&*queue, &asked).await, "one");
    let two = answer_all(listen(&*queue, &asked).await, "two");
    let elsewhere = answer_all(listen(&*queue, &other).await, "elsewhere");
    for _ in 0..20 {
        let answer = ask(&*queue, &asked, b"?").await.unwrap();
        assert!([&b"one ?"[..], b"two ?"].contains(&answer.as_ref()), "{answer:?}");
    }
    queue.close().await;
    let answered = within("the listeners end", async { (one.await, two.await, elsewhere.await) }).await;
    let (one, two, elsewhere) = (answered.0.unwrap(), answered.1.unwrap(), answered.2.unwrap());
    assert_eq!((one + two, elsewhere), (20, 0));
}

/// Where nobody listens, or nobody does any more, the asker is told at once.
pub async fn a_pool_without_listeners_is_told_at_once(maker: &dyn Maker) {
    let (queue, pool) = (maker.open().await, pool());
    let asked = Instant::now();
    let refused = ask(&*queue, &pool, b"?").await;
    assert!(matches!(&refused, Err(QueueError::NobodyAlive(name)) if *name == pool), "{refused:?}");
    let mut questions = listen(&*queue, &pool).await;
    let beside = listen(&*queue, &pool).await;
    drop(beside);
    let answering =
        async { within("the question", questions.next()).await.unwrap().answer("!".into()).await };
    let (answer, ()) = futures::join!(ask(&*queue, &pool, b"?"), answering);
    assert_eq!(answer.unwrap(), "!");
    drop(questions);
    let nobody = async {
        // A broker may take a moment to see that a listener left.
        while !matches!(
            queue.ask(&pool, "?".into(), Duration::from_millis(200)).await,
            Err(QueueError::NobodyAlive(_))
        ) {}
    };
    within("nobody is alive", nobody).await;
    assert!(asked.elapsed() < PATIENCE);
    queue.close().await;
}

/// An asker waits no longer than it said, whether the question was heard or not.
pub async fn an_answer_comes_in_time_or_not_at_all(maker: &dyn Maker) {
    let (queue, pool) = (maker.open().await, pool());
    let mut questions = listen(&*queue, &pool).await;
    let patience = Duration::from_millis(500);
    let unheard = Instant::now();
    let answer = within("ask", queue.ask(&pool, "unheard".into(), patience)).await;
    assert!(matches!(&answer, Err(QueueError::NoAnswer { within, .. }) if *within == patience), "{answer:?}");
    assert!(unheard.elapsed() >= patience && unheard.elapsed() < patience * 10, "{:?}", unheard.elapsed());
    let (queue_to_ask, to) = (Arc::clone(&queue), pool.clone());
    let asking = tokio::spawn(async move { queue_to_ask.ask(&to, "heard".into(), patience).await });
    let heard = within("the question", async {
        loop {
            let question = questions.next().await.unwrap();
            // The one that nobody heard may still come, or have gone with its asker.
            if question.body() == "heard" {
                return question;
            }
        }
    })
    .await;
    let answer = within("the asker", asking).await.unwrap();
    assert!(matches!(answer, Err(QueueError::NoAnswer { .. })), "{answer:?}");
    // The asker has left, which is no harm: the next one is answered.
    within("answer late", heard.answer("late".into())).await;
    drop(answer_all(questions, "one"));
    assert_eq!(ask(&*queue, &pool, b"?").await.unwrap(), "one ?");
    queue.close().await;
}

/// A question that is dropped unanswered, or whose asker gave up, keeps no other waiting.
pub async fn an_unanswered_question_holds_up_nobody(maker: &dyn Maker) {
    let (queue, pool) = (maker.open().await, pool());
    let mut questions = listen(&*queue, &pool).await;
    for n in 0..50 {
        let asking = queue.ask(&pool, "never mind".into(), PATIENCE);
        let given_up = tokio::time::timeout(Duration::from_millis(n % 10), asking).await;
        assert!(given_up.is_err(), "nobody answers");
    }
    let asking = ask(&*queue, &pool, b"at last?");
    let answering = async {
        loop {
            let question = within("the question", questions.next()).await.unwrap();
            if question.body() == "at last?" {
                return question.answer("yes".into()).await;
            }
        }
    };
    let (answer, ()) = futures::join!(asking, answering);
    assert_eq!(answer.unwrap(), "yes");
    queue.close().await;
}

/// Many ask at once, and each gets the answer to its own question.
pub async fn sixty_four_ask_at_once(maker: &dyn Maker) {
    let (queue, pool) = (maker.open().await, pool());
    drop(answer_all(listen(&*queue, &pool).await, "re"));
    drop(answer_all(listen(&*queue, &pool).await, "re"));
    let asking = (0..64).map(|n| {
        let queue = &queue;
        let pool = &pool;
        async move {
            let answer = queue.ask(pool, Bytes::from(format!("{n}")), PATIENCE).await.unwrap();
            assert_eq!(answer, format!("re {n}"));
            n
        }
    });
    let answered: HashSet<i32> = within("all answers", join_all(asking)).await.into_iter().collect();
    assert_eq!(answered.len(), 64);
    queue.close().await;
}

/// Closing the queue ends those who wait for a question and those who wait for an answer.
pub async fn closing_ends_questions(maker: &dyn Maker) {
    let (queue, pool) = (maker.open().await, pool());
    let mut questions = listen(&*queue, &pool).await;
    let (asker, to) = (Arc::clone(&queue), pool.clone());
    let asking = tokio::spawn(async move { asker.ask(&to, "?".into(), PATIENCE * 2).await });
    let question = within("the question", questions.next()).await.unwrap();
    let listening = tokio::spawn(async move { questions.next().await.map(drop) });
    within("close", queue.close()).await;
    let answer = within("the asker", asking).await.unwrap();
    assert!(matches!(answer, Err(QueueError::Closed)), "{answer:?}");
    let heard = within("the listener", listening).await.unwrap();
    assert!(matches!(heard, Err(QueueError::Closed)), "{heard:?}");
    within("answer", question.answer("!".into())).await;
    let refused = within("ask", queue.ask(&pool, "?".into(), PATIENCE)).await;
    assert!(matches!(refused, Err(QueueError::Closed)), "{refused:?}");
    assert!(matches!(queue.questions(&pool).await.map(drop), Err(QueueError::Closed)));
    assert!(matches!(queue.dead_letters().await, Err(QueueError::Closed)));
}
