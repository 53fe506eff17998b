//! A worker is killed outright at each step, and another takes the job up.

use proto::State;
use serde_json::json;

use crate::{
    dying::{all_well, deaths, dies_and_another_goes_on, folder},
    fake_kubernetes::BAD,
    lab::Lab,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_die_at_any_step() {
    all_well(deaths().into_iter().map(|(is_good, step)| die_and_go_on(is_good, step))).await;
}

async fn die_and_go_on(is_good: bool, step: String) -> Result<(), String> {
    let lab = Lab::with("deployments", |_, object| object["spec"]["progressDeadlineSeconds"] = json!(2));
    let tag = if is_good { "2".to_owned() } else { format!("2{BAD}") };
    let folder = folder(&lab.configuration(", rollback: true"), &lab.set(&tag));
    let (end, tag, writes) = if is_good { (State::Succeeded, "2", 1) } else { (State::RolledBack, "1", 2) };
    let mut wrong = dies_and_another_goes_on(&folder, &step, end).await;
    let stands = lab.stands();
    if !stands.starts_with(&lab.image(tag)) {
        wrong.push(format!("{stands} stands there"));
    }
    let written = lab.cluster().writes().iter().filter(|write| write.status < 300).count();
    if written != writes {
        wrong.push(format!("{written} writes instead of {writes}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{is_good} {step}: {}", wrong.join("; "))) }
}
