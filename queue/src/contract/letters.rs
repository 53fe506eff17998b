//! What died is kept until somebody replays or discards it.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use proto::{Job, JobId, PoolName, Reason, Timestamp, reason};

use super::{Maker, acknowledge, job, next, nothing_comes, publish_some, served, settle, within};
use crate::{Closed, DeadLetter, LetterId, Queue, Settlement};

async fn letters(queue: &dyn Queue) -> Vec<DeadLetter> {
    within("dead letters", queue.dead_letters()).await.unwrap()
}

async fn close(queue: &dyn Queue, letter: LetterId, how: Closed) -> Closed {
    within("close a letter", queue.close_letter(letter, how)).await.unwrap()
}

fn discarded() -> Closed {
    Closed::Discarded { by: Some("ann".to_owned()) }
}

fn why() -> Reason {
    Reason::new(reason::UNREACHABLE, "no route to the dock").hint("mend the bridge")
}

fn jobs_in(letters: &[DeadLetter]) -> Vec<JobId> {
    letters.iter().map(|letter| letter.job().expect("a job of the test").id).collect()
}

/// Takes a pool's next jobs and lets them die; their ids, in the order in which they died.
async fn let_die(queue: &dyn Queue, pool: &PoolName, count: usize) -> Vec<JobId> {
    let mut takings = within("take", queue.take(pool, 1)).await.unwrap();
    let mut died = Vec::new();
    for _ in 0..count {
        let delivery = next(&mut *takings).await;
        died.push(super::id(&delivery));
        settle(delivery, Settlement::Dead { reason: why() }).await;
    }
    died
}

/// Letters are sought by what is in them, open ones only.
pub async fn those_that_are_wanted_are_sought_among_all(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let jobs = publish_some(&*queue, &pool, 3).await;
    let died = let_die(&*queue, &pool, jobs.len()).await;
    let is_second = {
        let second = died[1];
        Arc::new(move |letter: &DeadLetter| letter.job().is_some_and(|job| job.id == second))
    };
    let found = within("seek a letter", queue.letters_that(is_second.clone())).await.unwrap();
    assert_eq!(jobs_in(&found), [died[1]]);
    close(&*queue, found[0].id, discarded()).await;
    assert!(within("seek a letter", queue.letters_that(is_second)).await.unwrap().is_empty());
    assert_eq!(jobs_in(&letters(&*queue).await), [died[0], died[2]]);
}

/// Of a job that died it is known that its letter was written, also after somebody closed that.
pub async fn a_letter_that_was_written_is_known_though_it_is_closed(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let since = Timestamp::now() - jiff::SignedDuration::from_mins(2);
    let jobs = publish_some(&*queue, &pool, 3).await;
    let died = let_die(&*queue, &pool, 2).await;
    let buried = async |job: JobId| within("look for a letter", queue.was_buried(job, since)).await.unwrap();
    assert!(buried(died[0]).await && buried(died[1]).await);
    for letter in letters(&*queue).await {
        close(&*queue, letter.id, discarded()).await;
    }
    assert!(buried(died[0]).await && buried(died[1]).await);
    let alive = jobs.iter().find(|job| !died.contains(job)).unwrap();
    assert!(!buried(*alive).await);
    queue.close().await;
}

/// A letter is found though the clock that says since when to look is ahead of the engine's.
pub async fn a_letter_is_found_though_it_is_looked_for_in_times_to_come(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let jobs = publish_some(&*queue, &pool, 2).await;
    let died = let_die(&*queue, &pool, 1).await;
    let since = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let buried = async |job: JobId| within("look for a letter", queue.was_buried(job, since)).await.unwrap();
    assert!(buried(died[0]).await);
    let alive = jobs.iter().find(|job| !died.contains(job)).unwrap();
    assert!(!buried(*alive).await);
    queue.close().await;
}

/// A dead letter has the original body, the pool, the attempts, the whole reason and the time.
pub async fn a_dead_letter_tells_what_died_and_why(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let before = Timestamp::now();
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    let job = job(&pool, "web");
    within("publish", queue.publish(&job)).await.unwrap();
    settle(next(&mut *takings).await, Settlement::Retry { after: maker.shortest_delay() }).await;
    settle(next(&mut *takings).await, Settlement::Dead { reason: why() }).await;
    let letters = letters(&*queue).await;
    let [letter] = &letters[..] else { panic!("one letter: {letters:?}") };
    assert_eq!(letter.body.as_ref(), job.encode());
    assert_eq!(letter.job(), Some(job));
    assert_eq!((letter.pool.as_ref(), letter.attempts), (Some(&pool), 2));
    assert_eq!(letter.reason, why());
    let tolerance = jiff::SignedDuration::from_millis(1);
    assert!(letter.died_at >= before.saturating_sub(tolerance).unwrap(), "{}", letter.died_at);
    assert!(letter.died_at <= Timestamp::now().saturating_add(tolerance).unwrap(), "{}", letter.died_at);
    queue.close().await;
}

