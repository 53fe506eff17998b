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

use proto::{ImageRef, Job, State, Timestamp};
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
    /// The same of an image that somebody else was bringing when the job came: nothing was written before the way back.
    WeGoBackFromAnothers,
    /// It does not, and came over the rollout of an earlier job: the engine goes back to the image of that, which never ran
    /// well, and we go on to the one that did.
    EngineGoesBackToAnEarlierJobs,
}

/// One worker's death: in which life, and where.
struct Death<'a> {
    life: Life,
    step: String,
    images: &'a [ImageRef; 5],
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_die_at_any_step() {
    let registry = Registry::start();
    let images = [
        registry.push("steps:old", STAYS_UP),
        registry.push("steps:new", STAYS_UP),
        registry.push("steps:bad", &["false"]),
        // Long enough for a worker to come while the engine still watches it.
        registry.push("steps:later", &["sh", "-c", "sleep 25; exit 1"]),
        registry.push("steps:between", &["sleep", "2000000"]),
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
    // In a rollout that is under way nothing is announced.
    for life in [Life::WeGoBackFromAnothers, Life::EngineGoesBackToAnEarlierJobs] {
        for step in ways_back.into_iter().chain(["applied", "watched", "said"]) {
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
        let earlier = job(&self.images[4]);
        let folder = self.prepare(&service);
        match self.life {
            Life::WeGoBackFromAnothers => self.bring_by_hand(&service).await,
            Life::EngineGoesBackToAnEarlierJobs => self.bring_as(&earlier, &service).await,
            Life::Good | Life::EngineGoesBack | Life::WeGoBack => {}
        }
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
            Life::WeGoBackFromAnothers => spec["UpdateConfig"]["Monitor"] = json!(90_000_000_000u64),
            Life::EngineGoesBackToAnEarlierJobs => {
                spec["UpdateConfig"]["Monitor"] = json!(60_000_000_000u64);
                spec["UpdateConfig"]["FailureAction"] = json!("rollback");
            }
            Life::WeGoBack => {}
        }
        spec["RollbackConfig"] = json!({"Parallelism": 0, "Monitor": 100_000_000});
    }

    /// A folder with the worker's configuration and its job.
    fn prepare(&self, service: &Service) -> TempDir {
        let host = environment("LONGSHORE_TEST_DOCKER");
        // What stood there before is believed sooner than the engine believes what comes.
        let stable = if self.life == Life::WeGoBackFromAnothers { ", stable: 1s" } else { "" };
        let rollback = matches!(self.life, Life::WeGoBack | Life::WeGoBackFromAnothers);
        let text = format!(
            "systems:\n  swarm: {{kind: swarm, host: \"{host}\"}}\n\
             targets:\n  web: {{at: swarm, service: {}, rollback: {rollback}{stable}}}\n",
            service.name
        );
        folder(&text, &job(self.image()))
    }

    /// Begins the rollout that the job comes to, as somebody else would.
    async fn bring_by_hand(&self, service: &Service) {
        let ran_for_long = async |it: &Service| {
            let tasks = it.tasks().await;
            let since = |task: &Value| task["Status"]["Timestamp"].as_str()?.parse::<Timestamp>().ok();
            let began = tasks.iter().filter_map(since).max();
            began.is_some_and(|began| Timestamp::now().duration_since(began).as_secs() >= 2)
        };
        service.wait_for("what stands there to be believed", ran_for_long).await;
        let image = json!(swarm().service("any").resolve(self.image()).await.unwrap().to_string());
        service.edit_by_hand(|spec| spec["TaskTemplate"]["ContainerSpec"]["Image"] = image.clone()).await;
        service.wait_until_it_rolls().await;
    }

    /// Begins the rollout of an earlier job, as its worker did, and leaves it alone.
    async fn bring_as(&self, earlier: &Job, service: &Service) {
        let [old, between] = [&self.images[0], &self.images[4]]
            .map(|image| async { swarm().service("any").resolve(image).await.unwrap() });
        let (old, between, id) = (old.await.to_string(), between.await.to_string(), earlier.id.to_string());
        let announced =
            json!({"longshore.trying": id, "longshore.trying-image": between, "longshore.good": old});
        service.edit_by_hand(|spec| spec["Labels"] = announced.clone()).await;
        service
            .edit_by_hand(|spec| {
                spec["Labels"]["longshore.job"] = json!(id);
                spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(between);
            })
            .await;
        service.wait_until_it_rolls().await;
    }

    fn image(&self) -> &ImageRef {
        match self.life {
            Life::Good => &self.images[1],
            Life::EngineGoesBack | Life::WeGoBack | Life::EngineGoesBackToAnEarlierJobs => &self.images[2],
            Life::WeGoBackFromAnothers => &self.images[3],
        }
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
            Life::WeGoBack | Life::WeGoBackFromAnothers | Life::EngineGoesBackToAnEarlierJobs => {
                stands == swarm().service("any").resolve(old).await.unwrap().to_string()
            }
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
