//! What every engine must do, as tests: one function is one sentence of the contract.
//!
//! An engine passes by writing a [`Maker`] and `queue::contract_tests!(maker)`, which makes a test of each
//! sentence. What is not promised is not tested: jobs may come in any order, everything may happen twice
//! after a crash, and delays may be longer than asked for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "these are tests, kept where engines can reach them"
)]

pub mod crashes;
pub mod ear;
pub mod history;
pub mod intake;
pub mod jobs;
pub mod ledger;
pub mod letters;
pub mod locks;
pub mod questions;
pub mod settling;
pub mod slow;

use std::{collections::HashSet, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use proto::{Cause, CauseKind, ChainId, Gates, Job, JobId, Operation, PoolName, TargetName, Timestamp};

use crate::{Deliveries, Delivery, Queue, Settlement};

/// How long the suite waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the suite watches that something does not happen.
const QUIET: Duration = Duration::from_millis(400);

/// Makes an engine's handles on one durable state, which is the test's own.
#[async_trait]
pub trait Maker: Send + Sync {
    /// A fresh handle on the same durable state each time.
    async fn open(&self) -> Arc<dyn Queue>;

    /// A handle while another one is open, as a second process would open it. `None` where the engine is for
    /// one process, after making sure that it refuses.
    async fn open_beside(&self) -> Option<Arc<dyn Queue>>;

    /// Ends every handle as a kill would, and nothing of theirs gets through any more: the next one that is opened
    /// finds what a killed process leaves behind.
    async fn crash(&self);

    /// The shortest delay after which a job can come back, longer than zero. A delay of five seconds must
    /// not come back as early.
    fn shortest_delay(&self) -> Duration;

    /// Whether what was settled is so whatever happens next. Where it is not, a crash right after it may lose the word
    /// that takes a job from its queue: a copy of it comes once more, as it was.
    fn settles_for_good(&self) -> bool;

    /// Puts any bytes into a pool that was served, past the engine's own words. Called while a handle is
    /// open.
    async fn publish_body(&self, pool: &PoolName, body: Bytes);
}

/// Makes a test of each sentence of the contract. The expression makes a fresh [`Maker`]; it may `.await`.
#[macro_export]
macro_rules! contract_tests {
    ($maker:expr) => {
        $crate::contract_tests! { @each $maker;
            jobs::a_published_job_is_delivered_as_it_was
            jobs::a_published_job_survives_a_restart
            jobs::a_pool_never_served_is_refused
            jobs::a_pool_once_served_stays
            jobs::a_taker_holds_no_more_than_it_asked_for
            jobs::takers_compete
            jobs::pools_do_not_mix
            jobs::a_waiting_taker_is_woken
            jobs::a_body_that_is_no_job_is_delivered
            jobs::copies_of_one_job_are_harmless
            jobs::giving_up_waiting_loses_nothing
            jobs::what_was_taken_ahead_goes_back_with_its_taker
            jobs::a_closed_queue_says_so
            jobs::settling_after_closing_is_refused
            settling::an_acknowledged_job_is_gone
            settling::a_dead_job_is_gone
            settling::a_retried_job_comes_back_counted
            settling::a_snoozed_job_comes_back_uncounted
            settling::a_released_job_comes_back_uncounted
            settling::a_job_remembers_how_long_it_was_set_aside
            settling::a_delivery_says_that_it_was_given_out_before
            settling::attempts_add_up
            settling::a_dropped_delivery_comes_again
            settling::unsettled_jobs_survive_a_restart
            settling::a_delayed_job_survives_a_restart
            settling::a_delayed_job_holds_up_nobody
            locks::a_target_has_one_holder
            locks::a_dropped_lock_frees_its_target
            locks::a_lock_is_for_one_target
            locks::closing_frees_the_locks
            locks::a_target_has_one_holder_among_processes
            history::an_event_is_read_as_it_was_said
            history::all_readers_read_one_order
            history::what_is_said_later_is_read_later
            history::an_event_said_again_keeps_its_id
            history::the_history_survives_a_restart
            history::reading_after_a_place
            history::reading_from_a_time
            history::a_reader_waits_at_the_end
            history::giving_up_reading_loses_nothing
            history::a_marker_comes_after_what_was_said_before
            history::progress_is_live_only
            history::progress_without_listeners_is_fine
            history::a_chronicle_has_read_what_it_said
            history::clocks_that_are_apart_are_found
            intake::what_is_submitted_waits_for_an_ingress
            intake::what_is_submitted_survives_a_restart
            intake::a_submission_that_cannot_be_taken_in_comes_again
            intake::a_submission_that_cannot_be_read_is_laid_aside
            intake::a_submission_laid_aside_is_no_job
            intake::a_submission_of_ones_own_is_known_as_such
            intake::ingresses_compete_for_submissions
            intake::submissions_and_jobs_do_not_mix
            intake::a_catalogue_is_read_as_it_was_told
            ledger::every_job_ends_once
            ledger::ten_thousand_jobs_for_a_thousand_targets
            crashes::a_published_job_survives_a_crash
            crashes::what_was_in_hand_survives_a_crash
            crashes::what_was_settled_stays_so_after_a_crash
            crashes::the_history_and_the_letters_survive_a_crash
            letters::a_dead_letter_tells_what_died_and_why
            letters::a_letter_may_hold_anything
            letters::a_reason_may_be_of_any_length
            letters::letters_are_listed_newest_last
            letters::a_closed_letter_is_gone
            letters::a_dead_letter_tells_attempts_that_were_not_counted
            letters::those_that_are_wanted_are_sought_among_all
            letters::a_letter_that_was_written_is_known_though_it_is_closed
            letters::a_letter_is_found_though_it_is_looked_for_in_times_to_come
            letters::closing_twice_is_harmless
            letters::the_first_who_closes_a_letter_has_closed_it
            letters::a_job_in_nobodys_hands_is_buried
            letters::many_list_at_once
            letters::a_letter_is_replayed
            questions::a_question_is_answered
            questions::a_question_reaches_one_of_several
            questions::a_pool_without_listeners_is_told_at_once
            questions::an_answer_comes_in_time_or_not_at_all
            questions::an_unanswered_question_holds_up_nobody
            questions::sixty_four_ask_at_once
            questions::closing_ends_questions
        }
    };
    (@each $maker:expr; $($module:ident :: $sentence:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                let maker = $maker;
                $crate::contract::$module::$sentence(&maker).await;
            }
        )*
    };
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    within_time(PATIENCE, what, work).await
}

