//! Many stacks on one Portainer that answers slowly, beside another one.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use proto::{Event, Job, State, Timestamp};

use crate::{
    fake_portainer::{API_KEY, FakePortainer, Family, Put, SWARM},
    lab::{FILE, ROLLOUT, env},
    stage::{Stage, job},
};

const STACKS: usize = 200;
/// How long the small one may have to wait beside the large one, whose backlog takes many minutes.
const SOON: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(240);
/// So many are taken to their end with slow answers in an ordinary run. A soak takes all of them there, which is an hour.
const TO_THE_END: usize = 3;
const LONGEST: Duration = Duration::from_secs(2 * 3600);

fn names(stacks: usize) -> Vec<String> {
    (0..stacks).map(|n| format!("s{n}")).collect()
}

fn has_ended(events: &[Event]) -> bool {
    events.iter().any(|event| event.state().is_end())
}

/// No stack was written with an older image after a newer one.
fn assert_in_order(portainer: &FakePortainer, stacks: &[u64], tags: Range<usize>) {
    let puts = portainer.puts();
    for stack in stacks {
        let brings = |put: &Put, tag: &usize| {
            let image = format!("image: acme/web:{tag}");
            put.text.lines().any(|line| line.trim_start().starts_with(&image))
        };
        let tag_of = |put: &Put| tags.clone().find(|tag| brings(put, tag));
        let written: Vec<Option<usize>> = puts.iter().filter(|put| put.stack == *stack).map(tag_of).collect();
        assert!(written.iter().all(Option::is_some), "stack {stack}: {puts:?}");
        assert!(written.is_sorted(), "stack {stack}: an older image after a newer one: {written:?}");
    }
}

