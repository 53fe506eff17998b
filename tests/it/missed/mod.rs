//! What senders told while nobody heard it, or told twice.

mod backfill;
mod replicas;

use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use tests::fleet::Fleet;
use tests::http;
use tests::wait::eventually;

const SOON: Duration = Duration::from_secs(90);

/// Waits until this is the state of a job, and gives all that is known of it.
async fn comes_to(fleet: &Fleet, job: &str, states: &[&str]) -> Value {
    let what = format!("{job} to be {states:?}");
    let shown = eventually(SOON, &what, || async {
        let (_, shown) = http::answer(fleet.get(&format!("/v1/jobs/{job}"))).await?;
        ensure!(states.iter().any(|state| shown["state"] == *state), "{shown}");
        Ok(shown)
    });
    shown.await.unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.lines().join("\n")))
}

/// The jobs of a target, the newest wish first.
async fn jobs_of(fleet: &Fleet, target: &str) -> Vec<Value> {
    let (_, page) = http::answer(fleet.get(&format!("/v1/jobs?target={target}"))).await.unwrap();
    page["jobs"].as_array().cloned().unwrap_or_else(|| panic!("{page}"))
}

fn ids(answer: &Value) -> Vec<String> {
    let jobs = answer["jobs"].as_array().cloned().unwrap_or_default();
    jobs.iter().map(|job| job["id"].as_str().unwrap_or_default().to_owned()).collect()
}

fn image_of(job: &Value) -> Value {
    json!(job["operation"]["image"])
}
