//! A worker is killed outright at each step of an attempt, another takes the job up: the job ends once, and its
//! target ends as if nothing had happened.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "dying.rs"]
#[allow(dead_code, reason = "shared with other test programs")]
mod dying;
#[path = "half_way.rs"]
mod half_way;
#[path = "held.rs"]
mod held;
#[path = "../swarm/lab.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod lab;
#[path = "operations.rs"]
mod operations;
#[path = "../swarm/registry.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod registry;
#[path = "secrets.rs"]
mod secrets;
#[path = "texts.rs"]
mod texts;

use std::collections::BTreeSet;

use proto::{ImageRef, State};
use serde_json::{Value, json};
use tempfile::TempDir;
use worker::{steps, target::Target};

use crate::{
    dying::{all_well, dies_and_another_goes_on, ends_of, folder},
    lab::{STAYS_UP, Service, environment, job, swarm},
    registry::Registry,
};

/// What becomes of the job where nobody dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// The image holds.
    Good,
    /// It does not, and the engine rolls back.
    EngineGoesBack,
    /// It does not, and we roll back.
    WeGoBack,
}

/// One worker's death: in which life, and where.
struct Death<'a> {
    life: Life,
    step: String,
    images: &'a [ImageRef; 3],
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_die_at_any_step() {
    let registry = Registry::start();
    let images = [
        registry.push("steps:old", STAYS_UP),
        registry.push("steps:new", STAYS_UP),
        registry.push("steps:bad", &["false"]),
    ];
    let ways_back = ["undone", "wentback"];
    let mut deaths = Vec::new();
    for step in steps::names() {
        if !ways_back.contains(&step.as_str()) && step != held::STEPS[0] {
            deaths.push((Life::Good, step.clone()));
        }
    }
    for life in [Life::EngineGoesBack, Life::WeGoBack] {
        for step in ways_back.into_iter().chain(["announced", "applied", "watched", "said"]) {
            deaths.push((life, step.to_owned()));
        }
    }
    let named: BTreeSet<&str> = deaths.iter().map(|(_, step)| step.as_str()).chain(held::STEPS).collect();
    assert_eq!(named.len(), steps::names().count(), "a step without a death");
    let dying = deaths.into_iter().map(|(life, step)| Death { life, step, images: &images }.die_and_go_on());
    all_well(dying).await;
}

impl Death<'_> {
    async fn die_and_go_on(self) -> Result<(), String> {
        let service = Service::create(&self.images[0].to_string(), |spec| self.shape(spec)).await;
        let folder = self.prepare(&service);
        let end = if self.life == Life::Good { State::Succeeded } else { State::RolledBack };
        let mut wrong = dies_and_another_goes_on(&folder, &self.step, end).await;
        wrong.extend(self.look(&service).await);
        wrong.extend(self.listen(&folder).await);
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!("{:?} {}: {}", self.life, self.step, wrong.join("; ")))
    }

    fn shape(&self, spec: &mut Value) {
        spec["Mode"]["Replicated"]["Replicas"] = json!(1);
        spec["UpdateConfig"]["Monitor"] = json!(15_000_000_000u64);
        match self.life {
            Life::Good => spec["UpdateConfig"]["Monitor"] = json!(2_000_000_000u64),
            Life::EngineGoesBack => spec["UpdateConfig"]["FailureAction"] = json!("rollback"),
            Life::WeGoBack => {}
        }
        spec["RollbackConfig"] = json!({"Parallelism": 0, "Monitor": 100_000_000});
    }

    /// A folder with the worker's configuration and its job.
    fn prepare(&self, service: &Service) -> TempDir {
        let host = environment("LONGSHORE_TEST_DOCKER");
        let rollback = self.life == Life::WeGoBack;
        let text = format!(
            "systems:\n  swarm: {{kind: swarm, host: \"{host}\"}}\n\
             targets:\n  web: {{at: swarm, service: {}, rollback: {rollback}}}\n",
            service.name
        );
        folder(&text, &job(self.image()))
    }

    fn image(&self) -> &ImageRef {
        if self.life == Life::Good { &self.images[1] } else { &self.images[2] }
    }

    /// Whatever went back says which task did not hold, and why, whoever watched it.
    async fn listen(&self, folder: &TempDir) -> Option<String> {
        let end = ends_of(folder).await.pop()?;
        let told = end.data.reason.map(|reason| reason.text).unwrap_or_default();
        let is_told = self.life == Life::Good || told.contains("non-zero exit (1)");
        (!is_told).then(|| format!("it says only `{told}`"))
    }

    /// What is not as it must be.
    async fn look(&self, service: &Service) -> Vec<String> {
        let mut wrong = Vec::new();
        let pinned = swarm().service("any").resolve(self.image()).await.unwrap();
        let stands = service.image().await;
        let old = &self.images[0];
        let bad = (self.life != Life::Good).then(|| pinned.digest().map(ToString::to_string)).flatten();
        let runs = match self.life {
            Life::Good => stands == pinned.to_string(),
            Life::EngineGoesBack => stands == old.to_string(),
            // To the very content that the tag named.
            Life::WeGoBack => stands == swarm().service("any").resolve(old).await.unwrap().to_string(),
        };
        if !runs {
            wrong.push(format!("{stands} stands there"));
        }
        let noted = service.label("longshore.bad").await;
        if noted != bad {
            wrong.push(format!("{noted:?} is noted as bad"));
        }
        wrong
    }
}
