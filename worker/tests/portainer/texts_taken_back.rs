//! Texts that do not hold: put back where the target says so, and told where it does not.

use std::collections::BTreeMap;

use proto::{Given, Operation, StackText, State};

use crate::{
    fake_portainer::{BAD, CRASHING, Family},
    lab::{FILE, Lab, env},
    stage::{Stage, carried_out, text, wish},
};

/// The whole stack anew, with an image that does not run and another value of a variable.
fn bad(tag: &str) -> Operation {
    let compose =
        FILE.replace("postgres:16", "postgres:17").replace("acme/web:1", &format!("acme/web:2{tag}"));
    let env = BTreeMap::from([("COLOR".to_owned(), Given::Value("blue".to_owned()))]);
    Operation::DeployStack(StackText { env, adopt: true, ..StackText::of(compose) })
}

fn runs(lab: &Lab) -> [String; 2] {
    ["web", "db"].map(|service| lab.image(service))
}

#[tokio::test]
async fn a_text_that_does_not_hold_is_put_back_where_the_target_says_so() {
    for (lab, tag) in [
        // Compose takes everything down.
        (Lab::compose(FILE), BAD),
        (Lab::compose(FILE), CRASHING),
        (Lab::swarm(FILE), BAD),
        (Lab::of(Family::Asynchronous, crate::fake_portainer::COMPOSE, FILE), BAD),
    ] {
        let stage = lab.stage(", rollback: true").await;
        let job = wish(bad(tag));
        let end = carried_out(&stage, &job).await;
        assert_eq!(end.state(), State::RolledBack, "{end:?}");
        assert!(text(&end).contains("the old text was put back"), "{}", text(&end));
        let [web, db] = runs(&lab);
        assert!(web.starts_with("acme/web:1") && db.starts_with("postgres:16"), "{web} {db}");
        assert_eq!((lab.bare_file().as_str(), lab.portainer.env(lab.stack)), (FILE, env()));
        // What was taken back is not brought by a second delivery.
        let writes = lab.portainer.puts().len();
        assert_eq!(carried_out(&lab.stage(", rollback: true").await, &job).await.state(), State::RolledBack);
        assert_eq!(lab.portainer.puts().len(), writes);
    }
}

#[tokio::test]
async fn without_that_its_end_says_what_is_left() {
    let lab = Lab::compose(FILE);
    let end = carried_out(&lab.stage("").await, &wish(bad(BAD))).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("nothing of the stack runs any more"), "{}", text(&end));
    let lab = Lab::swarm(FILE);
    let end = carried_out(&lab.stage("").await, &wish(bad(BAD))).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("stored file is still this text"), "{}", text(&end));
}

#[tokio::test]
async fn a_new_stack_has_nothing_to_go_back_to() {
    // A swarm gives what it starts anew a minute to come up, but for what cannot even be started.
    for (lab, tag) in [(Lab::compose(FILE), CRASHING), (Lab::swarm(FILE), BAD)] {
        let configuration = lab.configuration(", rollback: true").replace("stack: shop", "stack: fresh");
        let stage = Stage::new(&configuration).await;
        let text_of = StackText::of(format!("services: {{app: {{image: 'acme/app:1{tag}'}}}}\n"));
        let end = carried_out(&stage, &wish(Operation::DeployStack(text_of))).await;
        assert_eq!(end.state(), State::Failed, "{end:?}");
        assert!(text(&end).contains("the stack is new, so there is nothing to go back to"), "{}", text(&end));
        assert!(!text(&end).contains("put back"), "{}", text(&end));
        let hint = end.data.reason.as_ref().and_then(|reason| reason.hint.clone()).unwrap();
        assert!(hint.contains("longshore stack remove default/demo"), "{hint}");
    }
}
