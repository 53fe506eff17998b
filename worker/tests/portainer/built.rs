//! Services whose image the file does not tell: they are watched as all others are. And stacks of which nothing runs.

use proto::{Operation, StackText, State};
use serde_json::json;

use crate::{
    fake_portainer::{COMPOSE, Mishap},
    lab::{FILE, Lab},
    stage::{Stage, carried_out, text, wish},
};

const GOOD: &str = "services:\n  web: {build: 'https://git.example/web.git'}\n";
/// A service that is called so exits again and again.
const CRASHES: &str = "services:\n  web-crash: {build: 'https://git.example/web.git'}\n";
const CRASHES_BESIDE: &str =
    "services:\n  db: {image: 'postgres:16'}\n  web-crash: {build: 'https://git.example/web.git'}\n";
/// Good Compose, which is not read here.
const CRASHES_BY_VARIABLE: &str = "services:\n  web: {image: 'acme/web:1${A:+x}-crash'}\n";

async fn stage(lab: &Lab, stack: &str) -> Stage {
    Stage::new(&lab.configuration("").replace("stack: shop", &format!("stack: {stack}"))).await
}

#[tokio::test]
async fn what_is_built_there_is_watched_all_the_same() {
    let ends = async |compose: &str, state: State| {
        let lab = Lab::compose(FILE);
        let stage = stage(&lab, "blog").await;
        let end = carried_out(&stage, &wish(Operation::DeployStack(StackText::of(compose)))).await;
        assert_eq!(end.state(), state, "{compose}: {end:?}");
        for operation in [Operation::Restart, Operation::Redeploy] {
            let end = carried_out(&stage, &wish(operation)).await;
            assert_eq!(end.state(), state, "{compose}: {end:?}");
            assert_eq!(text(&end).contains("does not stay up"), state == State::Failed, "{}", text(&end));
        }
    };
    tokio::join!(
        Box::pin(ends(GOOD, State::Succeeded)),
        Box::pin(ends(CRASHES, State::Failed)),
        Box::pin(ends(CRASHES_BESIDE, State::Failed)),
        Box::pin(ends(CRASHES_BY_VARIABLE, State::Failed)),
    );
}

/// Portainer says yes, and its engine has nothing of the stack.
#[tokio::test]
async fn nothing_to_watch_is_no_success() {
    let lab = Lab::compose(FILE);
    lab.portainer.add_stack(COMPOSE, "blog", GOOD, json!([]));
    let stage = stage(&lab, "blog").await;
    lab.portainer.stop_by_hand(COMPOSE, "blog");
    lab.portainer.befall_next("PUT /api/stacks/", Mishap::Instead(200, "{}"));
    let end = carried_out(&stage, &wish(Operation::Redeploy)).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("nothing runs"), "{}", text(&end));
    let end = carried_out(&stage, &wish(Operation::Redeploy)).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
}

#[tokio::test]
async fn a_restart_of_nothing_says_so() {
    let lab = Lab::compose(FILE);
    let stage = stage(&lab, "shop").await;
    lab.portainer.stop_by_hand(COMPOSE, "shop");
    let end = carried_out(&stage, &wish(Operation::Restart)).await;
    assert_eq!((end.state(), end.data.attempt), (State::Rejected, 1), "{end:?}");
    assert!(text(&end).contains("nothing of the stack `shop` runs"), "{}", text(&end));
    assert!(text(&end).contains("longshore stack redeploy"), "{}", text(&end));
    // A part of it is there.
    lab.portainer.run_by_hand(COMPOSE, "shop", "db", "postgres:16");
    let end = carried_out(&stage, &wish(Operation::Restart)).await;
    assert_eq!((end.state(), end.data.attempt), (State::Failed, 1), "{end:?}");
    assert!(text(&end).contains("nothing of `web` runs"), "{}", text(&end));
}
