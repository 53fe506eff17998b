//! The truth table: bad and odd deploys, each with the exact end it must come to.
//!
//! Each file of `cases` is a service or a stack, what is done to it, and what must be said and left. All of them are
//! played side by side, by one worker on one engine. `LONGSHORE_TEST_SOAK=1` plays them ten times over, by two workers, of
//! which one is killed in every other round.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod bad_texts;
#[path = "../swarm/carry_out.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod carry_out;
mod case;
mod compose;
mod holds;
mod images;
#[path = "../swarm/lab.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod lab;
#[path = "../life/lagging.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod lagging;
mod play;
mod progress;
mod races;
#[path = "../swarm/registry.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod registry;
mod restart;
#[path = "../life/stage.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod stage;
#[path = "../swarm/text.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod text;
mod workers;

use std::{io::Write, time::Instant};

use futures::{StreamExt, future::join_all, stream};

use crate::{
    case::Case,
    images::Images,
    play::Play,
    stage::Stage,
    workers::{Fate, Workers},
};

/// An engine that makes all services at once makes each of them slowly.
const MADE_AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn every_case_comes_to_its_end() {
    let cases = Case::all();
    let is_soak = std::env::var_os("LONGSHORE_TEST_SOAK").is_some();
    let rounds = rounds(is_soak);
    let images = Images::make();
    let mut all_wrong = Vec::new();
    for round in 1..=rounds {
        let (begun, fate) = (Instant::now(), Fate::of(round, is_soak));
        let played: Vec<&Case> = cases.iter().filter(|case| fate.decides(case)).collect();
        let wrong = play_all(&played, &images, fate).await;
        let (wrongs, seconds) = (wrong.len(), begun.elapsed().as_secs());
        // Not captured: a run that passes shows its account, too.
        let _ = writeln!(
            std::io::stdout(),
            "truth: round {round}{}: {} cases, {wrongs} wrong, {seconds} s",
            fate.told(),
            played.len()
        );
        for wrong in &wrong {
            let _ = writeln!(std::io::stdout(), "    {wrong}");
        }
        all_wrong.extend(wrong.into_iter().map(|wrong| format!("round {round}: {wrong}")));
    }
    assert!(all_wrong.is_empty(), "{}", all_wrong.join("\n"));
    assert!(cases.len() >= 50, "only {} cases were played", cases.len());
}

/// As many as are asked for, or else as a soak has.
fn rounds(is_soak: bool) -> u32 {
    let asked = std::env::var("LONGSHORE_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    asked.unwrap_or(if is_soak { 10 } else { 1 })
}

/// What was not as it must be, one text for each case.
async fn play_all(cases: &[&Case], images: &Images, fate: Fate) -> Vec<String> {
    let making = cases.iter().map(|case| Play::make(case, images, fate.keeps_words()));
    let plays: Vec<Play<'_>> = stream::iter(making).buffer_unordered(MADE_AT_ONCE).collect().await;
    let (stage, configuration) = (Stage::empty().await, play::configuration(&plays));
    let mut workers = Workers::start(&stage, &configuration, fate);
    let playing = join_all(plays.iter().map(|play| play.play(&stage)));
    let (played, ()) = tokio::join!(playing, workers.meet(&stage, &configuration, fate));
    played.into_iter().filter_map(Result::err).collect()
}
