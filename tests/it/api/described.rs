//! A running server answers only what its own description says, whatever it is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tests::{
    description::Description,
    fleet::{Engine, Fleet},
    http,
};

use tokio::time::timeout;

use super::requests::{Chance, Maker, Operation, Request, operations};

/// Requests of each operation: so many good ones, and as many with something wrong.
const EACH: usize = 25;
const SEED: u64 = 0x5eed;

const SECTIONS: &str = "
sources:
  demo: {kind: plain, open: true}
  cloud: {kind: cloudevents, open: true}
systems: {stage: {kind: rehearsal}}
targets:
  demo: {at: stage, follow: 'demo:*', takes: 20ms}
  held: {at: stage, follow: 'held:*', approve: true, takes: 20ms}
";

/// What cannot succeed here: nothing is dead, nothing was rolled back, nobody here sends a body with a GET, and nobody is
/// a user.
const IN_VAIN: [&str; 10] = [
    "replayJob",
    "discardJob",
    "releaseTarget",
    "rollBack",
    "pushByGet",
    "pushByGetWithKey",
    "logIn",
    "logOut",
    "refreshSession",
    "register",
];

#[tokio::test]
async fn every_path_answers_only_what_is_described() {
    let mut fleet = Fleet::prepare(Engine::Embedded).await.unwrap();
    fleet.configure(SECTIONS).unwrap();
    fleet.start().await.unwrap();
    let (_, document) = http::answer(fleet.get("/openapi.json")).await.unwrap();
    let description = Description::of(document.clone());
    let mut maker = Maker { chance: Chance::of(SEED), jobs: Vec::new(), document: document.clone() };
    let (mut faults, mut codes) = (Vec::new(), BTreeMap::<u16, usize>::new());
    let mut succeeded = BTreeSet::new();
    for operation in &operations(&document) {
        for round in 0..2 * EACH {
            if round % 5 == 0 {
                maker.jobs = jobs(&fleet).await.unwrap();
            }
            let request = if round < EACH { maker.good(operation) } else { maker.bad(operation) };
            let (code, fault) = ask(&fleet, &description, operation, &request).await.unwrap();
            *codes.entry(code).or_default() += 1;
            if code < 300 {
                succeeded.insert(operation.id.to_owned());
            }
            faults.extend(fault.map(|fault| format!("{} {request:?}: {code}: {fault}", operation.id)));
        }
    }
    println!("described: seed {SEED:#x}, answers by code: {codes:?}");
    assert!(faults.is_empty(), "{} answers are not described:\n{}", faults.len(), faults.join("\n"));
    let known: BTreeSet<String> =
        operations(&document).iter().map(|operation| operation.id.to_owned()).collect();
    let never: Vec<&String> =
        known.difference(&succeeded).filter(|id| !IN_VAIN.contains(&id.as_str())).collect();
    assert!(never.is_empty(), "no good request was understood: {never:?}");
    assert!(!fleet.lines().iter().any(|line| line.contains("panicked")), "{}", fleet.lines().join("\n"));
}

/// Jobs that are there, among them held ones.
async fn jobs(fleet: &Fleet) -> Result<Vec<String>> {
    http::answer(fleet.post("/v1/jobs", &json!({"target": "held", "image": "held:1"}))).await?;
    let (_, page) = http::answer(fleet.get("/v1/jobs?limit=20")).await?;
    let listed = page["jobs"].as_array().context("list jobs")?;
    Ok(listed.iter().filter_map(|job| Some(job["id"].as_str()?.to_owned())).collect())
}

/// The code of an answer, and what is not as described in it.
async fn ask(
    fleet: &Fleet,
    description: &Description,
    operation: &Operation<'_>,
    request: &Request,
) -> Result<(u16, Option<String>)> {
    let mut call = fleet.request(operation.method.clone(), &request.path, request.with_token);
    for (name, value) in &request.headers {
        call = call.header(name, value);
    }
    if let Some(body) = &request.body {
        call = call.header("content-type", "application/json").body(body.clone());
    }
    let answer = call.send().await.with_context(|| format!("{} {request:?}", operation.id))?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let is_stream = header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    let body = match is_stream {
        true => Vec::new(),
        false => timeout(Duration::from_secs(60), answer.bytes()).await?.context("read an answer")?.to_vec(),
    };
    Ok((status, description.fault((operation.method.as_str(), operation.path), status, header, &body)))
}
