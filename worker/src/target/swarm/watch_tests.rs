use bollard::models::TaskState;
use proto::{ImageRef, Timestamp};
use serde_json::json;

use super::*;

const MONITOR: Duration = Duration::from_secs(5);
const ALL: u64 = 2;

fn failing(error: &str) -> Failing {
    Failing {
        task: "web.1".into(),
        node: Some("node-a".into()),
        state: TaskState::REJECTED,
        error: error.into(),
        at: None,
        life: None,
        container: None,
    }
}

/// All tasks running for as long as they have to, an update status, nothing failed.
fn snapshot(update: Option<UpdateState>) -> Snapshot {
    Snapshot {
        owner: Owner::Ours,
        update,
        message: String::new(),
        window: MONITOR,
        replaced_none: false,
        emptied: false,
        by_hand: false,
        by_itself: false,
        fell_after: false,
        fell_lately: false,
        falling_for: Duration::ZERO,
        lost: Vec::new(),
        unplaced_for: Duration::ZERO,
        count: Count {
            running: ALL,
            wanted: ALL,
            youngest: Some(MONITOR),
            failing: Vec::new(),
            waiting: None,
            unplaced: None,
        },
        steady_for: Duration::ZERO,
        unsteady_for: Duration::ZERO,
    }
}

fn with_running(running: u64, snapshot: Snapshot) -> Snapshot {
    Snapshot { count: Count { running, ..snapshot.count.clone() }, ..snapshot }
}

fn young(snapshot: Snapshot) -> Snapshot {
    let youngest = Some(Duration::from_secs(1));
    Snapshot { count: Count { youngest, ..snapshot.count.clone() }, ..snapshot }
}

fn with_failure(snapshot: Snapshot) -> Snapshot {
    let failing = vec![failing("No such image: r.lan/web:2")];
    Snapshot { count: Count { failing, ..snapshot.count.clone() }, ..snapshot }
}

fn end_of(snapshot: &Snapshot) -> &'static str {
    match snapshot.decide() {
        Decision::Goes(_) => "goes",
        Decision::Ended(End::Converged) => "converged",
        Decision::Ended(End::Failed(_)) => "failed",
        Decision::Ended(End::RolledBack(_)) => "rolled back",
        Decision::Ended(End::Superseded { .. }) => "superseded",
    }
}

/// The sequences of update states that a 20.10 engine was seen to go through, each with its end.
#[test]
fn every_sequence_that_was_seen_has_its_end() {
    use UpdateState as U;
    type Seen = (Option<UpdateState>, u64);
    let cases: &[(&str, &[Seen], &str)] = &[
        (
            "a good update",
            &[(None, 0), (Some(U::Updating), 1), (Some(U::Updating), 2), (Some(U::Completed), 2)],
            "converged",
        ),
        ("missing image, pause", &[(None, 0), (Some(U::Updating), 0), (Some(U::Paused), 0)], "failed"),
        ("missing image, continue", &[(Some(U::Updating), 0), (Some(U::Completed), 0)], "failed"),
        ("impossible constraint", &[(Some(U::Updating), 0), (Some(U::Updating), 0)], "goes"),
    ];
    for (what, sequence, end) in cases {
        let (last, before) = sequence.split_last().unwrap();
        for (update, running) in before {
            assert_eq!(end_of(&with_running(*running, snapshot(*update))), "goes", "{what}: {update:?}");
        }
        let mut at_last = with_running(last.1, snapshot(last.0));
        if *end == "failed" {
            at_last = Snapshot { fell_after: true, ..with_failure(at_last) };
        }
        assert_eq!(end_of(&at_last), *end, "{what}");
    }
}

#[test]
fn what_somebody_else_scaled_to_nothing_is_no_success() {
    let none = |update| {
        let count = Count { running: 0, wanted: 0, youngest: None, ..snapshot(None).count };
        Snapshot { count, ..snapshot(update) }
    };
    for update in [None, Some(UpdateState::Updating), Some(UpdateState::Completed)] {
        assert_eq!(end_of(&Snapshot { emptied: true, ..none(update) }), "superseded", "{update:?}");
    }
    assert_eq!(end_of(&none(None)), "converged", "one that was stopped before is left so");
}

#[test]
fn a_rollback_is_never_a_success() {
    use UpdateState as U;
    for owner in [Owner::Other, Owner::TakenBack] {
        let at = |update| end_of(&Snapshot { owner, ..with_failure(snapshot(Some(update))) });
        assert_eq!(at(U::RollbackStarted), "goes");
        assert_eq!(at(U::RollbackCompleted), "rolled back");
        // What runs then is neither the one nor the other.
        assert_eq!(at(U::RollbackPaused), "failed");
        let by_hand = Snapshot { owner, by_hand: true, ..snapshot(Some(U::RollbackStarted)) };
        assert_eq!(end_of(&by_hand), "superseded");
        // Its beginning was not seen: where nothing failed, the engine had no reason to.
        let over = Snapshot { owner, ..snapshot(Some(U::RollbackCompleted)) };
        assert_eq!(end_of(&over), "superseded");
        assert_eq!(end_of(&Snapshot { by_itself: true, ..over.clone() }), "rolled back");
        assert_eq!(end_of(&Snapshot { by_hand: true, ..with_failure(over) }), "superseded");
    }
}

