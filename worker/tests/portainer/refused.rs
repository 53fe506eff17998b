//! Deploys that are refused before anything is touched, and what is left of services that a text has no more.

use proto::{Event, Operation, StackText, State};

use crate::{
    fake_portainer::{BAD, CRASHING},
    lab::{FILE, Lab, set},
    stage::{Stage, carried_out, text, wish},
};

const WITH_ONE_MORE: &str = "  extra: {image: 'acme/extra:1'}\n";

fn deploy(compose: &str, prune: bool) -> proto::Job {
    wish(Operation::DeployStack(StackText { adopt: true, prune, ..StackText::of(compose) }))
}

fn runs(lab: &Lab, service: &str) -> bool {
    !lab.image(service).is_empty()
}

async fn ended(stage: &Stage, job: &proto::Job) -> Event {
    stage.accept(job).await;
    let is_over = |events: &[Event]| events.iter().any(|event| event.state().is_end());
    let events = stage.until_within(crate::dying::PATIENCE, job, is_over).await;
    events.iter().find(|event| event.state().is_end()).unwrap().clone()
}

/// Images are pulled before anything is touched: what passes is tried again.
#[tokio::test]
async fn a_pull_that_failed_for_a_while_is_tried_again() {
    let lab = Lab::compose(FILE);
    let stage = lab.stage(", rollback: true").await;
    lab.portainer.fail_next_pull("toomanyrequests: You have reached your pull rate limit");
    let job = set("acme/web:2");
    let end = ended(&stage, &job).await;
    assert_eq!((end.state(), lab.portainer.puts().len()), (State::Succeeded, 2), "{end:?}");
    assert!(stage.states(&job).contains(&State::Retrying));
}

/// Nothing is to be put back, and nothing is known of the image: it is no reason to hold it the next time.
#[tokio::test]
async fn what_was_refused_before_anything_was_touched_is_not_called_taken_back() {
    let lab = Lab::compose(FILE);
    let stage = lab.stage(", rollback: true").await;
    let whole = || deploy(&FILE.replace("acme/web:1", "acme/web:3"), false);
    for make in [&(|| set("acme/web:2")) as &dyn Fn() -> proto::Job, &whole] {
        let before = lab.portainer.puts().len();
        lab.portainer.fail_next_pull("denied: access to the resource is denied");
        let end = carried_out(&stage, &make()).await;
        assert_eq!((end.state(), lab.portainer.puts().len()), (State::Failed, before + 1), "{end:?}");
        assert!(text(&end).ends_with("; nothing was changed"), "{}", text(&end));
        assert!(!lab.portainer.file(lab.stack).contains("longshore.bad"));
        let end = carried_out(&stage, &make()).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
    }
}

#[tokio::test]
async fn what_a_text_added_does_not_outlive_it_unsaid() {
    for (lab, bad) in [(Lab::swarm(FILE), BAD), (Lab::compose(FILE), CRASHING)] {
        let added = format!("{FILE}{}", WITH_ONE_MORE.replace(":1", &format!(":1{bad}")));
        let stage = lab.stage(", rollback: true").await;
        let end = carried_out(&stage, &deploy(&added, false)).await;
        assert_eq!(end.state(), State::RolledBack, "{end:?}");
        let is_told = text(&end).contains("`extra` is in no text any more and still runs");
        assert_eq!(runs(&lab, "extra"), is_told, "{}", text(&end));
    }
}

/// Compose removes nothing by itself, and Portainer does not ask it to before its newest versions.
#[tokio::test]
async fn what_was_to_be_removed_and_runs_on_is_no_success() {
    let more = format!("{FILE}{WITH_ONE_MORE}");
    for (lab, prune, state, said) in [
        (Lab::swarm(FILE), true, State::Succeeded, ""),
        (Lab::swarm(FILE), false, State::Succeeded, "`extra` runs on, which the text does not have"),
        (Lab::compose(FILE), false, State::Succeeded, "`extra` runs on, which the text does not have"),
        (Lab::compose(FILE), true, State::Failed, "`extra`, which it does not have, was to be removed"),
    ] {
        let stage = lab.stage("").await;
        assert_eq!(carried_out(&stage, &deploy(&more, false)).await.state(), State::Succeeded);
        let end = carried_out(&stage, &deploy(FILE, prune)).await;
        assert_eq!(end.state(), state, "{end:?}");
        assert_eq!(runs(&lab, "extra"), !said.is_empty());
        if !said.is_empty() {
            assert!(text(&end).contains(said), "{}", text(&end));
        }
    }
}
