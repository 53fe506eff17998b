//! A swarm that a fleet looks through, and a registry.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::engine::{Engine, Image, Service};
use tests::environment::unique;
use tests::fleet::{self, Fleet};
use tests::registry::Registry;
use tests::wait::eventually;
use tokio::sync::{Mutex, MutexGuard};

pub(super) const SOON: Duration = Duration::from_secs(60);
pub(super) const ROLLOUT: Duration = Duration::from_secs(120);

pub(super) struct Stage {
    pub(super) fleet: Fleet,
    pub(super) engine: Engine,
    pub(super) registry: Registry,
    /// Every fleet that looks through the one swarm of the run finds the services of all: one at a time.
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::const_new(());

impl Stage {
    /// A fleet that looks through the swarm, with these sources.
    pub(super) async fn new(on: fleet::Engine, sources: &str) -> Result<Stage> {
        Stage::beside(on, sources, "").await
    }

    /// The same with more systems, each a line.
    pub(super) async fn beside(on: fleet::Engine, sources: &str, systems: &str) -> Result<Stage> {
        let alone = ALONE.lock().await;
        let (mut fleet, engine) = (Fleet::prepare(on).await?, Engine::of_the_run()?);
        let registry = Registry::start().await?;
        fleet.configure(&format!(
            "sources: {sources}\nsystems:\n  swarm: {{kind: swarm, host: \"{}\", discover: labels}}\n{systems}",
            engine.host()
        ))?;
        fleet.start().await?;
        Ok(Stage { fleet, engine, registry, _alone: alone })
    }

    /// An image in the registry.
    pub(super) async fn push(&self, repository: &str, tag: &str, content: &str) -> Result<Image> {
        let reference = self.registry.image(&format!("{repository}:{tag}"));
        self.engine.build(&reference, &format!("RUN echo {content} > /www/version")).await?;
        self.engine.push(&reference).await
    }

    /// A service of one task with these labels.
    pub(super) async fn service(&self, image: &Image, labels: &[String]) -> Result<Service> {
        let mut options = vec!["--update-monitor", "1s"];
        labels.iter().for_each(|label| options.extend(["--label", label.as_str()]));
        self.engine.create_service(&unique("found"), &image.reference, &options).await
    }

    /// Writes labels as their owner does, or takes them off with `--label-rm`.
    pub(super) async fn relabel(&self, service: &Service, option: &str, label: &str) -> Result<()> {
        self.engine.docker(&["service", "update", "--detach", option, label, &service.name]).await.map(drop)
    }

    /// What `GET /v1/targets` tells.
    pub(super) async fn told(&self) -> Result<Value> {
        let answer = self.fleet.get("/v1/targets").send().await?;
        ensure!(answer.status().is_success(), "{}", answer.status());
        answer.json().await.context("read the targets")
    }

    /// Waits until the service is a target, or is none any more.
    pub(super) async fn until_target(&self, name: &str, is_one: bool) -> Result<Value> {
        eventually(SOON, &format!("`{name}` to be a target: {is_one}"), || async {
            let told = self.told().await?;
            let target = format!("default/{name}");
            let targets = told["targets"].as_array().context("no list")?;
            let found = targets.iter().find(|listed| listed["target"] == target.as_str());
            ensure!(found.is_some() == is_one, "{told}");
            Ok(found.cloned().unwrap_or_default())
        })
        .await
    }

    /// Waits until the service runs the image, and gives the jobs for it, newest first.
    pub(super) async fn until_it_runs(
        &self,
        service: &Service,
        target: &str,
        image: &Image,
    ) -> Result<Vec<Value>> {
        let what = format!("{} to run {}", service.name, image.reference);
        eventually(ROLLOUT, &what, || async {
            let jobs = self.jobs(target).await?;
            let runs = service.image().await?;
            ensure!(runs.ends_with(&image.digest), "it runs {runs}; jobs: {jobs:?}");
            ensure!(jobs.first().is_some_and(|job| job["state"] == "succeeded"), "{jobs:?}");
            Ok(jobs)
        })
        .await
        .with_context(|| self.fleet.lines().join("\n"))
    }

    /// Waits until a fault is told, or is told no more, in which all of these words stand.
    pub(super) async fn until_fault(&self, words: &[&str], is_there: bool) -> Result<Value> {
        eventually(SOON, &format!("{words:?} to be told: {is_there}"), || async {
            let told = self.told().await?;
            let faults = told["faults"].as_array().cloned().unwrap_or_default();
            let is_it = |fault: &&Value| words.iter().all(|word| fault.to_string().contains(word));
            let found = faults.iter().find(is_it).cloned();
            ensure!(found.is_some() == is_there, "{told}");
            Ok(found.unwrap_or_default())
        })
        .await
        .with_context(|| self.fleet.lines().join("\n"))
    }

    /// Waits until the registry was asked for the repository so many times more.
    pub(super) async fn until_looked_at(&self, repository: &str, times: usize) -> Result<()> {
        let is_a_look = |line: &&String| {
            line.contains(repository) && line.contains("longshore/") && line.contains("response completed")
        };
        let asked = || self.registry.lines().iter().filter(is_a_look).count();
        let before = asked();
        eventually(ROLLOUT, "the registry to be asked", || async {
            let now = asked();
            ensure!(now >= before + times, "{now} looks, {before} before");
            Ok(())
        })
        .await
        .with_context(|| self.fleet.lines().join("\n"))
    }

    pub(super) async fn jobs(&self, target: &str) -> Result<Vec<Value>> {
        let path = format!("/v1/jobs?target=default/{target}");
        let page: Value = self.fleet.get(&path).send().await?.json().await?;
        Ok(page["jobs"].as_array().cloned().unwrap_or_default())
    }
}
