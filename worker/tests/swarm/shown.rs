//! What is shown of a target after something did not hold there.

use std::time::{Duration, Instant};

use proto::{Operation, ask::TargetNow};
use serde_json::json;
use worker::target::{End, Target};

use crate::{
    carry_out::{carry_out, job_to},
    lab::{PATIENCE, STAYS_UP, Service},
    registry::Registry,
    text::{Stack, carry_out_text, compose, deploy_job, service, text, values},
};

/// Two services, of which one has its tag, and the other its colour, from a variable.
fn two(host: &str, tag: &str, colour: &str) -> proto::StackText {
    let web = service("web", &format!("{host}/app:${{TAG}}"), "");
    let api = service("api", &format!("{host}/app:good"), "    environment: {COLOUR: '${COLOUR}'}\n");
    let mut text = text(compose(&[web, api], ""));
    text.env = values(&[("TAG", tag), ("COLOUR", colour)]);
    text
}

#[tokio::test]
async fn the_text_that_runs_is_shown_where_all_that_the_newer_one_changed_went_back() {
    let (registry, stack) = (Registry::start(), Stack::new());
    registry.push("app:good", STAYS_UP);
    registry.push("app:bad", &["false"]);
    let (host, target) = (registry.host(), stack.going_back());
    let shown = async || target.look().await.unwrap().deployed.unwrap();
    let first = deploy_job(&two(&host, "good", "red"));
    let outcome = carry_out_text(&target, &first).await.unwrap();
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    let again = deploy_job(&two(&host, "good", "red"));
    let outcome = carry_out_text(&target, &again).await.unwrap();
    let unchanged = |note: &proto::Reason| note.code == proto::reason::UNCHANGED;
    assert!(outcome.end == End::Converged && outcome.notes.iter().any(unchanged), "{outcome:?}");

    // The other service has nothing to go back to.
    let outcome = carry_out_text(&target, &deploy_job(&two(&host, "bad", "red"))).await.unwrap();
    assert!(matches!(outcome.end, End::RolledBack(_)), "{outcome:?}");
    let deployed = shown().await;
    assert_eq!((deployed.by, deployed.notes.len()), (again.id, 1), "{deployed:?}");
    assert!(deployed.notes[0].starts_with("web: the newer text"), "{deployed:?}");

    // It was changed as well, and stays: the hint says so.
    let half = deploy_job(&two(&host, "bad", "blue"));
    let outcome = carry_out_text(&target, &half).await.unwrap();
    let End::RolledBack(reason) = &outcome.end else { panic!("{outcome:?}") };
    let hint = reason.hint.as_deref().unwrap_or_default();
    assert!(hint.contains("stands (api)") && hint.contains("--before"), "{hint}");
    let deployed = shown().await;
    assert_eq!(deployed.by, half.id);
    assert_eq!(deployed.before.map(|before| before.by), Some(again.id));
    let now = target.look().await.unwrap();
    let held: Vec<_> = now.held_images.iter().map(|held| held.part.as_deref()).collect();
    assert_eq!(held, [Some("web")], "{now:?}");
}

#[tokio::test]
async fn a_target_that_does_not_run_is_shown_with_what_keeps_it_from_that() {
    let registry = Registry::start();
    let old = registry.push("app:1", STAYS_UP);
    // Without an init of the engine's own, what is not there never starts.
    let service = Service::create(&old.to_string(), |spec| {
        spec["Mode"]["Replicated"]["Replicas"] = json!(1);
        spec["TaskTemplate"]["ContainerSpec"]["Init"] = json!(false);
    })
    .await;
    let target = service.target();
    let now = target.look().await.unwrap();
    assert!(now.trouble.is_empty() && now.held_images.is_empty(), "{now:?}");
    let bad = registry.push("app:2", &["no-such-program"]);
    let outcome =
        carry_out(&target, &job_to(Operation::SetImage { image: bad, service: None })).await.unwrap();
    assert!(matches!(outcome.end, End::Failed(_)), "{outcome:?}");
    // Between two of its starts nothing is said of it for a moment.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now: TargetNow = target.look().await.unwrap();
        let none_runs = now.tasks.is_some_and(|tasks| (tasks.running, tasks.wanted) == (0, 1));
        if none_runs && now.trouble.iter().any(|line| line.contains("no-such-program")) {
            break;
        }
        assert!(Instant::now() < deadline, "{now:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
