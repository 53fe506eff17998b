//! A fleet before the engine of the run, with services that follow one repository.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::engine::{Engine, Image, Service};
use tests::environment::unique;
use tests::fleet::{self, Fleet};
use tests::registry::Registry;
use tests::sse::EventStream;

const ROLLOUT: Duration = Duration::from_secs(300);

pub(crate) struct Stage {
    pub(crate) fleet: Fleet,
    pub(crate) engine: Engine,
    pub(crate) services: Vec<Service>,
    /// Two images that take turns.
    images: [Image; 2],
    turn: usize,
    _registry: Registry,
}

impl Stage {
    /// `count` services made with `options`; the fleet reaches the engine at `host`.
    pub(crate) async fn new(
        on: fleet::Engine,
        host: &str,
        (count, options): (usize, &[&str]),
    ) -> Result<Stage> {
        let engine = Engine::of_the_run()?;
        let registry = Registry::start().await?;
        let repository = unique("app");
        let images = [
            engine.push_app(&registry, &repository, "v1").await?,
            engine.push_app(&registry, &repository, "v2").await?,
        ];
        let mut services = Vec::new();
        for _ in 0..count {
            let head = ["--stop-grace-period", "0s"];
            let name = unique("web");
            services
                .push(engine.create_service(&name, &images[0].reference, &[&head, options].concat()).await?);
        }
        let mut fleet = Fleet::prepare(on).await?;
        let follow = registry.image(&repository);
        let targets = services.iter().map(|service| {
            format!("  {name}: {{at: swarm, service: {name}, follow: \"{follow}:*\"}}\n", name = service.name)
        });
        fleet.configure(&format!(
            "sources:\n  push: {{kind: plain, open: true}}\nworker: {{at_once: 200}}\n\
             systems:\n  swarm: {{kind: swarm, host: \"{host}\", at_once: 16}}\ntargets:\n{}",
            targets.collect::<String>()
        ))?;
        fleet.start().await?;
        Ok(Stage { fleet, engine, services, images, turn: 0, _registry: registry })
    }

    /// The image that does not run now, by its tag.
    pub(crate) fn next_image(&mut self) -> String {
        self.turn += 1;
        self.images[self.turn % 2].reference.clone()
    }

    /// Tells of a push, as a registry would.
    pub(crate) async fn hook(&self, image: &str) -> Result<()> {
        let answer = self.fleet.post("/hooks/push", &json!({"image": image})).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status == 202, "the hook was answered with {status}: {text}");
        Ok(())
    }

    /// Reads until so many jobs have ended, all well.
    pub(crate) async fn until_ended(&self, live: &mut EventStream, jobs: usize) -> Result<()> {
        let mut ended = 0;
        while ended < jobs {
            let event = live.next(ROLLOUT).await?.context("the stream of events ended")?;
            let state = event.event.trim_start_matches("longshore.job.").to_owned();
            match state.as_str() {
                "succeeded" => ended += 1,
                "accepted" | "started" | "progress" | "retrying" | "held" => {}
                _ => anyhow::bail!("a job ended {state}: {}", pretty(&event.data)),
            }
        }
        Ok(())
    }
}

fn pretty(data: &str) -> String {
    serde_json::from_str::<Value>(data).map_or_else(|_| data.to_owned(), |value| format!("{value:#}"))
}
