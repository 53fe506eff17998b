//! Ids, index, lock, fence, retry and crash together: whatever happens in whatever order, every job has one end and
//! every target ends on its newest wish.
//!
//! Real workers carry out jobs of the real embedded engine on rehearsed targets. Each of their steps (lock, say, read,
//! write, watch, settle) waits at a gate until the drawn sequence lets it pass; between any two of them a worker may
//! crash, be frozen, or stop, the engine may be closed or crash, copies of jobs may come in, jobs may be called off, and
//! two ingresses with clocks apart mint ids in any order. In the end all gates open, and the account is drawn.

mod account;
mod gates;
mod pier;
mod reach;
mod tally;
mod world;

use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};

use self::{
    pier::Fate,
    tally::Sum,
    world::{Step, Wish, World},
};

/// Sequences in a usual run, and in a long one.
const CASES: u32 = 24;
const CASES_OF_A_SOAK: u32 = 1500;

/// So many sequences more are tried until a late write was undone.
const MOST_UNTIL_LATE: u32 = 200;

/// Sequences run side by side: most of their time they wait.
const SIDE_BY_SIDE: u32 = 4;

/// Longest search for a shorter sequence that fails too, in milliseconds.
const SHRINK_FOR: u32 = 120_000;

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => Just(Fate::Succeeds),
        1 => Just(Fate::Fails),
        1 => Just(Fate::RollsBack),
        1 => (1..4u8).prop_map(Fate::Stumbles),
        1 => (1..3u8).prop_map(Fate::Panics),
    ]
}

fn wishes() -> impl Strategy<Value = Wish> {
    prop_oneof![
        6 => (0..2u8).prop_map(Wish::Image),
        2 => Just(Wish::Restart),
        1 => Just(Wish::Start),
        1 => Just(Wish::Stop),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let accept = (0..2usize, any::<bool>(), 0..3usize, wishes(), fates(), prop::bool::weighted(0.95))
        .prop_map(|(ingress, hears, target, wish, fate, says_so)| Step::Accept {
            ingress,
            hears,
            target,
            wish,
            fate,
            says_so,
        });
    let step = prop_oneof![
        8 => accept,
        16 => (0..2usize, 0..3usize, 1..9usize)
            .prop_map(|(worker, target, steps)| Step::Let { worker, target, steps }),
        2 => (0..2usize).prop_map(Step::Crash),
        1 => (0..2usize).prop_map(Step::Stop),
        1 => (0..2usize).prop_map(Step::Freeze),
        2 => any::<prop::sample::Index>().prop_map(Step::Copy),
        2 => any::<prop::sample::Index>().prop_map(Step::Cancel),
        1 => Just(Step::Reopen),
        1 => Just(Step::CrashEngine),
    ];
    prop::collection::vec(step, 5..60)
}

/// A worker is frozen somewhere on its way to a target that takes whatever is written, and a newer wish runs meanwhile:
/// if it was about to write, it writes late. Which worker is at which job cannot be chosen, so some of these do that.
fn late_writes() -> impl Strategy<Value = Vec<Step>> {
    const BLIND: usize = 2;
    /// It has the lock, has said `started`, and has read.
    const ABOUT_TO_WRITE: usize = 3;
    /// Steps in which a job or two are carried out.
    const THROUGH: usize = 30;
    let accept = || Step::Accept {
        ingress: 0,
        hears: true,
        target: BLIND,
        wish: Wish::Image(0),
        fate: Fate::Succeeds,
        says_so: true,
    };
    // One at a time, so that each is waited for.
    let pass = |worker, times| std::iter::repeat_n(Step::Let { worker, target: BLIND, steps: 1 }, times);
    (ABOUT_TO_WRITE - 1..=ABOUT_TO_WRITE + 1, 0..2usize).prop_map(move |(on_its_way, other)| {
        let frozen = 1 - other;
        let begun = std::iter::once(accept()).chain(pass(frozen, on_its_way)).chain(pass(other, on_its_way));
        let left = begun.chain([Step::Freeze(frozen), accept()]);
        left.chain(pass(other, THROUGH)).collect()
    })
}

/// A number of one's own choice repeats a run.
fn seed() -> u64 {
    let given = std::env::var("LONGSHORE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| crate::conclusion::fresh() >> 1)
}

fn runner(seed: u64, cases: u32) -> TestRunner {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_time: SHRINK_FOR,
        ..ProptestConfig::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

#[test]
fn whatever_happens_every_job_has_one_end_and_the_newest_wish_stands() {
    let is_soak = std::env::var_os("LONGSHORE_TEST_SOAK").is_some_and(|soak| soak == "1");
    let cases = if is_soak { CASES_OF_A_SOAK } else { CASES };
    let seed = seed();
    println!("LONGSHORE_TEST_SEED={seed} repeats this run");
    let (done, sum) = (AtomicU32::new(0), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for part in 0..SIDE_BY_SIDE {
            let (done, sum) = (&done, &sum);
            scope.spawn(move || {
                let mut runner = runner(seed + u64::from(part), cases / SIDE_BY_SIDE);
                let ran = runner.run(&prop_oneof![5 => steps(), 1 => late_writes()], |steps| {
                    let account = World::live(&steps).map_err(TestCaseError::fail)?;
                    done.fetch_add(1, Ordering::Relaxed);
                    sum.lock().unwrap().add(&account);
                    Ok(())
                });
                if let Err(failure) = ran {
                    panic!("LONGSHORE_TEST_SEED={seed}, part {part}: {failure}");
                }
            });
        }
    });
    let mut sum = sum.into_inner().unwrap();
    println!("{} sequences: {sum}", done.into_inner());
    until_written_late(&mut sum, seed);
}

/// Goes on until a late write was undone: where none ever is, nothing is proved of them.
fn until_written_late(sum: &mut Sum, seed: u64) {
    let mut runner = runner(seed, 1);
    let mut tried = 0;
    while sum.put_back() == 0 {
        assert!(tried < MOST_UNTIL_LATE, "LONGSHORE_TEST_SEED={seed}: nothing was written late: {sum}");
        let steps = late_writes().new_tree(&mut runner).unwrap().current();
        sum.add(&World::live(&steps).unwrap_or_else(|failure| panic!("{failure}: {steps:?}")));
        tried += 1;
    }
    println!("{tried} sequences more until a late write was undone: {sum}");
}
