//! Texts that wait for another job's rollout, and could not be carried out: they take it over from nobody.

use std::time::Duration;

use proto::{Event, Job, State};

use crate::{
    lab::{STAYS_UP, environment},
    registry::Registry,
    stage::{Stage, code},
    text::{Stack, compose, deploy_job, service, text},
};

/// A rollout, and after it the pause of one that was found to come to nothing.
const PATIENCE: Duration = Duration::from_secs(180);

/// As jobs of the stage's one target.
fn of_the_stack(job: Job) -> Job {
    Job { target: "shop".parse().unwrap(), ..job }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_comes_to_nothing_leaves_the_rollout_at_work_to_its_watch() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let image = registry.push("app:1", STAYS_UP).to_string();
    let stage = Stage::new(&format!(
        "worker: {{takeover_after: 1s, grace: 100ms}}\nsystems:\n  swarm: {{kind: swarm, host: \"{}\"}}\n\
         targets:\n  shop: {{at: swarm, stack: {}}}\n",
        environment("LONGSHORE_TEST_DOCKER"),
        stack.name
    ))
    .await;
    let ended = async |job: &Job| {
        let is_over = |events: &[Event]| events.iter().any(|event| event.state().is_end());
        let events = stage.until_within(PATIENCE, job, is_over).await;
        events.into_iter().find(|event| event.state().is_end()).unwrap()
    };
    let slowly = |more: &str| {
        let compose = compose(&[service("web", &image, more)], "");
        of_the_stack(deploy_job(&text(compose.replace("monitor: 1s", "monitor: 15s"))))
    };
    let first = slowly("");
    stage.accept(&first).await;
    assert_eq!(ended(&first).await.state(), State::Succeeded);

    let at_work = slowly("    environment: {A: second}\n");
    stage.accept(&at_work).await;
    stack.part("web").wait_until_it_rolls().await;
    let missing = compose(&[service("web", &format!("{}/app:none", registry.host()), "")], "");
    let alone = compose(&[service("web", &image, "")], "").replace("name: host", "name: none-such");
    let waiting = [missing, alone].map(|compose| of_the_stack(deploy_job(&text(compose))));
    for job in &waiting {
        stage.accept(job).await;
    }
    let end = ended(&at_work).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    // The newer of the two supersedes the other once it is begun; neither was before.
    let end = ended(&waiting[1]).await;
    assert_eq!((end.state(), code(&end)), (State::Rejected, proto::reason::REFUSED), "{end:?}");
    assert!(ended(&waiting[0]).await.state().is_end());
}