#[test]
fn another_image_without_a_rollback_is_somebody_elses() {
    use UpdateState as U;
    for update in [None, Some(U::Updating), Some(U::Completed), Some(U::Paused)] {
        assert_eq!(end_of(&Snapshot { owner: Owner::Other, ..snapshot(update) }), "superseded", "{update:?}");
    }
    let newer = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
    let by = Snapshot { owner: Owner::Newer(newer), ..snapshot(Some(U::RollbackCompleted)) };
    assert!(matches!(by.decide(), Decision::Ended(End::Superseded { by: Some(id), .. }) if id == newer));
}

#[test]
fn completed_is_believed_only_while_all_tasks_run() {
    let completed = || snapshot(Some(UpdateState::Completed));
    assert_eq!(end_of(&completed()), "converged");
    // A task that came down and comes up again, in an update that goes on over failures.
    assert_eq!(end_of(&with_failure(with_running(1, completed()))), "goes");
    let down = Snapshot { unsteady_for: MONITOR, ..with_failure(with_running(1, completed())) };
    assert_eq!(end_of(&down), "failed");
    assert_eq!(end_of(&Snapshot { fell_after: true, ..with_failure(completed()) }), "failed");
    // One that the engine has not noticed yet to be down.
    assert_eq!(end_of(&young(completed())), "goes");
    // A crash loop that is up at this moment.
    assert_eq!(end_of(&young(with_failure(completed()))), "goes");
    assert_eq!(end_of(&Snapshot { steady_for: MONITOR, ..young(with_failure(completed())) }), "converged");
    let mut slow_loop = Snapshot { steady_for: MONITOR, ..young(with_failure(completed())) };
    slow_loop.count.failing[0].life = Some(2 * MONITOR);
    assert_eq!(end_of(&slow_loop), "goes");
    slow_loop.steady_for = 3 * MONITOR;
    assert_eq!(end_of(&slow_loop), "converged");
    // A task that moves to another node, with nothing failed.
    assert_eq!(end_of(&with_running(1, completed())), "goes");
    assert_eq!(end_of(&Snapshot { unsteady_for: MONITOR, ..with_running(1, completed()) }), "failed");
    let scaled_to_nothing = Count { running: 0, wanted: 0, youngest: None, ..completed().count };
    assert_eq!(end_of(&Snapshot { count: scaled_to_nothing, ..completed() }), "converged");
}

#[test]
fn without_an_update_status_young_tasks_are_watched_first() {
    let young = || young(snapshot(None));
    assert_eq!(end_of(&young()), "goes");
    assert_eq!(end_of(&Snapshot { steady_for: MONITOR, ..young() }), "converged");
    assert_eq!(end_of(&Snapshot { replaced_none: true, ..young() }), "converged");
    let old = Count { youngest: Some(MONITOR), ..young().count };
    assert_eq!(end_of(&Snapshot { count: old, ..young() }), "converged");
    assert_eq!(end_of(&with_running(0, young())), "goes");
    assert_eq!(end_of(&with_failure(with_running(0, young()))), "goes");
    let long_down = Snapshot { unsteady_for: MONITOR, ..with_failure(with_running(0, young())) };
    // A task that came down before the service was written: new ones may need longer than the window to come up.
    assert_eq!(end_of(&long_down), "goes");
    assert_eq!(end_of(&Snapshot { fell_lately: true, ..long_down }), "failed");
}

#[test]
fn what_the_engine_starts_on_its_own_may_exit_until_what_it_needs_is_up() {
    let mut crashes =
        Snapshot { fell_lately: true, unsteady_for: MONITOR, ..with_running(0, snapshot(None)) };
    crashes.count.failing = vec![Failing { state: TaskState::FAILED, ..failing("task: non-zero exit (1)") }];
    let after = |falling_for, crashes: &Snapshot| end_of(&Snapshot { falling_for, ..crashes.clone() });
    let second = Duration::from_secs(1);
    assert_eq!(after(COMES_UP_WITHIN - second, &crashes), "goes");
    assert_eq!(after(COMES_UP_WITHIN, &crashes), "failed");
    // A target that wants its tasks to be up for longer has that patience, too.
    let patient = Snapshot { window: 2 * COMES_UP_WITHIN, ..crashes.clone() };
    assert_eq!(after(COMES_UP_WITHIN, &patient), "goes");
    assert_eq!(after(2 * COMES_UP_WITHIN, &patient), "failed");
    // All run, for a moment.
    assert_eq!(after(COMES_UP_WITHIN, &young(with_running(ALL, crashes.clone()))), "goes");
    // What stood there before and was not touched has had its time.
    assert_eq!(after(second, &Snapshot { replaced_none: true, ..crashes.clone() }), "failed");
    // Nor is anything waited for that could not even be started.
    for words in
        ["No such image: a", "task: non-zero exit (127)", "starting container failed: exec: no such file"]
    {
        crashes.count.failing[0].error = words.into();
        assert_eq!(after(second, &crashes), "failed", "{words}");
    }
}