/// Of a job that crashed its workers the attempts are told that were never counted, beside those that were.
pub async fn a_dead_letter_tells_attempts_that_were_not_counted(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    within("publish", queue.publish(&job(&pool, "web"))).await.unwrap();
    settle(next(&mut *takings).await, Settlement::Retry { after: maker.shortest_delay() }).await;
    settle(next(&mut *takings).await, Settlement::DeadAfter { uncounted: 3, reason: why() }).await;
    let letters = letters(&*queue).await;
    let [letter] = &letters[..] else { panic!("one letter: {letters:?}") };
    assert_eq!((letter.attempts, &letter.reason), (5, &why()));
    queue.close().await;
}

/// A body that is no job lies among the letters as it came.
pub async fn a_letter_may_hold_anything(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let mut takings = within("take", queue.take(&pool, 1)).await.unwrap();
    let bodies = [&b"not json"[..], b"\xff\xfe\0", b"", b"{\"version\":99}"];
    for body in bodies {
        within("publish bytes", maker.publish_body(&pool, Bytes::from_static(body))).await;
        let reason = Reason::new(reason::UNDECODABLE, "");
        settle(next(&mut *takings).await, Settlement::Dead { reason }).await;
    }
    let letters = letters(&*queue).await;
    assert_eq!(letters.iter().map(|letter| letter.body.as_ref()).collect::<Vec<_>>(), bodies);
    assert!(letters.iter().all(|letter| letter.job().is_none() && letter.reason.hint.is_none()));
    queue.close().await;
}

/// A reason of any length is told, at least how it begins, and disturbs nothing else that is in hand.
pub async fn a_reason_may_be_of_any_length(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let mut takings = within("take", queue.take(&pool, 2)).await.unwrap();
    publish_some(&*queue, &pool, 2).await;
    let (dying, other) = (next(&mut *takings).await, next(&mut *takings).await);
    let long = "no route to the dock \u{26f4} ".repeat(12_000);
    let reason = Reason::new(reason::UNDECODABLE, &long).hint(long.as_str());
    settle(dying, Settlement::Dead { reason: reason.clone() }).await;
    assert!(other.is_ours(), "the other delivery is still in hand");
    acknowledge(other).await;
    within("bury", queue.bury(Bytes::from_static(b"{}"), &pool, 1, &reason)).await.unwrap();
    let letters = letters(&*queue).await;
    assert_eq!(letters.len(), 2);
    for told in letters.iter().map(|letter| &letter.reason) {
        let begins_so = |text: &str| text.get(..1000).is_some_and(|begin| long.starts_with(begin));
        assert!(begins_so(&told.text) && told.hint.as_deref().is_some_and(begins_so), "{told:.200?}");
    }
    nothing_comes(&mut *takings).await;
    queue.close().await;
}

/// Letters are listed in the order in which they died, as often as somebody asks, after a restart too.
pub async fn letters_are_listed_newest_last(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    assert!(letters(&*queue).await.is_empty());
    publish_some(&*queue, &pool, 20).await;
    let died = let_die(&*queue, &pool, 20).await;
    let first = letters(&*queue).await;
    assert_eq!(jobs_in(&first), died);
    assert!(first.windows(2).all(|pair| pair[0].id < pair[1].id));
    assert_eq!(letters(&*queue).await, first);
    queue.close().await;
    let queue = maker.open().await;
    assert_eq!(letters(&*queue).await, first);
    queue.close().await;
}

/// A letter that was replayed or discarded is listed no more, not after a restart either, and the others are.
pub async fn a_closed_letter_is_gone(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    publish_some(&*queue, &pool, 4).await;
    let died = let_die(&*queue, &pool, 4).await;
    let all = letters(&*queue).await;
    let again = JobId::mint(Timestamp::now(), None);
    close(&*queue, all[2].id, Closed::Replayed { by: again }).await;
    assert_eq!(jobs_in(&letters(&*queue).await), [died[0], died[1], died[3]]);
    close(&*queue, all[0].id, discarded()).await;
    close(&*queue, all[1].id, Closed::Discarded { by: None }).await;
    assert_eq!(letters(&*queue).await, all[3..]);
    queue.close().await;
    let queue = maker.open().await;
    assert_eq!(letters(&*queue).await, all[3..]);
    close(&*queue, all[3].id, discarded()).await;
    assert!(letters(&*queue).await.is_empty());
    // What dies later is listed as ever.
    publish_some(&*queue, &pool, 1).await;
    let died = let_die(&*queue, &pool, 1).await;
    assert_eq!(jobs_in(&letters(&*queue).await), died);
    queue.close().await;
}

