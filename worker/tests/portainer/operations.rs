//! Everything else that is done to a stack, with a call that is cut or answered by something else: what stands there is
//! read first, and nothing is done twice.

use std::time::Duration;

use futures::{StreamExt, stream};
use proto::{Operation, StackText, State};

use crate::{
    fake_portainer::{COMPOSE, Family, Mishap, SWARM},
    lab::{FILE, Lab},
    stage::{carried_out, wish},
};

const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Restart,
    Redeploy,
    Stop,
    Start,
    Text,
    Remove,
}

const ALL: [Done; 6] = [Done::Restart, Done::Redeploy, Done::Stop, Done::Start, Done::Text, Done::Remove];

impl Done {
    fn operation(self) -> Operation {
        match self {
            Done::Restart => Operation::Restart,
            Done::Redeploy => Operation::Redeploy,
            Done::Stop => Operation::Stop,
            Done::Start => Operation::Start,
            Done::Text => {
                let text = FILE.replace("postgres:16", "postgres:17");
                Operation::DeployStack(StackText { adopt: true, ..StackText::of(text) })
            }
            Done::Remove => Operation::RemoveStack { force: true },
        }
    }

    /// Whether the stack is as it should be.
    fn is_right(self, lab: &Lab) -> bool {
        let (web, db) = (lab.image("web"), lab.image("db"));
        match self {
            Done::Stop => web.is_empty() && lab.portainer.has_stack("shop"),
            Done::Remove => web.is_empty() && !lab.portainer.has_stack("shop"),
            Done::Text => web.starts_with("acme/web:1") && db.starts_with("postgres:17"),
            Done::Restart | Done::Redeploy | Done::Start => {
                web.starts_with("acme/web:1") && db.starts_with("postgres:16")
            }
        }
    }
}

fn mishaps() -> [(&'static str, Mishap); 4] {
    [
        ("cut before", Mishap::CutBefore),
        ("cut after", Mishap::CutAfter),
        ("an empty 502 afterwards", Mishap::Afterwards(502, "")),
        ("a proxy's page instead", Mishap::Instead(504, "<html>gateway timeout</html>")),
    ]
}

fn writes(calls: &[String]) -> usize {
    calls.iter().filter(|call| !call.starts_with("GET")).count()
}

/// Lets it be done, one of its calls struck; how it ended, and the calls that it took.
async fn carry_out(
    environment: u64,
    done: Done,
    strike: Option<(usize, Mishap)>,
) -> (State, Vec<String>, Lab) {
    let lab = Lab::of(Family::Synchronous, environment, FILE);
    let stage = lab.stage("").await;
    if done == Done::Start {
        assert_eq!(carried_out(&stage, &wish(Operation::Stop)).await.state(), State::Succeeded);
    }
    let before = lab.portainer.requests().len();
    if let Some((number, mishap)) = strike {
        lab.portainer.befall_nth(number, mishap);
    }
    let job = wish(done.operation());
    stage.accept(&job).await;
    let ended = |events: &[proto::Event]| events.iter().any(|event| event.state().is_end());
    let events = stage.until_within(PATIENCE, &job, ended).await;
    let end = events.iter().map(proto::Event::state).find(|state| state.is_end());
    let calls = lab.portainer.requests().split_off(before);
    (end.unwrap(), calls, lab)
}

async fn struck(
    (environment, done): (u64, Done),
    (number, call, usual): (usize, String, usize),
    (name, mishap): (&'static str, Mishap),
) -> Result<(), String> {
    // What never arrived is asked for once more after it was read; what arrived, never.
    let never_arrived = !call.starts_with("GET") && matches!(name, "cut before" | "a proxy's page instead");
    let most = usual + usize::from(never_arrived);
    let (end, calls, lab) = carry_out(environment, done, Some((number, mishap))).await;
    let made = writes(&calls);
    if end == State::Succeeded && done.is_right(&lab) && made <= most {
        return Ok(());
    }
    Err(format!(
        "{done:?} in {environment}, {name} at {number} ({call}): {end}, {made} writes, at most {most}: {calls:#?}"
    ))
}

async fn every_call_of(environment: u64) {
    let mut cases = Vec::new();
    for done in ALL {
        let (end, calls, lab) = carry_out(environment, done, None).await;
        assert!(end == State::Succeeded && done.is_right(&lab), "{done:?}: {end}");
        let usual = writes(&calls);
        // It ends with looks at what runs, and one of them is like the other.
        let last = calls.iter().rposition(|call| !call.starts_with("GET")).unwrap() + 6;
        for (at, call) in calls.iter().take(last).enumerate() {
            cases.extend(
                mishaps().map(|mishap| struck((environment, done), (at + 1, call.clone(), usual), mishap)),
            );
        }
    }
    let told: Vec<Result<(), String>> = stream::iter(cases).buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<String> = told.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_twice_to_a_stack_of_a_swarm() {
    every_call_of(SWARM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_twice_to_a_stack_of_compose() {
    every_call_of(COMPOSE).await;
}