#[test]
fn what_came_down_with_its_engine_is_waited_for_and_is_no_fault_of_the_image() {
    for update in [None, Some(UpdateState::Completed)] {
        let gone =
            Snapshot { lost: vec![failing("No such container: a")], ..with_running(0, snapshot(update)) };
        assert_eq!(gone.blames(), Blame::Engine);
        let after = |unsteady_for| end_of(&Snapshot { unsteady_for, ..gone.clone() });
        assert_eq!(after(MONITOR), "goes");
        assert_eq!(after(MADE_AGAIN_WITHIN), "failed");
        let again = with_running(ALL, gone.clone());
        assert_eq!(end_of(&young(again.clone())), "goes", "the window begins anew");
        assert_eq!(end_of(&again), "converged");
        assert_eq!(with_failure(again).blames(), Blame::Node, "nor did it ever run elsewhere");
    }
    assert_eq!(snapshot(None).blames(), Blame::Nobody, "none of it failed");
    let mut came_down = with_failure(snapshot(None));
    assert_eq!(came_down.blames(), Blame::Node, "no node could make it");
    let crashed = Failing { state: TaskState::FAILED, container: Some("c".into()), ..failing("exit (1)") };
    came_down.count.failing.push(crashed);
    assert_eq!(came_down.blames(), Blame::Image);
    // Its time was over before anything came down.
    assert_eq!(snapshot(None).blames_when_cut_off(), Blame::Nobody);
}

#[test]
fn what_an_engine_gives_up_though_no_task_failed_is_laid_to_nobody() {
    let message = "update paused due to failure or early termination of task abc".to_owned();
    let paused = Snapshot { message, ..with_running(0, snapshot(Some(UpdateState::Paused))) };
    assert_eq!(paused.blames(), Blame::Nobody);
    let Decision::Ended(End::Failed(why)) = paused.decide() else { panic!("{paused:?}") };
    assert!(why.text.contains("though no task of the image failed (0 of 2 run): update paused"), "{why:?}");
    let failed = with_failure(paused);
    assert_eq!((failed.blames(), failed.blames_when_cut_off()), (Blame::Node, Blame::Image));
    let Decision::Ended(End::Failed(why)) = failed.decide() else { panic!("{failed:?}") };
    assert!(!why.text.contains("though no task"), "{why:?}");
}

#[test]
fn only_what_came_down_since_the_last_write_is_held_against_it() {
    let written: Timestamp = Timestamp::from_second(1_700_000_000).unwrap();
    let at = |at| Count { failing: vec![Failing { at, ..failing("exit (1)") }], ..snapshot(None).count };
    let second = Duration::from_secs(1);
    assert!(!at(Some(written - second)).fell_since(Some(written)));
    for (fell, since) in
        [(Some(written + second), Some(written)), (None, Some(written)), (Some(written), None)]
    {
        assert!(at(fell).fell_since(since), "{fell:?} {since:?}");
    }
    assert!(!snapshot(None).count.fell_since(None));
}

#[test]
fn what_came_down_between_two_watches_is_forgotten() {
    let over: Timestamp = Timestamp::from_second(1_700_000_000).unwrap();
    let (second, again) = (Duration::from_secs(1), over + Duration::from_secs(3600));
    let at = |at| Failing { at, ..failing("exit (1)") };
    let times = [None, Some(over - second), Some(over + second), Some(again - second), Some(again + second)];
    let mut count = Count { failing: times.map(at).to_vec(), ..snapshot(None).count };
    count.forget(over, again);
    let left: Vec<_> = count.failing.iter().map(|failing| failing.at).collect();
    assert_eq!(left, [None, Some(over - second), Some(again + second)]);
    // A watch that began in time has seen all of it.
    let mut count = Count { failing: times.map(at).to_vec(), ..snapshot(None).count };
    count.forget(over, over - second);
    assert_eq!(count.failing.len(), times.len());
}

