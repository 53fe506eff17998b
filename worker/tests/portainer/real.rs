//! The same before a real Portainer, where one is named: `LONGSHORE_TEST_PORTAINER_URL`, with
//! `LONGSHORE_TEST_PORTAINER_API_KEY`, the environment in `LONGSHORE_TEST_PORTAINER_ENVIRONMENT`, and two images that its
//! engine can run in `LONGSHORE_TEST_PORTAINER_IMAGES` (`repo:one,repo:two`).

use std::env::var;

use proto::{Operation, StackText, State};

use crate::{
    lab::{Lab, carried_out, set, wish},
    stage::Stage,
};

/// Where it is, and the images; without one, the fake stands in with the same steps.
fn place(lab: &Lab) -> (String, [String; 2]) {
    let fake = || {
        let configuration = lab.configuration("").replace("stack: shop", "stack: longshore-test");
        (configuration, ["acme/web:1".to_owned(), "acme/web:2".to_owned()])
    };
    let Ok(url) = var("LONGSHORE_TEST_PORTAINER_URL") else { return fake() };
    let named =
        |name: &str| var(format!("LONGSHORE_TEST_PORTAINER_{name}")).unwrap_or_else(|_| panic!("no {name}"));
    let images = named("IMAGES");
    let (one, two) = images.split_once(',').expect("two images");
    let insecure = if url.starts_with("https") { ", insecure_tls: true" } else { "" };
    let configuration = format!(
        "systems:\n  docks: {{kind: portainer, url: '{url}', api_key: '{}', environment: '{}'{insecure}}}\n\
         targets:\n  demo: {{at: docks, stack: longshore-test, stable: 2s, rollback: true}}\n",
        named("API_KEY"),
        named("ENVIRONMENT"),
    );
    (configuration, [one.to_owned(), two.to_owned()])
}

#[tokio::test]
async fn a_stack_lives_from_its_first_text_to_its_removal() {
    let lab = Lab::swarm("services: {other: {image: 'a:1'}}\n");
    let (configuration, [one, two]) = place(&lab);
    let stage = Stage::new(&configuration).await;
    let file = format!(
        "# a test\nservices:\n  web:\n    image: {one}   # here\n    environment: {{A: \"${{A}}\"}}\n"
    );
    let mut text = StackText { adopt: true, ..StackText::of(file) };
    text.env.insert("A".to_owned(), proto::Given::Value("x y".to_owned()));
    for job in [
        wish(Operation::DeployStack(text)),
        set(&two),
        set(&one),
        wish(Operation::Restart),
        wish(Operation::Redeploy),
        wish(Operation::Stop),
        wish(Operation::Start),
        wish(Operation::RemoveStack { force: false }),
    ] {
        let end = carried_out(&stage, &job).await;
        assert_eq!(end.state(), State::Succeeded, "{:?}: {end:?}", job.operation);
    }
}

#[tokio::test]
async fn what_is_there_and_what_is_missing_is_told_beforehand() {
    let lab = Lab::swarm(crate::lab::FILE);
    let stage = Stage::empty().await;
    let told = async |configuration: &str| {
        let told = worker::connect(&stage.settings(configuration)).await.unwrap();
        (told[0].found.join("\n"), told[0].missing.join("\n"))
    };
    let (found, missing) = told(&lab.configuration("")).await;
    for line in [
        "Portainer 2.23.0",
        "environment `production`",
        "`worker`, an administrator",
        "stack `shop` (swarm): db (postgres:16",
    ] {
        assert!(found.contains(line), "{line}\n---\n{found}");
    }
    assert_eq!(missing, "");
    let (_, missing) = told(&lab.configuration("").replace("stack: shop", "stack: shopp")).await;
    assert!(missing.contains("no stack `shopp` in the environment `production`"), "{missing}");
    let (_, missing) = told(&lab.configured("api_key: ptr_wrong, environment: production", "")).await;
    assert!(missing.contains("refuses the credentials: Invalid JWT token"), "{missing}");
    assert_eq!(lab.portainer.puts(), []);
}