fn system(name: &str, portainer: &FakePortainer) -> String {
    format!(
        "  {name}: {{kind: portainer, url: '{}', api_key: {API_KEY}, environment: production}}\n",
        portainer.url()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_stacks_keep_their_order_and_starve_nobody_else() {
    let large = FakePortainer::start(Family::Synchronous, Duration::from_millis(50)).unwrap();
    let small = FakePortainer::start(Family::Synchronous, Duration::from_millis(50)).unwrap();
    small.add_stack(SWARM, "shop", FILE, env());
    let mut targets = "  demo: {at: little, stack: shop, stable: 200ms}\n".to_owned();
    let mut stacks = Vec::new();
    for name in names(STACKS) {
        stacks.push(large.add_stack(SWARM, &name, FILE, env()));
        targets.push_str(&format!("  {name}: {{at: big, stack: {name}, stable: 50ms}}\n"));
    }
    let configuration = format!(
        "worker: {{takeover_after: 300ms, grace: 100ms}}\nsystems:\n{}{}targets:\n{targets}",
        system("big", &large),
        system("little", &small)
    );
    let stage = Stage::new(&configuration).await;
    large.answer_slowly(Duration::from_secs(1));
    let older: Vec<Job> = names(STACKS).iter().map(|name| job(name, "acme/web:2")).collect();
    let newer: Vec<Job> = names(STACKS).iter().map(|name| job(name, "acme/web:3")).collect();
    for job in older.iter().chain(&newer) {
        stage.accept(job).await;
    }
    let began = Instant::now();
    let small_one = job("demo", "acme/web:2");
    stage.accept(&small_one).await;
    stage.until_within(SOON, &small_one, has_ended).await;
    assert!(small.image(SWARM, "shop", "web").starts_with("acme/web:2"), "after {:?}", began.elapsed());
    assert!(large.most_at_once() <= 2, "{} calls at once", large.most_at_once());
    assert!(large.puts().len() < STACKS, "the large one is done already, nothing was seen");

    large.answer_slowly(Duration::ZERO);
    for (job, name) in newer.iter().zip(names(STACKS)) {
        let events = stage.until_within(LONG, job, has_ended).await;
        let end = events.iter().find(|event| event.state().is_end()).unwrap();
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert!(large.image(SWARM, &name, "web").starts_with("acme/web:3"), "{name}");
    }
    for job in &older {
        let end = stage.end(job).await;
        assert!(matches!(end.state(), State::Superseded | State::Succeeded), "{end:?}");
    }
    assert!(large.most_at_once() <= 2, "{} calls at once", large.most_at_once());
    assert_in_order(&large, &stacks, 2..4);
}

/// To their very end with every answer as slow. Of three wishes the newest comes before an older one: what waits for its
/// turn for minutes is not carried out in the order in which it came.
#[tokio::test(flavor = "multi_thread")]
async fn each_stack_ends_on_its_newest_though_every_answer_takes_a_second() {
    let is_soak = std::env::var_os("LONGSHORE_TEST_SOAK").is_some_and(|soak| soak == "1");
    let names = names(if is_soak { STACKS } else { TO_THE_END });
    let portainer = FakePortainer::start(Family::Synchronous, Duration::from_millis(50)).unwrap();
    let mut targets = String::new();
    let mut stacks = Vec::new();
    for name in &names {
        stacks.push(portainer.add_stack(SWARM, name, FILE, env()));
        targets.push_str(&format!("  {name}: {{at: big, stack: {name}, stable: 50ms}}\n"));
    }
    let configuration = format!(
        "worker: {{takeover_after: 300ms, grace: 100ms}}\nsystems:\n{}targets:\n{targets}",
        system("big", &portainer)
    );
    let stage = Stage::new(&configuration).await;
    portainer.answer_slowly(Duration::from_secs(1));
    let wishes_of = |tag: usize| -> Vec<Job> {
        let patient = |job: Job| Job { deadline: Timestamp::now() + LONGEST, ..job };
        names.iter().map(|name| patient(job(name, &format!("acme/web:{tag}")))).collect()
    };
    let (first, late, newest) = (wishes_of(2), wishes_of(3), wishes_of(4));
    let began = Instant::now();
    // Of one stack the first wish is written already when the others come.
    stage.accept(&first[0]).await;
    until_written(&portainer).await;
    for job in first[1..].iter().chain(&newest).chain(&late) {
        stage.accept(job).await;
    }
    for (job, name) in newest.iter().zip(&names) {
        let events = stage.until_within(LONGEST, job, has_ended).await;
        let end = events.iter().find(|event| event.state().is_end()).unwrap();
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert!(portainer.image(SWARM, name, "web").starts_with("acme/web:4"), "{name}");
    }
    for job in first.iter().chain(&late) {
        let events = stage.until_within(LONG, job, has_ended).await;
        let end = events.iter().find(|event| event.state().is_end()).unwrap();
        assert!(matches!(end.state(), State::Superseded | State::Succeeded), "{end:?}");
    }
    println!(
        "{} stacks, answers of 1 s, {} calls, {} writes: all ended after {:.0?}",
        names.len(),
        portainer.requests().len(),
        portainer.puts().len(),
        began.elapsed()
    );
    assert!(portainer.most_at_once() <= 2, "{} calls at once", portainer.most_at_once());
    assert_in_order(&portainer, &stacks, 2..5);
    assert!(portainer.puts().len() > names.len(), "one is written twice");
}

async fn until_written(portainer: &FakePortainer) {
    let written = async {
        while portainer.puts().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LONG, written).await.expect("nothing is written");
}

/// Whoever waited for others between the look and the write would write over what came meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_between_the_last_look_and_the_write() {
    let portainer = FakePortainer::start(Family::Synchronous, ROLLOUT).unwrap();
    let names: Vec<String> = (0..8).map(|n| format!("s{n}")).collect();
    let mut targets = String::new();
    for name in &names {
        portainer.add_stack(SWARM, name, FILE, env());
        targets.push_str(&format!("  {name}: {{at: big, stack: {name}, stable: 50ms}}\n"));
    }
    let one_at_once = system("big", &portainer).replace("environment:", "at_once: 1, environment:");
    let configuration = format!(
        "worker: {{takeover_after: 300ms, grace: 100ms}}\nsystems:\n{one_at_once}targets:\n{targets}"
    );
    let stage = Stage::new(&configuration).await;
    portainer.answer_slowly(Duration::from_millis(20));
    let jobs: Vec<Job> = names.iter().map(|name| job(name, "acme/web:2")).collect();
    for job in &jobs {
        stage.accept(job).await;
    }
    for job in &jobs {
        let events = stage.until_within(LONG, job, has_ended).await;
        assert!(events.iter().any(|event| event.state() == State::Succeeded), "{events:?}");
    }
    let requests = portainer.requests();
    let writes: Vec<usize> = (0..requests.len()).filter(|at| requests[*at].starts_with("PUT ")).collect();
    assert_eq!(writes.len(), names.len());
    for at in writes {
        let stack = requests[at].trim_start_matches("PUT ");
        let looks = [format!("GET {stack}"), format!("GET {stack}/file")];
        assert_eq!(requests[at - 2..at], looks, "before {}", requests[at]);
    }
}

/// Each rollout alone makes some six calls a second.
#[tokio::test(flavor = "multi_thread")]
async fn rollouts_that_are_watched_at_once_share_their_looks() {
    const ROLLOUTS: usize = 8;
    const TAKES: Duration = Duration::from_secs(6);
    assert!(ROLLOUT < TAKES);
    let portainer = FakePortainer::start(Family::Synchronous, TAKES).unwrap();
    let mut configuration = format!(
        "worker: {{takeover_after: 60s, grace: 100ms}}\nsystems:\n{}targets:\n",
        system("docks", &portainer)
    );
    let names: Vec<String> = (0..ROLLOUTS).map(|n| format!("s{n}")).collect();
    for name in &names {
        portainer.add_stack(SWARM, name, FILE, env());
        configuration.push_str(&format!("  {name}: {{at: docks, stack: {name}, stable: 200ms}}\n"));
    }
    // What they are made of rolls out first.
    tokio::time::sleep(TAKES).await;
    let stage = Stage::new(&configuration).await;
    let jobs: Vec<Job> = names.iter().map(|name| job(name, "acme/web:2")).collect();
    for job in &jobs {
        stage.accept(job).await;
    }
    for job in &jobs {
        let end = stage.end(job).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
    }
    let requests = portainer.requests();
    let tasks = requests.iter().filter(|line| line.ends_with("/docker/tasks")).count();
    // Alone, each asks for two lists a second: some hundred in all.
    assert!(tasks < 60, "{tasks} lists of tasks among {} calls", requests.len());
}
