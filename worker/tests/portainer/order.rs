//! Newest wins, though nothing that Portainer writes is conditional.

use std::{sync::Arc, time::Duration};

use proto::State;
use tokio::sync::Notify;

use crate::{
    fake_portainer::Mishap,
    lab::{FILE, Lab, set},
    stage::{Stage, carried_out, code},
};

/// A worker's write is on its way for long, and a newer job lands meanwhile through another worker.
#[tokio::test]
async fn a_write_that_comes_late_is_undone() {
    let lab = Lab::swarm(FILE);
    let (older, newer) = (set("acme/web:2"), set("acme/web:3"));
    let stage = lab.stage("").await;
    let gate = Arc::new(Notify::new());
    lab.portainer.befall_next("PUT /api/stacks/", Mishap::Held(Arc::clone(&gate)));
    stage.accept(&older).await;
    until_written(&lab).await;
    // What another worker did to it meanwhile, as the history tells it.
    let other = Stage::new(&lab.configuration("")).await;
    assert_eq!(carried_out(&other, &newer).await.state(), State::Succeeded);
    for state in [State::Accepted, State::Started, State::Succeeded] {
        stage.say(&newer, state).await;
    }
    gate.notify_one();
    let end = stage.end(&older).await;
    assert_eq!(
        (end.state(), code(&end), end.data.by),
        (State::Superseded, "put-back", Some(newer.id)),
        "{end:?}"
    );
    assert!(lab.image("web").starts_with("acme/web:3"), "{}", lab.image("web"));
    assert!(lab.bare_file().contains("acme/web:3"), "{}", lab.bare_file());
}

/// A stack is written as a whole: the late file takes back what came to another service meanwhile.
#[tokio::test]
async fn what_a_late_write_takes_from_another_service_is_put_back() {
    for (late_is_older, services) in [(true, ["web", "db"]), (false, ["db", "web"])] {
        let lab = Lab::swarm(FILE);
        let image = |service: &str, tag: &str| {
            let repository = if service == "web" { "acme/web" } else { "postgres" };
            set(&format!("{repository}:{tag}"))
        };
        let [of_late, of_other] = services;
        let (late, other) = match late_is_older {
            true => (image(of_late, "20"), image(of_other, "30")),
            false => {
                let other = image(of_other, "30");
                (image(of_late, "20"), other)
            }
        };
        let stage = lab.stage("").await;
        let gate = Arc::new(Notify::new());
        lab.portainer.befall_next("PUT /api/stacks/", Mishap::Held(Arc::clone(&gate)));
        stage.accept(&late).await;
        until_written(&lab).await;
        let elsewhere = Stage::new(&lab.configuration("")).await;
        assert_eq!(carried_out(&elsewhere, &other).await.state(), State::Succeeded);
        for state in [State::Accepted, State::Started, State::Succeeded] {
            stage.say(&other, state).await;
        }
        gate.notify_one();
        let end = stage.end(&late).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        let told = end.data.output.join("\n");
        assert!(told.contains(&other.id.to_string()) && told.contains("stands again"), "{end:?}");
        for (service, tag) in [(of_late, "20"), (of_other, "30")] {
            let runs = lab.image(service);
            assert!(runs.contains(&format!(":{tag}@")), "{service}: {runs}\n{}", lab.bare_file());
            assert!(lab.bare_file().contains(&runs), "{}", lab.bare_file());
        }
        // Both marks stand: neither is carried out once more.
        let writes = lab.portainer.puts().len();
        for job in [&late, &other] {
            assert!(lab.portainer.file(lab.stack).contains(&job.id.to_string()));
        }
        assert_eq!(lab.portainer.puts().len(), writes);
    }
}

async fn until_written(lab: &Lab) {
    let begun = async {
        while !lab.portainer.requests().iter().any(|line| line.starts_with("PUT")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), begun).await.expect("the write never began");
}

/// Somebody deploys in the browser between our reading and our writing.
#[tokio::test]
async fn what_somebody_else_wrote_meanwhile_is_not_lost() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    let gate = Arc::new(Notify::new());
    lab.portainer.befall_next("distribution", Mishap::Held(Arc::clone(&gate)));
    let wish = set("acme/web:2");
    stage.accept(&wish).await;
    let asked = async {
        while !lab.portainer.requests().iter().any(|line| line.contains("distribution")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.expect("the image was never looked up");
    lab.portainer.put_file(lab.stack, &FILE.replace("postgres:16", "postgres:17"));
    gate.notify_one();
    assert_eq!(stage.end(&wish).await.state(), State::Succeeded);
    assert!(lab.bare_file().contains("postgres:17"), "{}", lab.bare_file());
    assert!(lab.bare_file().contains("acme/web:2"), "{}", lab.bare_file());
}