#[test]
fn a_window_that_is_over_at_once_fails_nothing_that_is_coming_up() {
    for window in [Duration::ZERO, Duration::from_millis(1)] {
        let completed = Snapshot { window, ..with_running(1, snapshot(Some(UpdateState::Completed))) };
        let scaled = Snapshot { window, fell_lately: true, ..with_failure(with_running(1, snapshot(None))) };
        for coming_up in [completed, scaled] {
            let after = |unsteady_for| end_of(&Snapshot { unsteady_for, ..coming_up.clone() });
            assert_eq!(after(window), "goes");
            assert_eq!(after(NOTICED_WITHIN), "failed");
        }
    }
}

#[test]
fn what_no_node_takes_fails_once_there_was_time_to_make_room() {
    for update in [None, Some(UpdateState::Updating)] {
        let mut waits = with_running(1, snapshot(update));
        waits.count.unplaced =
            Some("web.1: no suitable node (host-mode port already in use on 1 node)".into());
        assert_eq!(end_of(&waits), "goes");
        waits.unplaced_for = PLACED_WITHIN;
        let Decision::Ended(End::Failed(reason)) = waits.decide() else { panic!("{:?}", waits.decide()) };
        assert_eq!(reason.code, reason::NO_SUITABLE_NODE);
        assert!(
            reason.text.contains("1 of 2 run") && reason.text.contains("already in use"),
            "{}",
            reason.text
        );
    }
}

#[test]
fn a_failure_names_task_node_and_error_once() {
    let mut paused = with_running(0, snapshot(Some(UpdateState::Paused)));
    paused.count.failing =
        vec![failing("No such image: a"), failing("No such image: a"), failing("exit (1)")];
    let Decision::Ended(End::Failed(reason)) = paused.decide() else { panic!("{:?}", paused.decide()) };
    assert_eq!(
        reason.text,
        "the engine paused the update (0 of 2 run): web.1 on node-a rejected: No such image: a; \
         web.1 on node-a rejected: exit (1)"
    );
    paused.count.failing.clear();
    paused.message = "update paused due to failure".into();
    let Decision::Ended(End::Failed(reason)) = paused.decide() else { panic!("{:?}", paused.decide()) };
    assert_eq!(
        reason.text,
        "the engine paused the update, though no task of the image failed (0 of 2 run): update paused due to failure"
    );
}

#[test]
fn the_owner_is_known_by_mark_and_image() {
    let digest = |digit: char| format!("sha256:{}", digit.to_string().repeat(64));
    let image = |digit| format!("r.lan/web:1@{}", digest(digit));
    let old = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
    let mine = old.successor();
    let newer = mine.successor();
    let wanted: ImageRef = image('1').parse().unwrap();
    let service = |job: Option<JobId>, trying: Option<JobId>, runs: char, update: &str| {
        let mut labels = json!({});
        for (label, id) in [("longshore.job", job), ("longshore.trying", trying)] {
            if let Some(id) = id {
                labels[label] = json!(id.to_string());
            }
        }
        let spec = json!({"Labels": labels, "TaskTemplate": {"ContainerSpec": {"Image": image(runs)}}});
        let raw =
            json!({"ID": "x", "Version": {"Index": 1}, "Spec": spec, "UpdateStatus": {"State": update}});
        Service::from_raw(raw).unwrap()
    };
    let owner_of = |service: Service| owner(&service, mine, &wanted);
    assert_eq!(owner_of(service(Some(mine), Some(mine), '1', "completed")), Owner::Ours);
    assert_eq!(owner_of(service(Some(mine), Some(mine), '2', "updating")), Owner::Other);
    assert_eq!(owner_of(service(Some(newer), None, '1', "updating")), Owner::Newer(newer));
    assert_eq!(owner_of(service(Some(old), Some(mine), '2', "rollback_started")), Owner::Other);
    assert_eq!(owner_of(service(Some(old), Some(mine), '1', "rollback_completed")), Owner::TakenBack);
    // The engine went back to the image that is wanted, before it was: nothing of ours was undone.
    assert_eq!(owner_of(service(Some(old), Some(old), '1', "rollback_completed")), Owner::Ours);
    // Joined a rollout of the same image, or somebody wiped the labels.
    assert_eq!(owner_of(service(Some(old), None, '1', "updating")), Owner::Ours);
    assert_eq!(owner_of(service(None, None, '1', "")), Owner::Ours);
}

#[test]
fn the_window_is_waited_for_once_the_engine_is_done() {
    let left = Some(MONITOR - Duration::from_secs(1));
    for update in [None, Some(UpdateState::Completed), Some(UpdateState::RollbackCompleted)] {
        assert_eq!(young(snapshot(update)).settles_in(), left, "{update:?}");
        assert_eq!(snapshot(update).settles_in(), None, "it is over");
    }
    // The engine tells when it is.
    assert_eq!(young(snapshot(Some(UpdateState::Updating))).settles_in(), None);
    assert_eq!(with_running(1, young(snapshot(Some(UpdateState::Completed)))).settles_in(), None);
}