async fn within_time<T>(time: Duration, what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| panic!("{what}: not within {time:?}"))
}

/// A pool of the test's own.
fn pool() -> PoolName {
    format!("p{}", uuid::Uuid::now_v7().simple()).parse().unwrap()
}

/// A handle, and a pool that it has served.
async fn served(maker: &dyn Maker) -> (Arc<dyn Queue>, PoolName) {
    let (queue, pool) = (maker.open().await, pool());
    drop(within("take", queue.take(&pool, 1)).await.unwrap());
    (queue, pool)
}

pub(crate) fn job(pool: &PoolName, target: &str) -> Job {
    let id = JobId::mint(Timestamp::now(), None);
    let operation = Operation::SetImage { image: "acme/web:2".parse().unwrap(), service: None };
    let now = Timestamp::now();
    Job {
        version: Job::VERSION,
        id,
        chain: ChainId::of(id),
        target: TargetName::new(pool.clone(), target).unwrap(),
        slots: operation.slots(),
        operation,
        cause: Cause { kind: CauseKind::Api, source: None, by: None, delivery: None },
        accepted_at: now,
        not_before: None,
        deadline: now.saturating_add(jiff::SignedDuration::from_hours(1)).unwrap(),
        gates: Gates::default(),
        replays: None,
        traceparent: None,
    }
}

async fn publish_some(queue: &dyn Queue, pool: &PoolName, count: usize) -> HashSet<JobId> {
    let mut published = HashSet::new();
    for n in 0..count {
        let job = job(pool, &format!("web-{n}"));
        within("publish", queue.publish(&job)).await.unwrap();
        published.insert(job.id);
    }
    published
}

async fn next(takings: &mut dyn Deliveries) -> Delivery {
    within("the next job", takings.next()).await.unwrap()
}

async fn nothing_comes(takings: &mut dyn Deliveries) {
    if let Ok(delivery) = tokio::time::timeout(QUIET, takings.next()).await {
        panic!("nothing should come, but {delivery:?} did");
    }
}

fn id(delivery: &Delivery) -> JobId {
    Job::decode(delivery.body()).expect("a job of the test").id
}

async fn settle(delivery: Delivery, how: Settlement) {
    within("settle", delivery.settle(how)).await.unwrap();
}

async fn acknowledge(delivery: Delivery) {
    settle(delivery, Settlement::Ack).await;
}

/// Acknowledges this many first attempts, and makes sure that no more come.
async fn acknowledge_all(takings: &mut dyn Deliveries, count: usize) -> HashSet<JobId> {
    let mut ids = HashSet::new();
    for _ in 0..count {
        let delivery = next(takings).await;
        assert_eq!(delivery.attempt(), 1);
        ids.insert(id(&delivery));
        acknowledge(delivery).await;
    }
    nothing_comes(takings).await;
    ids
}

#[cfg(test)]
mod tests {
    /// A sentence that is left out of the macro would never be tested.
    #[test]
    fn the_macro_lists_every_sentence() {
        let modules = [
            ("crashes", include_str!("crashes.rs")),
            ("history", include_str!("history.rs")),
            ("intake", include_str!("intake.rs")),
            ("jobs", include_str!("jobs.rs")),
            ("ledger", include_str!("ledger.rs")),
            ("letters", include_str!("letters.rs")),
            ("locks", include_str!("locks.rs")),
            ("questions", include_str!("questions.rs")),
            ("settling", include_str!("settling.rs")),
        ];
        for (module, source) in modules {
            for line in source.lines().filter_map(|line| line.strip_prefix("pub async fn ")) {
                let sentence = line.split('(').next().unwrap();
                let listed = format!("            {module}::{sentence}\n");
                assert!(include_str!("mod.rs").contains(&listed), "{module}::{sentence}");
            }
        }
    }
}
