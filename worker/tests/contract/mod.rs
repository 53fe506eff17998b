//! What every target does, whatever runs behind it. The sentences are the same before each: a [`Berth`] says where the
//! thing is, and what it is asked is read off the calls that reached it.

pub(crate) mod sentences;
#[allow(dead_code, unused_imports, unused_macros, reason = "not every target takes texts")]
pub(crate) mod texts;

use std::time::Duration;

use proto::{Event, ImageRef, Job, Operation, PoolName, State, ask};
use tokio::sync::{Mutex, MutexGuard};

use crate::stage::{Stage, carried_out, job};

/// Images that a berth has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One that comes up. There are three of them, and a thing may run the first one before it is touched.
    Good(u8),
    /// One that nobody has.
    Nowhere,
    /// One that is there and never comes up.
    Broken,
}

/// A thing that a worker deploys to, alone for one test.
pub(crate) trait Berth {
    /// A worker's configuration: the target `demo` is that thing. `more` goes into the target.
    fn configuration(&self, more: &str) -> String;

    fn image(&self, kind: Kind) -> String;

    /// What is said, among else, of the image that nobody has.
    fn nowhere(&self) -> &'static str;

    /// The image that it is meant to run as the fake itself knows it. A real thing is asked by the worker alone.
    fn stands(&self) -> Option<String>;

    /// Writes that came to its system so far, those included that were refused.
    fn writes(&self) -> usize;

    /// The next write is carried out, and its answer never comes.
    fn cut_next_write(&self);
}

/// Every sentence is a test of its own, before a berth of its own: `keeps_the_contract!(Thing::lay())`.
macro_rules! keeps_the_contract {
    ($berth:expr) => {
        $crate::contract::keeps_the_contract! { $berth;
            an_image_is_brought_and_told_once_it_runs,
            the_same_wish_again_writes_nothing,
            an_older_wish_after_a_newer_one_writes_nothing,
            a_burst_ends_on_the_newest,
            a_service_that_is_not_there_is_refused_and_nothing_written,
            an_image_that_nobody_has_ends_failed_with_the_reason,
            what_never_comes_up_is_no_success,
            where_the_target_says_so_what_ran_well_runs_again,
            a_rollback_by_wish_goes_to_what_ran_well_before,
            a_restart_and_a_redeploy_keep_the_image,
            what_is_stopped_starts_as_it_was,
            a_plan_changes_nothing,
            a_check_tells_what_is_there_and_changes_nothing,
            a_write_that_nobody_answers_is_not_written_again,
        }
    };
    ($berth:expr; $($sentence:ident,)+) => {
        $(
            #[tokio::test]
            async fn $sentence() {
                $crate::contract::sentences::$sentence(&$berth.await).await;
            }
        )+
    };
}
pub(crate) use keeps_the_contract;

/// One test at a time, where all share a real thing.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// Lets these be carried out one after the other, and wants each of them to succeed.
pub(crate) async fn all_succeed(stage: &Stage, jobs: impl IntoIterator<Item = Job>) -> Vec<Event> {
    let mut ends = Vec::new();
    for job in jobs {
        let end = carried_out(stage, &job).await;
        assert_eq!(end.state(), State::Succeeded, "{:?}: {end:?}", job.operation);
        ends.push(end);
    }
    ends
}

pub(crate) fn set(berth: &impl Berth, kind: Kind) -> Job {
    job("demo", &berth.image(kind))
}

/// How it stands with the thing, as the worker tells it.
pub(crate) async fn look(stage: &Stage) -> ask::TargetNow {
    let answer = asked(stage, &ask::Question::Target { target: "demo".parse().unwrap() }).await;
    let ask::Answer::Target(now) = answer else { panic!("{answer:?}") };
    *now
}

pub(crate) async fn plan(stage: &Stage, operation: Operation) -> ask::Plan {
    let target = "demo".parse().unwrap();
    let answer = asked(stage, &ask::Question::Plan { target, operation }).await;
    let ask::Answer::Plan(plan) = answer else { panic!("{answer:?}") };
    plan
}

async fn asked(stage: &Stage, question: &ask::Question) -> ask::Answer {
    let within = Duration::from_secs(60);
    let answer = stage.queue.ask(&PoolName::default(), question.encode().into(), within).await;
    ask::Answer::decode(&answer.expect("nobody answers")).unwrap()
}

/// Wants this image to be the one that is meant to run.
pub(crate) async fn assert_stands(berth: &impl Berth, stage: &Stage, kind: Kind) {
    let wanted: ImageRef = berth.image(kind).parse().unwrap();
    let is_it = |image: &ImageRef| image.repository() == wanted.repository() && image.tag() == wanted.tag();
    let now = look(stage).await;
    assert!(now.images.iter().any(is_it), "{wanted} is not what is told: {now:?}");
    if let Some(stands) = berth.stands() {
        assert!(is_it(&stands.parse().unwrap()), "{wanted} is not what stands there: {stands}");
    }
}
