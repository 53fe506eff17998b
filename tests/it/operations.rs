//! What is wished of a stack on a real swarm, typed as people type it.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use tests::engine::{Engine, Service};
use tests::environment::unique;
use tests::fleet::{self, Fleet};
use tests::process::longshore;
use tests::registry::Registry;

/// A fleet on one queue, a stack of two services that run one image, and a shell that reaches the fleet.
struct Stage {
    fleet: Fleet,
    engine: Engine,
    registry: Registry,
    repository: String,
    services: Vec<Service>,
}

impl Stage {
    async fn new() -> Stage {
        let mut fleet = Fleet::prepare(fleet::Engine::Embedded).await.unwrap();
        let (engine, registry) = (Engine::of_the_run().unwrap(), Registry::start().await.unwrap());
        let (stack, repository) = (unique("stack"), unique("app"));
        let first = engine.push_app(&registry, &repository, "v1").await.unwrap();
        let label = format!("com.docker.stack.namespace={stack}");
        let options = ["--label", &label, "--update-monitor", "500ms", "--replicas", "2"];
        let mut services = Vec::new();
        for short in ["api", "web"] {
            let name = format!("{stack}_{short}");
            services.push(engine.create_service(&name, &first.reference, &options).await.unwrap());
        }
        fleet
            .configure(&format!(
                "systems:\n  swarm: {{kind: swarm, host: \"{}\"}}\ntargets:\n  shop: {{at: swarm, stack: {stack}}}\n",
                engine.host()
            ))
            .unwrap();
        fleet.start().await.unwrap();
        Stage { fleet, engine, registry, repository, services }
    }

    /// Runs `longshore` to its end.
    async fn run(&self, words: &str) -> Output {
        let program = longshore("longshore").unwrap();
        let mut command = Command::new(program.as_std().get_program());
        let token = std::fs::read_to_string(self.fleet.folder().join("token")).unwrap();
        command.args(words.split(' ')).env("LONGSHORE_URL", self.fleet.url("")).env("LONGSHORE_TOKEN", token);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// The same, which must end with that code; what it printed.
    async fn ends(&self, words: &str, code: i32) -> String {
        let ran = self.run(words).await;
        let printed =
            format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert_eq!(ran.status.code(), Some(code), "longshore {words}\n{printed}");
        printed
    }

    async fn images(&self) -> Vec<String> {
        let mut images = Vec::new();
        for service in &self.services {
            images.push(service.image().await.unwrap());
        }
        images
    }

    async fn running(&self) -> usize {
        let mut running = 0;
        for service in &self.services {
            running += service.running_images().await.unwrap().len();
        }
        running
    }
}

#[tokio::test]
async fn a_stack_is_planned_deployed_stopped_started_rolled_back_and_cleaned_by_command() {
    let stage = Stage::new().await;
    let second = stage.engine.push_app(&stage.registry, &stage.repository, "v2").await.unwrap();
    let deploy = format!("deploy shop --image {} --wait", second.reference);

    let planned = stage.ends(&format!("plan shop --image {}", second.reference), 0).await;
    assert!(planned.contains(&format!("+ {}", second.pinned())), "{planned}");
    assert!(planned.contains("api: replaces all of its 2 tasks"), "{planned}");
    assert!(!stage.images().await[0].contains(":v2"), "a plan changes nothing");

    stage.ends(&deploy, 0).await;
    assert_eq!(stage.images().await, [second.pinned(), second.pinned()]);
    stage.ends("stack stop shop --wait", 0).await;
    assert_eq!(stage.running().await, 0);
    let shown: Value = serde_json::from_str(&stage.ends("target show shop --json", 0).await).unwrap();
    assert_eq!((&shown["now"]["kind"], &shown["now"]["running"]), (&json!("swarm-stack"), &json!(false)));
    stage.ends("stack start shop --wait", 0).await;
    assert_eq!(stage.running().await, 4);
    stage.ends("stack restart shop --wait --timeout 2m", 0).await;
    stage.ends("stack redeploy shop --wait --timeout 2m", 0).await;
    assert_eq!(stage.images().await, [second.pinned(), second.pinned()]);

    stage.ends("target rollback shop --wait", 0).await;
    assert!(stage.images().await.iter().all(|image| image.contains(":v1")), "{:?}", stage.images().await);
    let jobs: Value = serde_json::from_str(&stage.ends("jobs --json --limit 50", 0).await).unwrap();
    let first = jobs["jobs"].as_array().unwrap().iter().find(|job| job["operation"]["type"] == "set-image");
    let id = first.unwrap()["id"].as_str().unwrap();
    stage.ends(&format!("target rollback shop --to {id} --wait"), 0).await;
    assert_eq!(stage.images().await, [second.pinned(), second.pinned()]);

    let pruned = stage.ends("prune shop --older-than 365d --label no.such=label --wait", 0).await;
    assert!(pruned.contains("nothing to remove on the node "), "{pruned}");
    let missing = stage.ends("deploy shop --image 127.0.0.1:1/other:1 --wait", 1).await;
    assert!(missing.contains("that runs `127.0.0.1:1/other`; it has `api`"), "{missing}");
    tokio::time::timeout(Duration::from_secs(30), stage.ends("jobs --target shop", 0)).await.unwrap();
}
