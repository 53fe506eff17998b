//! A worker is killed outright at each step, and another takes the job up, by whichever way the workload is reached.

use proto::State;

use crate::{
    dying::{all_well, deaths, dies_and_another_goes_on, folder},
    fake_kubernetes::BAD,
    fake_rancher::{KEY, Proxy},
    lab::{Lab, image, set},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_die_at_any_step() {
    // By the link what is written, and by whom it is watched, is another; what comes before is not.
    let by_link = ["applied", "watched", "undone", "wentback"];
    let all = deaths().into_iter().map(|death| (Proxy::Open, death));
    let some = deaths().into_iter().filter(|(_, step)| by_link.contains(&step.as_str()));
    let some = some.map(|death| (Proxy::Forbidden, death));
    all_well(all.chain(some).map(|(proxy, (is_good, step))| die_and_go_on(proxy, is_good, step))).await;
}

async fn die_and_go_on(proxy: Proxy, is_good: bool, step: String) -> Result<(), String> {
    let lab = Lab::with("deployments", |object| object["spec"]["progressDeadlineSeconds"] = 2.into());
    lab.rancher.close_proxy(proxy);
    let tag = if is_good { "2".to_owned() } else { format!("2{BAD}") };
    let workload = format!("{}, rollback: true", lab.short());
    let folder = folder(&lab.configured(&format!("token: '{KEY}'"), &workload), &set(&tag));
    let (end, tag, writes) = if is_good { (State::Succeeded, "2", 1) } else { (State::RolledBack, "1", 2) };
    let mut wrong = dies_and_another_goes_on(&folder, &step, end).await;
    let stands = lab.cluster().image("deployments", "web", "web");
    if !stands.starts_with(&image(tag)) {
        wrong.push(format!("{stands} stands there"));
    }
    let written = lab.cluster().writes().iter().filter(|write| write.status < 300).count();
    if written != writes {
        wrong.push(format!("{written} writes instead of {writes}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{proxy:?} {is_good} {step}: {}", wrong.join("; "))) }
}
