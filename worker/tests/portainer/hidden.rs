//! Values of a stack's variables stay where they are, whatever Portainer or an engine quotes of them.

use proto::{Operation, StackText, State};
use serde_json::json;

use crate::{
    fake_portainer::Mishap,
    lab::{FILE, Lab, set},
    stage::{Stage, carried_out, wish},
};

/// As people write passwords: with what other programs put a stroke before, and over several lines.
const SECRETS: [&str; 4] = ["sup3rs3cret", "a\"quoted\\passw0rd", "first-l1ne-of-it\nsecond-l1ne", "s3cr7"];
const PARTS: [&str; 6] = ["sup3rs3cret", "quoted", "passw0rd", "first-l1ne", "second-l1ne", "s3cr7"];

/// An error as Portainer makes them. It quotes all of them, as they are and as Go does, and one across the place where
/// errors are cut short.
fn quoting() -> &'static str {
    let quoted: Vec<String> = SECRETS.iter().map(|secret| format!("{secret} {secret:?}")).collect();
    let said = format!("invalid hostPort: {}; ", quoted.join(", "));
    let until_the_cut = "x ".repeat((500 - said.len()) / 2);
    let details = format!("{said}{until_the_cut}{}", SECRETS.concat());
    json!({"message": "", "details": details}).to_string().leak()
}

async fn struck(operation: Operation, route: &'static str) -> (State, String) {
    let lab = Lab::compose(FILE);
    let env = SECRETS.iter().enumerate().map(|(n, secret)| json!({"name": format!("S{n}"), "value": secret}));
    lab.portainer.set_env(lab.stack, env.collect());
    if route.contains("git") {
        lab.portainer.keep_in_git(lab.stack);
    }
    let stage: Stage = lab.stage("").await;
    if operation == Operation::Start {
        assert_eq!(carried_out(&stage, &wish(Operation::Stop)).await.state(), State::Succeeded);
    }
    lab.portainer.befall_next(route, Mishap::Instead(500, quoting()));
    let job = wish(operation);
    let end = carried_out(&stage, &job).await;
    let told = stage.until(&job, |_| true).await;
    (end.state(), format!("{told:?}"))
}

#[tokio::test]
async fn whatever_is_refused_no_variable_is_told() {
    let text = StackText { adopt: true, ..StackText::of(FILE.replace("postgres:16", "postgres:17")) };
    for (operation, route) in [
        (Operation::Start, "/start"),
        (Operation::Stop, "/stop"),
        (Operation::Redeploy, "PUT /api/stacks/"),
        (Operation::Redeploy, "/git/redeploy"),
        (set("acme/web:2").operation, "PUT /api/stacks/"),
        (Operation::DeployStack(text), "PUT /api/stacks/"),
        (Operation::RemoveStack { force: true }, "DELETE /api/stacks/"),
    ] {
        let (state, told) = struck(operation.clone(), route).await;
        assert_eq!(state, State::Failed, "{operation:?} {route}: {told}");
        assert!(told.contains("hostPort"), "{operation:?} {route}: {told}");
        let shown: Vec<&str> = PARTS.into_iter().filter(|part| told.contains(part)).collect();
        assert!(shown.is_empty(), "{operation:?} {route} shows {shown:?}: {told}");
    }
}
