//! A worker is killed outright at each step, another takes the job up; and Portainer dies under a write.

use proto::{Event, Operation, StackText, State};

use crate::{
    dying::{PATIENCE, all_well, deaths, dies_and_another_goes_on, folder},
    fake_portainer::{BAD, Mishap},
    lab::{FILE, Lab, set},
    stage::wish,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_die_at_any_step() {
    all_well(deaths().into_iter().map(|(is_good, step)| die_and_go_on(is_good, step))).await;
}

async fn die_and_go_on(is_good: bool, step: String) -> Result<(), String> {
    let lab = Lab::swarm(FILE);
    let image = if is_good { "acme/web:2".to_owned() } else { format!("acme/web:2{BAD}") };
    let folder = folder(&lab.configuration(", rollback: true"), &set(&image));
    let (end, image, most) =
        if is_good { (State::Succeeded, "acme/web:2@", 1) } else { (State::RolledBack, "acme/web:1", 2) };
    let mut wrong = dies_and_another_goes_on(&folder, &step, end).await;
    let stands = lab.image("web");
    if !stands.starts_with(image) {
        wrong.push(format!("{stands} stands there"));
    }
    let written = lab.portainer.puts().len();
    if written > most {
        wrong.push(format!("{written} writes, at most {most}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{is_good} {step}: {}", wrong.join("; "))) }
}

/// Of a stack that is gone nothing is left to tell that it was there, and whoever is no administrator does not see all
/// that is.
#[tokio::test]
async fn what_it_had_removed_is_seen_to_be_gone_by_another_that_is_no_administrator() {
    for (step, hidden, end) in [
        ("applied", false, State::Succeeded),
        ("read", false, State::Succeeded),
        // It was never to be seen, and has not been removed by anybody.
        ("started", true, State::Failed),
    ] {
        let lab = Lab::swarm(FILE);
        lab.portainer.hide(if hidden { &[1] } else { &[] });
        let folder = folder(&lab.configuration(""), &wish(Operation::RemoveStack { force: true }));
        let wrong = dies_and_another_goes_on(&folder, step, end).await;
        assert!(wrong.is_empty(), "{step}: {}", wrong.join("; "));
        assert_eq!(lab.portainer.has_stack("shop"), hidden, "{step}");
        let removals = lab.portainer.requests().iter().filter(|line| line.starts_with("DELETE")).count();
        assert_eq!(removals, usize::from(!hidden), "{step}");
    }
}

/// It has written the file, told the engine nothing, and closed the connection: for good, the file says what nobody
/// deployed.
#[tokio::test]
async fn a_portainer_that_dies_under_a_write_is_found_out() {
    dies_under(set("acme/web:2")).await;
}

#[tokio::test]
async fn it_is_where_a_whole_text_was_written() {
    let text = StackText { adopt: true, ..StackText::of(FILE.replace("acme/web:1", "acme/web:2")) };
    dies_under(wish(Operation::DeployStack(text))).await;
}

async fn dies_under(job: proto::Job) {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    lab.portainer.befall_next("PUT /api/stacks/", Mishap::DiesUnder);
    stage.accept(&job).await;
    let is_over = |events: &[Event]| events.iter().any(|event| event.state().is_end());
    let events = stage.until_within(PATIENCE, &job, is_over).await;
    assert_eq!(
        events.iter().find(|event| event.state().is_end()).unwrap().state(),
        State::Succeeded,
        "{events:?}"
    );
    assert!(lab.image("web").starts_with("acme/web:2@"), "{}", lab.image("web"));
    assert_eq!(lab.writes_of("acme/web:2"), 2);
}