/// Closing a letter twice, or one that never was, changes nothing, and closes none that dies later.
pub async fn closing_twice_is_harmless(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    publish_some(&*queue, &pool, 2).await;
    let_die(&*queue, &pool, 2).await;
    let all = letters(&*queue).await;
    for how in [discarded(), Closed::Replayed { by: JobId::mint(Timestamp::now(), None) }, discarded()] {
        close(&*queue, all[0].id, how).await;
        assert_eq!(letters(&*queue).await, all[1..]);
    }
    for ahead in 1..20 {
        close(&*queue, LetterId(all[1].id.0 + ahead), discarded()).await;
    }
    publish_some(&*queue, &pool, 3).await;
    let_die(&*queue, &pool, 3).await;
    assert_eq!(letters(&*queue).await.len(), 4);
    queue.close().await;
}

/// Who closes a letter learns what closed it first, whoever did that and though nobody has listed it since.
pub async fn the_first_who_closes_a_letter_has_closed_it(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    publish_some(&*queue, &pool, 2).await;
    let_die(&*queue, &pool, 2).await;
    let all = letters(&*queue).await;
    let beside = maker.open_beside().await;
    let other = beside.as_ref().unwrap_or(&queue);
    assert_eq!(letters(&**other).await, all);
    let replayed = Closed::Replayed { by: JobId::mint(Timestamp::now(), None) };
    assert_eq!(close(&*queue, all[0].id, replayed.clone()).await, replayed);
    assert_eq!(close(&**other, all[0].id, discarded()).await, replayed);
    assert_eq!(close(&*queue, all[0].id, discarded()).await, replayed);
    // Each letter by itself.
    assert_eq!(close(&**other, all[1].id, discarded()).await, discarded());
    assert_eq!(close(&*queue, all[1].id, replayed).await, discarded());
    if let Some(beside) = beside {
        beside.close().await;
    }
    queue.close().await;
}

/// A letter is written for a job that nobody has in hand.
pub async fn a_job_in_nobodys_hands_is_buried(maker: &dyn Maker) {
    let (queue, pool) = (maker.open().await, super::pool());
    let job = job(&pool, "web");
    within("bury", queue.bury(Bytes::from(job.encode()), &pool, 0, &why())).await.unwrap();
    let body = Bytes::from_static(b"\0 no job");
    within("bury", queue.bury(body.clone(), &pool, 3, &why())).await.unwrap();
    let letters = letters(&*queue).await;
    let told = |letter: &DeadLetter| (letter.job(), letter.pool.clone(), letter.attempts);
    assert_eq!(told(&letters[0]), (Some(job), Some(pool.clone()), 0));
    assert_eq!(told(&letters[1]), (None, Some(pool), 3));
    assert_eq!((&letters[1].body, &letters[1].reason), (&body, &why()));
    assert_eq!(letters.len(), 2);
    queue.close().await;
}

/// Many may list at once, while jobs die and letters are closed: each sees all that died before it asked.
pub async fn many_list_at_once(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    publish_some(&*queue, &pool, 40).await;
    let early: HashSet<JobId> = let_die(&*queue, &pool, 20).await.into_iter().collect();
    let dying = let_die(&*queue, &pool, 20);
    let listing = futures::future::join_all((0..16).map(|_| letters(&*queue)));
    let (late, lists) = futures::join!(dying, listing);
    for list in lists {
        let seen: HashSet<JobId> = jobs_in(&list).into_iter().collect();
        assert_eq!(seen.len(), list.len(), "each once");
        assert!(early.is_subset(&seen), "all that had died");
    }
    let all = letters(&*queue).await;
    assert_eq!(all.len(), 40);
    let closing = all.iter().take(30).map(|letter| close(&*queue, letter.id, discarded()));
    futures::future::join_all(closing).await;
    assert_eq!(jobs_in(&letters(&*queue).await), late[10..]);
    queue.close().await;
}

/// Replaying is publishing a new job and closing the letter; the new job goes its way like any other.
pub async fn a_letter_is_replayed(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    publish_some(&*queue, &pool, 1).await;
    let_die(&*queue, &pool, 1).await;
    let letter = letters(&*queue).await.remove(0);
    let dead = letter.job().unwrap();
    let replay = Job { id: JobId::mint(Timestamp::now(), Some(dead.id)), replays: Some(dead.id), ..dead };
    within("publish", queue.publish(&replay)).await.unwrap();
    close(&*queue, letter.id, Closed::Replayed { by: replay.id }).await;
    assert!(letters(&*queue).await.is_empty());
    let mut takings = within("take", queue.take(&pool, 10)).await.unwrap();
    let delivery = next(&mut *takings).await;
    assert_eq!((Job::decode(delivery.body()).unwrap(), delivery.attempt()), (replay, 1));
    acknowledge(delivery).await;
    nothing_comes(&mut *takings).await;
    queue.close().await;
}
