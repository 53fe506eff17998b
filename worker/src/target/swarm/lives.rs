//! For how long tasks that are no more had run.
//!
//! An engine tells when a task was made and when it came down. In between lie the pull of its image and, where it has a
//! health check, the time until that has failed often enough: what never ran can be there for longer than what ran well
//! for a minute. The container tells when it began to run.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use proto::Timestamp;
use serde_json::Value;

use super::{client::Client, good::believed_after, tasks::Failing};

/// So many containers are looked at: those of the newest tasks.
const MOST_LOOKED_AT: usize = 32;
/// A task may have needed so long for its beginning where its container is on another node, or gone.
const LONGEST_BEGINNING: Duration = Duration::from_secs(10 * 60);
/// The engine's defaults for what a health check does not say.
const DEFAULT_CHECK: Duration = Duration::from_secs(30);
const DEFAULT_RETRIES: u32 = 3;

/// Whoever can show the containers of an engine, be it by itself or through somebody else's door.
#[async_trait]
pub(in crate::target) trait Containers: Sync {
    /// What the engine tells of a container; none where it has none of that name, or does not say.
    async fn show_container(&self, id: &str) -> Option<Value>;
}

#[async_trait]
impl Containers for Client {
    async fn show_container(&self, id: &str) -> Option<Value> {
        self.container(id).await
    }
}

/// For how long each of the containers has run, of those that the engine has; less, where they have a health check and
/// nothing tells that they passed it.
pub(super) async fn lives_of<'a>(
    engine: &dyn Containers,
    containers: impl Iterator<Item = &'a str>,
    now: Timestamp,
) -> HashMap<String, Duration> {
    let look = |container: &'a str| async move {
        let told = engine.show_container(container).await?;
        Some((container.to_owned(), ran_for(&told, now)))
    };
    let looks = containers.take(MOST_LOOKED_AT).map(look);
    futures::future::join_all(looks).await.into_iter().flatten().collect()
}

/// Of tasks that came down, those that had not run for so long that they were believed count as short-lived, however
/// long ago they were made.
pub(super) async fn note_who_never_ran(
    engine: &dyn Containers,
    failing: &mut [Failing],
    window: Duration,
    now: Timestamp,
) {
    let believed = believed_after(window);
    let was_there = |failing: &Failing| failing.life.is_some_and(|life| life > believed);
    let asked: Vec<String> =
        failing.iter().filter(|it| was_there(it)).filter_map(|it| it.container.clone()).collect();
    let lives = lives_of(engine, asked.iter().map(String::as_str), now).await;
    for failing in failing.iter_mut().filter(|it| was_there(it)) {
        let known = failing.container.as_ref().map(|container| lives.get(container).copied());
        let ran = match known {
            Some(Some(ran)) => ran,
            Some(None) => failing.life.unwrap_or_default().saturating_sub(LONGEST_BEGINNING),
            // It never came to that.
            None => Duration::ZERO,
        };
        if ran <= believed {
            failing.life = Some(believed);
        }
    }
}

/// For how long a container has run or did, as the engine tells of it.
fn ran_for(container: &Value, now: Timestamp) -> Duration {
    let state = &container["State"];
    // One that was never started began in the year 1.
    let began = time(&state["StartedAt"]).filter(|began| began.as_second() > 0);
    let ended = if state["Running"] == true { Some(now) } else { time(&state["FinishedAt"]) };
    let (Some(began), Some(ended)) = (began, ended) else { return Duration::ZERO };
    let whole = between(began, ended);
    match patience(&container["Config"]["Healthcheck"]) {
        None => whole,
        // Only the last few results are kept.
        Some(patience) => {
            let passed = first_pass(&state["Health"]).map(|at| between(at, ended)).unwrap_or_default();
            whole.saturating_sub(patience).max(passed)
        }
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// How long a container that is never healthy can be there; none without a health check.
fn patience(check: &Value) -> Option<Duration> {
    let first = check["Test"].as_array()?.first()?;
    let span = |field: &str| check[field].as_u64().map(Duration::from_nanos).unwrap_or_default();
    let or_default = |span: Duration| if span.is_zero() { DEFAULT_CHECK } else { span };
    let retries = check["Retries"].as_u64().and_then(|it| u32::try_from(it).ok()).filter(|it| *it > 0);
    let once = or_default(span("Interval")).saturating_add(or_default(span("Timeout")));
    let all = once.saturating_mul(retries.unwrap_or(DEFAULT_RETRIES)).saturating_add(span("StartPeriod"));
    (first != "NONE").then_some(all)
}

/// When it passed its health check, as far back as the engine remembers.
fn first_pass(health: &Value) -> Option<Timestamp> {
    let results = health["Log"].as_array()?.iter();
    results.filter(|result| result["ExitCode"] == 0).filter_map(|result| time(&result["End"])).min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_life_counts_from_when_it_ran_and_was_healthy() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let of = |from: &str, to: &str, check: Value, health: Value| {
            let at = |at: &str| format!("2026-01-01T00:{at}.123456789Z");
            let state =
                json!({"StartedAt": at(from), "FinishedAt": at(to), "Running": false, "Health": health});
            ran_for(&json!({"State": state, "Config": {"Healthcheck": check}}), now).as_secs()
        };
        assert_eq!(of("02:00", "02:03", Value::Null, Value::Null), 3, "however long it was pulled");
        assert_eq!(of("02:00", "02:03", json!({"Test": ["NONE"]}), Value::Null), 3);
        let check =
            json!({"Test": ["CMD", "false"], "Interval": 23_000_000_000u64, "Timeout": 5_000_000_000u64});
        let sick = json!({"Log": [{"End": "2026-01-01T00:02:23Z", "ExitCode": 1}]});
        assert_eq!(of("02:00", "03:10", check.clone(), sick.clone()), 0);
        assert_eq!(of("02:00", "22:00", check.clone(), sick), 20 * 60 - 84, "it fell ill after minutes");
        let well = json!({"Log": [
            {"End": "2026-01-01T01:02:24+01:00", "ExitCode": 0}, {"End": "2026-01-01T00:02:47Z", "ExitCode": 1},
        ]});
        assert_eq!(of("02:00", "03:10", check, well), 46);
        let by_default = json!({"Test": ["CMD-SHELL", "false"]});
        assert_eq!(of("02:00", "04:40", by_default, Value::Null), 0);
        let never =
            json!({"State": {"StartedAt": "0001-01-01T00:00:00Z", "FinishedAt": "0001-01-01T00:00:00Z"}});
        assert_eq!(ran_for(&never, now), Duration::ZERO);
        let runs = json!({"State": {"StartedAt": "2026-01-01T00:59:00Z", "Running": true}});
        assert_eq!(ran_for(&runs, now), Duration::from_secs(60));
    }
}
