//! The sentences. Each begins at a thing that is there, and may run anything.

use proto::{Operation, State, Tasks};

use super::{Berth, Kind, all_succeed, assert_stands, look, plan, set};
use crate::stage::{Stage, carried_out, text, wish};

const ONE: Kind = Kind::Good(1);
const TWO: Kind = Kind::Good(2);
const THREE: Kind = Kind::Good(3);
const ROLLBACK: Operation = Operation::Rollback { service: None, job: None, image: None };

async fn stage(berth: &impl Berth) -> Stage {
    Stage::new(&berth.configuration("")).await
}

/// A worker whose history tells nothing: it knows what stands on the thing alone.
async fn fresh(berth: &impl Berth) -> Stage {
    stage(berth).await
}

pub(crate) async fn an_image_is_brought_and_told_once_it_runs(berth: &impl Berth) {
    let stage = stage(berth).await;
    all_succeed(&stage, [set(berth, ONE)]).await;
    let job = set(berth, TWO);
    let end = all_succeed(&stage, [job.clone()]).await.remove(0);
    assert_stands(berth, &stage, TWO).await;
    let (from, to) = end.data.image.map(|change| (change.from, change.to)).expect("both images are told");
    let tag = |kind: Kind| berth.image(kind).parse::<proto::ImageRef>().unwrap().by_tag();
    let by_tag = |image: Option<proto::ImageRef>| image.map(|image| image.by_tag());
    assert_eq!((by_tag(from), by_tag(to)), (Some(tag(ONE)), Some(tag(TWO))));
    let now = look(&stage).await;
    assert_eq!((now.last_job, now.running), (Some(job.id), true), "{now:?}");
    assert!(now.tasks.is_none_or(|tasks| tasks.running == tasks.wanted && tasks.wanted > 0), "{now:?}");
}

pub(crate) async fn the_same_wish_again_writes_nothing(berth: &impl Berth) {
    let (job, first) = (set(berth, TWO), stage(berth).await);
    all_succeed(&first, [job.clone()]).await;
    let writes = berth.writes();
    all_succeed(&fresh(berth).await, [job]).await;
    assert_eq!(berth.writes(), writes);
}

pub(crate) async fn an_older_wish_after_a_newer_one_writes_nothing(berth: &impl Berth) {
    let stage = stage(berth).await;
    let (older, newer) = (set(berth, TWO), set(berth, THREE));
    all_succeed(&stage, [newer.clone()]).await;
    let writes = berth.writes();
    for stage in [stage, fresh(berth).await] {
        let end = carried_out(&stage, &older).await;
        assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)), "{end:?}");
        assert_stands(berth, &stage, THREE).await;
    }
    assert_eq!(berth.writes(), writes);
}

pub(crate) async fn a_burst_ends_on_the_newest(berth: &impl Berth) {
    let stage = stage(berth).await;
    let jobs = [ONE, TWO, ONE, TWO, ONE, THREE].map(|kind| set(berth, kind));
    for job in &jobs {
        stage.accept(job).await;
    }
    for job in &jobs {
        let end = stage.end(job).await;
        assert!(matches!(end.state(), State::Succeeded | State::Superseded), "{end:?}");
    }
    assert_stands(berth, &stage, THREE).await;
    assert_eq!(look(&stage).await.last_job, jobs.last().map(|job| job.id));
}

pub(crate) async fn a_service_that_is_not_there_is_refused_and_nothing_written(berth: &impl Berth) {
    let (stage, writes) = (stage(berth).await, berth.writes());
    let image = berth.image(TWO).parse().unwrap();
    let end =
        carried_out(&stage, &wish(Operation::SetImage { image, service: Some("nobody".to_owned()) })).await;
    // Some find that out before they look at the thing.
    assert!(matches!(end.state(), State::Failed | State::Rejected), "{end:?}");
    assert!(text(&end).contains("`nobody`"), "{}", text(&end));
    assert_eq!(berth.writes(), writes);
}

pub(crate) async fn an_image_that_nobody_has_ends_failed_with_the_reason(berth: &impl Berth) {
    let stage = stage(berth).await;
    all_succeed(&stage, [set(berth, ONE)]).await;
    let end = carried_out(&stage, &set(berth, Kind::Nowhere)).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains(berth.nowhere()), "{}", text(&end));
    // And it is in nobody's way.
    all_succeed(&stage, [set(berth, TWO)]).await;
}

pub(crate) async fn what_never_comes_up_is_no_success(berth: &impl Berth) {
    let stage = stage(berth).await;
    all_succeed(&stage, [set(berth, ONE)]).await;
    let end = carried_out(&stage, &set(berth, Kind::Broken)).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(!text(&end).is_empty(), "{end:?}");
    all_succeed(&stage, [set(berth, TWO)]).await;
    assert_stands(berth, &stage, TWO).await;
}

