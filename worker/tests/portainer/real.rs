//! The same before a real Portainer, where one is named: `LONGSHORE_TEST_PORTAINER_URL`, with
//! `LONGSHORE_TEST_PORTAINER_API_KEY`, the environment in `LONGSHORE_TEST_PORTAINER_ENVIRONMENT`, and three images that its
//! engine can run in `LONGSHORE_TEST_PORTAINER_IMAGES` (`repo:one,repo:two,repo:three`). Its registry has the second one
//! with `-bad` and `-crash` behind its tag as well, and not with `-missing`. An environment without a swarm may be named in
//! `LONGSHORE_TEST_PORTAINER_COMPOSE_ENVIRONMENT`.

use std::env::var;

use proto::{Given, Job, Operation, StackText, State};

use crate::{
    fake_portainer::{BAD, CRASHING},
    lab::{Lab, set},
    stage::{Stage, carried_out, text, wish},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Swarm,
    Compose,
}

impl Kind {
    /// Where one of this kind is on a fake.
    fn lab(self) -> Lab {
        let file = "services: {other: {image: 'a:1'}}\n";
        match self {
            Kind::Swarm => Lab::swarm(file),
            Kind::Compose => Lab::compose(file),
        }
    }

    /// The environment of a real Portainer that has one of this kind.
    fn environment(self) -> Option<String> {
        let url = var("LONGSHORE_TEST_PORTAINER_URL").ok();
        url.and_then(|_| match self {
            Kind::Swarm => Some(named("ENVIRONMENT")),
            Kind::Compose => var("LONGSHORE_TEST_PORTAINER_COMPOSE_ENVIRONMENT").ok(),
        })
    }
}

pub(crate) fn named(name: &str) -> String {
    var(format!("LONGSHORE_TEST_PORTAINER_{name}")).unwrap_or_else(|_| panic!("no {name}"))
}

/// A configuration of the stack, and the images. Where no Portainer is named, the fake stands in with the same steps.
fn place(lab: &Lab, kind: Kind, stack: &str, more: &str) -> (String, [String; 2]) {
    let Some(environment) = kind.environment() else {
        let configuration = lab.configuration(more).replace("stack: shop", &format!("stack: {stack}"));
        return (configuration, ["acme/web:1".to_owned(), "acme/web:2".to_owned()]);
    };
    let (url, images) = (named("URL"), named("IMAGES"));
    let mut images = images.split(',');
    let (Some(one), Some(two)) = (images.next(), images.next()) else { panic!("no two images") };
    let insecure = if url.starts_with("https") { ", insecure_tls: true" } else { "" };
    let configuration = format!(
        "systems:\n  docks: {{kind: portainer, url: '{url}', api_key: '{}', environment: '{environment}'{insecure}}}\n\
         targets:\n  demo: {{at: docks, stack: {stack}, stable: 2s{more}}}\n",
        named("API_KEY"),
    );
    (configuration, [one.to_owned(), two.to_owned()])
}

/// Makes the stack of a text with one service.
fn made_of(image: &str) -> Job {
    let file = format!(
        "# a test\nservices:\n  web:\n    image: {image}   # here\n    environment: {{A: \"${{A}}\"}}\n"
    );
    let mut text = StackText { adopt: true, ..StackText::of(file) };
    text.env.insert("A".to_owned(), Given::Value("x y".to_owned()));
    wish(Operation::DeployStack(text))
}

#[tokio::test]
async fn a_stack_lives_from_its_first_text_to_its_removal() {
    for kind in [Kind::Swarm, Kind::Compose] {
        let lab = kind.lab();
        let (configuration, [one, two]) = place(&lab, kind, "longshore-test", ", rollback: true");
        let stage = Stage::new(&configuration).await;
        for job in
            [made_of(&one), set(&two), wish(Operation::Stop), wish(Operation::RemoveStack { force: false })]
        {
            let end = carried_out(&stage, &job).await;
            assert_eq!(end.state(), State::Succeeded, "{kind:?} {:?}: {end:?}", job.operation);
        }
    }
}

#[tokio::test]
async fn what_cannot_come_up_is_never_called_a_success() {
    for (kind, rollback) in
        [(Kind::Swarm, true), (Kind::Compose, true), (Kind::Swarm, false), (Kind::Compose, false)]
    {
        let lab = kind.lab();
        let more = if rollback { ", rollback: true" } else { "" };
        let (configuration, [one, two]) = place(&lab, kind, "longshore-test-bad", more);
        let stage = Stage::new(&configuration).await;
        let undone = if rollback { State::RolledBack } else { State::Failed };
        for (job, state, why) in [
            (made_of(&one), State::Succeeded, ""),
            (set(&format!("{two}{BAD}")), undone, ""),
            (set(&one), State::Succeeded, ""),
            (set(&format!("{two}{CRASHING}")), undone, "exit"),
            (set(&two), State::Succeeded, ""),
            (wish(Operation::RemoveStack { force: false }), State::Succeeded, ""),
        ] {
            let end = carried_out(&stage, &job).await;
            let is_told = end.state() == state && text(&end).contains(why);
            assert!(is_told, "{kind:?}, rollback {rollback}, {:?}: {end:?}", job.operation);
        }
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
    let follows = |image: &str| lab.configuration(&format!(", follow: '{image}:*'"));
    let (found, missing) = told(&follows("acme/web")).await;
    assert!(found.contains("`acme/web:*` goes to web") && missing.is_empty(), "{found}\n---\n{missing}");
    let (_, missing) = told(&follows("acme/nothing")).await;
    assert!(missing.contains("no service in the stack `shop` that runs `acme/nothing`"), "{missing}");
    let none =
        "target `default/demo`: there is no stack `shopp` in the environment `production`, which has `shop`";
    let (found, missing) = told(&lab.configuration("").replace("stack: shop", "stack: shopp")).await;
    assert!(found.contains(none) && missing.is_empty(), "a text may make it: {found}\n---\n{missing}");
    assert!(found.contains("asked without TLS"), "{found}");
    let (_, missing) = told(&follows("acme/web").replace("stack: shop", "stack: shopp")).await;
    assert!(missing.contains(none), "an image makes no stack: {missing}");
    lab.portainer.put_file(lab.stack, "services:\n  web: {image: 'acme/web:1'\n");
    let (found, missing) = told(&lab.configuration("")).await;
    assert!(found.contains("stack `shop` (swarm)"), "{found}");
    assert!(missing.contains("no image can be set in the stack `shop`"), "{missing}");
    assert!(missing.contains("not valid YAML") && missing.contains("Portainer's editor"), "{missing}");
    let (_, missing) = told(&lab.configured("api_key: ptr_wrong, environment: production", "")).await;
    assert!(missing.contains("refuses the credentials: it does not know the access token"), "{missing}");
    assert_eq!(lab.portainer.puts(), []);
}
