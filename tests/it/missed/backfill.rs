//! An outage, what GitHub could not hand over in it, and the return.

use anyhow::ensure;
use proto::Timestamp;
use reqwest::StatusCode;
use ring::hmac;
use serde_json::{Value, json};
use tests::fake_github::{Attempt, FakeGithub, TOKEN, digest, push};
use tests::fleet::{Engine, Fleet};
use tests::wait::eventually;
use tests::{http, process::longshore};

use super::{SOON, comes_to, ids, image_of, jobs_of};

const SECRET: &str = "of-the-hook";

/// Tries once to hand an event over, as GitHub does, and keeps what came of it.
async fn deliver(fleet: &Fleet, github: &FakeGithub, guid: &str, tag: &str) -> Option<(StatusCode, Value)> {
    let payload = push(tag, &digest("a"));
    let body = payload.to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature: String =
        hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = http::client()
        .unwrap()
        .post(fleet.url("/hooks/hub"))
        .header("x-github-event", "package")
        .header("x-github-delivery", guid)
        .header("x-hub-signature-256", format!("sha256={signature}"))
        .header("content-type", "application/json")
        .body(body);
    let delivered_at = Timestamp::now();
    let answer = http::answer(request).await.ok();
    let status_code = answer.as_ref().map_or(0, |(status, _)| status.as_u16());
    let (guid, event) = (guid.to_owned(), "package".to_owned());
    github.tried(Attempt { guid, event, delivered_at, status_code, payload });
    answer
}

#[tokio::test]
async fn what_github_could_not_hand_over_in_an_outage_is_deployed_once() {
    let github = FakeGithub::start().unwrap();
    let mut fleet = Fleet::prepare(Engine::Embedded).await.unwrap();
    let file = fleet
        .configure(&format!(
            "sources:\n  hub: {{kind: github, secret: {SECRET}, backfill: {}}}\n\
             systems: {{lab: {{kind: rehearsal}}}}\n\
             targets:\n  web: {{at: lab, takes: 20ms, follow: \"ghcr.io/acme/web:*\"}}\n",
            github.section("1s")
        ))
        .unwrap();
    let checked = longshore("longshore").unwrap().arg("check").arg("--config").arg(&file).output().await;
    let checked = checked.unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    fleet.start().await.unwrap();
    let (status, first) = deliver(&fleet, &github, "one", "1").await.unwrap();
    assert_eq!(status, 202, "{first}");
    comes_to(&fleet, &ids(&first)[0], &["succeeded"]).await;

    fleet.kill().await.unwrap();
    assert!(deliver(&fleet, &github, "two", "2").await.is_none());
    assert!(deliver(&fleet, &github, "three", "3").await.is_none());
    fleet.start().await.unwrap();
    let jobs = eventually(SOON, "what was missed to be taken", || async {
        let jobs = jobs_of(&fleet, "web").await;
        ensure!(jobs.len() == 3, "{jobs:?}\n{}", fleet.lines().join("\n"));
        Ok(jobs)
    });
    let jobs = jobs.await.unwrap();
    let images: Vec<Value> = jobs.iter().map(image_of).collect();
    let expected = ["3", "2", "1"].map(|tag| json!(format!("ghcr.io/acme/web:{tag}@{}", digest("a"))));
    assert_eq!(images, expected);
    comes_to(&fleet, jobs[0]["id"].as_str().unwrap(), &["succeeded"]).await;
    comes_to(&fleet, jobs[1]["id"].as_str().unwrap(), &["succeeded", "superseded"]).await;

    // Somebody has GitHub deliver it again, and looks go on.
    let (status, again) = deliver(&fleet, &github, "three", "3").await.unwrap();
    assert_eq!((status.as_u16(), ids(&again)), (202, vec![jobs[0]["id"].as_str().unwrap().to_owned()]));
    // An old one that was missed comes to light: it is older than what runs.
    let delivered_at = Timestamp::from_second(Timestamp::now().as_second() - 3600).unwrap();
    let (guid, event) = ("late".to_owned(), "package".to_owned());
    github.tried(Attempt { guid, event, delivered_at, status_code: 0, payload: push("0", &digest("a")) });
    eventually(SOON, "the late one to be looked at", || async {
        let text = fleet.get("/metrics").send().await?.text().await?;
        let name = "longshore_missed_deliveries_total{source=\"hub\",result=\"outdated\"} 1";
        ensure!(text.contains(name), "{text}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(jobs_of(&fleet, "web").await.len(), 3);
    let said = fleet.lines().join("\n");
    assert!(!said.contains(TOKEN) && !said.contains(SECRET), "{said}");
}