pub(crate) async fn where_the_target_says_so_what_ran_well_runs_again(berth: &impl Berth) {
    let stage = Stage::new(&berth.configuration(", rollback: true")).await;
    all_succeed(&stage, [set(berth, TWO)]).await;
    let end = carried_out(&stage, &set(berth, Kind::Broken)).await;
    assert_eq!(end.state(), State::RolledBack, "{end:?}");
    assert_stands(berth, &stage, TWO).await;
    all_succeed(&stage, [set(berth, THREE)]).await;
}

pub(crate) async fn a_rollback_by_wish_goes_to_what_ran_well_before(berth: &impl Berth) {
    let stage = stage(berth).await;
    all_succeed(&stage, [set(berth, TWO), set(berth, THREE), wish(ROLLBACK)]).await;
    assert_stands(berth, &stage, TWO).await;
    // Said again it stays there: it does not swing to and fro.
    all_succeed(&stage, [wish(ROLLBACK)]).await;
    assert_stands(berth, &stage, TWO).await;
}

pub(crate) async fn a_restart_and_a_redeploy_keep_the_image(berth: &impl Berth) {
    let stage = stage(berth).await;
    all_succeed(&stage, [set(berth, TWO)]).await;
    for operation in [Operation::Restart, Operation::Redeploy] {
        let writes = berth.writes();
        all_succeed(&stage, [wish(operation.clone())]).await;
        assert!(berth.writes() > writes, "{operation:?} wrote nothing");
        assert_stands(berth, &stage, TWO).await;
    }
}

pub(crate) async fn what_is_stopped_starts_as_it_was(berth: &impl Berth) {
    let stage = stage(berth).await;
    all_succeed(&stage, [set(berth, TWO)]).await;
    let before = look(&stage).await;
    all_succeed(&stage, [wish(Operation::Stop)]).await;
    let stopped = look(&stage).await;
    assert!(!stopped.running, "{stopped:?}");
    assert!(stopped.tasks.is_none_or(|tasks| tasks == Tasks { running: 0, wanted: 0 }), "{stopped:?}");
    // Stopped twice, how much of it ran is not forgotten.
    all_succeed(&stage, [wish(Operation::Stop), wish(Operation::Start)]).await;
    let after = look(&stage).await;
    assert_eq!((after.running, after.tasks), (true, before.tasks), "{after:?}");
    assert_stands(berth, &stage, TWO).await;
    // What runs already is done at once.
    all_succeed(&stage, [wish(Operation::Start)]).await;
    assert_eq!(look(&stage).await.tasks, before.tasks);
}

pub(crate) async fn a_plan_changes_nothing(berth: &impl Berth) {
    let stage = stage(berth).await;
    all_succeed(&stage, [set(berth, ONE)]).await;
    let writes = berth.writes();
    let planned = plan(&stage, set(berth, TWO).operation).await;
    assert!(!planned.changes.is_empty(), "{planned:?}");
    let told = serde_json::to_string(&planned).unwrap();
    let wanted: proto::ImageRef = berth.image(TWO).parse().unwrap();
    assert!(told.contains(&format!(":{}", wanted.tag().unwrap())), "{told}");
    // Where nobody says what a tag points to, its pods would be replaced; the image is so already.
    let again = plan(&stage, set(berth, ONE).operation).await;
    assert!(!again.changes.iter().any(|change| change.field.ends_with("mage")), "{again:?}");
    assert_stands(berth, &stage, ONE).await;
    assert_eq!(berth.writes(), writes);
}

pub(crate) async fn a_check_tells_what_is_there_and_changes_nothing(berth: &impl Berth) {
    let (stage, writes) = (Stage::empty().await, berth.writes());
    let told = worker::connect(&stage.settings(&berth.configuration(""))).await.unwrap().remove(0);
    assert_eq!(told.missing, Vec::<String>::new());
    assert!(!told.found.is_empty());
    assert_eq!(berth.writes(), writes);
}

pub(crate) async fn a_write_that_nobody_answers_is_not_written_again(berth: &impl Berth) {
    let stage = stage(berth).await;
    all_succeed(&stage, [set(berth, ONE)]).await;
    let before = berth.writes();
    all_succeed(&stage, [set(berth, TWO)]).await;
    let usual = berth.writes() - before;
    berth.cut_next_write();
    let before = berth.writes();
    all_succeed(&stage, [set(berth, THREE)]).await;
    assert_eq!(berth.writes() - before, usual, "as many as without the cut");
    assert_stands(berth, &stage, THREE).await;
}
