//! Stacks of a Portainer: on a bad network, and with workers that are paused.

mod faults;
mod paused;

use std::time::Duration;

use anyhow::ensure;
use proto::State;
use serde_json::{Value, json};
use tests::{fake_portainer, fleet::Fleet, http, wait::eventually};

/// Two services; the variables are there to be kept.
const FILE: &str = "# by hand\nservices:\n  web: {image: 'acme/web:1', environment: {COLOR: '${COLOR}'}}\n  db: {image: 'postgres:16'}\n";
const LONG: Duration = Duration::from_secs(240);
const ROLLOUT: Duration = Duration::from_millis(300);

fn env() -> Value {
    json!([{"name": "COLOR", "value": "red"}])
}

/// The target `demo` is the stack `shop` of the Portainer at this address.
fn sections(address: &str) -> String {
    let key = fake_portainer::API_KEY;
    format!(
        "worker: {{takeover_after: 300ms}}\nsystems:\n  docks: {{kind: portainer, url: 'http://{address}', api_key: {key}, environment: production}}\n\
         targets:\n  demo: {{at: docks, stack: shop, stable: 200ms}}\n"
    )
}

/// Wishes an image; the job's id.
async fn wish(fleet: &Fleet, image: &str) -> String {
    let body = json!({"target": "demo", "image": image});
    let taken = eventually(LONG, "the job to be taken", || async {
        let (status, told) = http::answer(fleet.post("/v1/jobs", &body)).await?;
        // A worker that starts has its queue bound a moment after it was made.
        ensure!(status.is_success(), "{status} {told}");
        Ok(told)
    });
    let told = taken.await.unwrap();
    told["jobs"][0]["id"].as_str().unwrap().to_owned()
}

/// The state in which a job ended, and everything said of it.
async fn ended(fleet: &Fleet, job: &str) -> (State, Value) {
    let ended = eventually(LONG, "the job to end", || async {
        let (status, told) = http::answer(fleet.get(&format!("/v1/jobs/{job}"))).await?;
        let state: State = serde_json::from_value(told["state"].clone())?;
        ensure!(status.is_success() && state.is_end(), "{status} {told}");
        Ok((state, told))
    });
    ended.await.unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.lines().join("\n")))
}
