//! Newest wins, though nothing that Portainer writes is conditional.

use std::{sync::Arc, time::Duration};

use proto::{Operation, StackText, State};
use serde_json::json;
use tokio::sync::Notify;

use crate::{
    fake_portainer::Mishap,
    lab::{FILE, Lab, set},
    stage::{Stage, carried_out, code, text, wish},
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

/// Lets a job be carried out, and something happen between our reading and our writing.
async fn meanwhile(lab: &Lab, happens: impl FnOnce(&Lab)) -> proto::Event {
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
    happens(lab);
    gate.notify_one();
    stage.end(&wish).await
}

/// The image was looked up, the stack was read, and is about to be written.
async fn at_the_last_moment(lab: &Lab, happens: impl FnOnce(&Lab)) -> proto::Event {
    let stage = lab.stage("").await;
    let reads = |part: &str| lab.portainer.requests().iter().filter(|line| line.ends_with(part)).count();
    let gate = Arc::new(Notify::new());
    // What runs is looked at after the file was read, a third time right before the write.
    for _ in 0..2 {
        lab.portainer.befall_next("/docker/services", Mishap::Held(Arc::clone(&gate)));
        gate.notify_one();
    }
    let last = Arc::new(Notify::new());
    lab.portainer.befall_next("/docker/services", Mishap::Held(Arc::clone(&last)));
    let wish = set("acme/web:2");
    stage.accept(&wish).await;
    let asked = async {
        while reads("/docker/services") < 3 {
            gate.notify_one();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.expect("what runs was never looked at");
    assert_eq!(lab.portainer.puts(), []);
    happens(lab);
    last.notify_one();
    stage.end(&wish).await
}

/// Somebody deploys in the browser between our reading and our writing.
#[tokio::test]
async fn what_somebody_else_wrote_meanwhile_is_not_lost() {
    for lab in [Lab::swarm(FILE), Lab::compose(FILE)] {
        let write =
            |lab: &Lab| lab.portainer.put_file(lab.stack, &FILE.replace("postgres:16", "postgres:17"));
        assert_eq!(meanwhile(&lab, write).await.state(), State::Succeeded);
        assert!(lab.bare_file().contains("postgres:17"), "{}", lab.bare_file());
        assert!(lab.bare_file().contains("acme/web:2"), "{}", lab.bare_file());
    }
}

/// Variables do not stand in the file, and are sent back with it as they were read.
#[tokio::test]
async fn variables_that_somebody_set_meanwhile_are_not_lost() {
    let lab = Lab::swarm(FILE);
    let changed = json!([{"name": "COLOR", "value": "blue"}, {"name": "NEW", "value": "1"}]);
    let end = at_the_last_moment(&lab, |lab| lab.portainer.set_env(lab.stack, changed.clone())).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert_eq!(lab.portainer.env(lab.stack), changed);
    assert!(lab.image("web").starts_with("acme/web:2"));
}

#[tokio::test]
async fn a_stack_that_somebody_moved_into_git_meanwhile_is_not_cut_off_from_there() {
    let lab = Lab::swarm(FILE);
    let end = at_the_last_moment(&lab, |lab| lab.portainer.keep_in_git(lab.stack)).await;
    assert_eq!((end.state(), lab.portainer.puts()), (State::Failed, vec![]), "{end:?}");
    assert!(lab.portainer.git(lab.stack).0.is_object());
}

/// The browser has the file open since before: what it writes back is what stands.
#[tokio::test]
async fn a_text_that_a_person_writes_over_while_it_is_watched_is_no_success() {
    for lab in [Lab::swarm(FILE), Lab::compose(FILE)] {
        let stage = Stage::new(&lab.configuration("").replace("stable: 200ms", "stable: 6s")).await;
        let compose = FILE.replace("FEATURE: \"yes\"", "FEATURE: \"no\"");
        let job = wish(Operation::DeployStack(StackText { adopt: true, ..StackText::of(compose) }));
        stage.accept(&job).await;
        until_watched(&lab).await;
        lab.portainer.deploy_by_hand(lab.stack, FILE);
        let end = stage.end(&job).await;
        assert_eq!(end.state(), State::Superseded, "{end:?}");
        assert!(text(&end).contains("somebody else changed the stack's file"), "{}", text(&end));
    }
}

/// Whoever watches looks at tasks or containers again and again.
async fn until_watched(lab: &Lab) {
    let is_look = |line: &&String| line.contains("/docker/tasks") || line.contains("/docker/containers/json");
    let looks = || {
        let asked = lab.portainer.requests();
        asked.iter().rev().take_while(|line| !line.starts_with("PUT")).filter(is_look).count()
    };
    let watched = async {
        while lab.portainer.puts().is_empty() || looks() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), watched).await.expect("it is never watched");
}
