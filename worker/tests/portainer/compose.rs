//! Stacks that Compose runs, where a failed deploy takes everything down.

use proto::State;

use crate::{
    fake_portainer::{BAD, COMPOSE, CRASHING, MISSING},
    lab::{FILE, Lab, env, set},
    stage::{carried_out, code, text},
};

#[tokio::test]
async fn containers_are_watched_until_they_stay_up() {
    let lab = Lab::compose(FILE);
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &set("acme/web:2")).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    let puts = lab.portainer.puts();
    assert_eq!((puts.len(), puts[0].environment, &puts[0].env), (1, COMPOSE, &env()));
    // The only look before anything is touched.
    assert_eq!(puts[0].pull, serde_json::json!(true));
    assert_eq!(lab.bare_file(), FILE.replace("acme/web:1", &lab.image("web")));
}

#[tokio::test]
async fn a_stack_that_was_taken_down_comes_back_where_the_target_says_so() {
    for (more, state) in [("", State::Failed), (", rollback: true", State::RolledBack)] {
        let lab = Lab::compose(FILE);
        let stage = lab.stage(more).await;
        let end = carried_out(&stage, &set(&format!("acme/web:2{BAD}"))).await;
        assert_eq!(end.state(), state, "{end:?}");
        assert!(text(&end).contains("cannot start"), "{}", text(&end));
        assert_eq!(lab.bare_file(), FILE);
        if state == State::RolledBack {
            assert_eq!((lab.image("web").as_str(), lab.image("db").as_str()), ("acme/web:1", "postgres:16"));
        } else {
            assert!(text(&end).contains("nothing of the stack runs any more"), "{}", text(&end));
        }
    }
}

#[tokio::test]
async fn a_crash_loop_is_no_success() {
    let lab = Lab::compose(FILE);
    let stage = lab.stage(", rollback: true").await;
    let end = carried_out(&stage, &set(&format!("acme/web:2{CRASHING}"))).await;
    assert_eq!(end.state(), State::RolledBack, "{end:?}");
    assert!(text(&end).contains("does not stay up: it exits with 1"), "{}", text(&end));
    assert_eq!((lab.image("web").as_str(), lab.bare_file().as_str()), ("acme/web:1", FILE));
}

#[tokio::test]
async fn what_cannot_be_pulled_leaves_everything_up() {
    let lab = Lab::compose(FILE);
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &set(&format!("acme/web:2{MISSING}"))).await;
    assert_eq!((end.state(), code(&end)), (State::Failed, "image-not-found"));
    assert_eq!(lab.image("web"), "acme/web:1");
    assert_eq!(lab.portainer.puts(), []);
}

/// Whatever had ended before was read, and is not lost to a late write: the failure is told as what it is.
#[tokio::test]
async fn a_failure_right_after_another_services_deploy_is_no_late_write() {
    let lab = Lab::compose(FILE);
    let stage = lab.stage("").await;
    assert_eq!(carried_out(&stage, &set("acme/web:2")).await.state(), State::Succeeded);
    let end = carried_out(&stage, &set(&format!("postgres:17{BAD}"))).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(!format!("{end:?}").contains("written late"), "{end:?}");
    assert!(text(&end).contains("nothing of the stack runs any more"), "{}", text(&end));
    assert_eq!((lab.portainer.puts().len(), lab.image("web")), (2, String::new()));
}
