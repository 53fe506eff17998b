use proto::Timestamp;
use serde_json::json;

use super::*;

fn service(mode: serde_json::Value, labels: serde_json::Value) -> Service {
    let spec = json!({
        "Name": "web", "Labels": labels, "Mode": mode,
        "TaskTemplate": {"ContainerSpec": {"Image": "r.lan/web:1"}},
    });
    Service::from_raw(json!({"ID": "x", "Version": {"Index": 1}, "Spec": spec})).unwrap()
}

fn counted(replicas: u64, labels: serde_json::Value) -> Service {
    service(json!({"Replicated": {"Replicas": replicas}}), labels)
}

#[test]
fn a_stop_remembers_the_count_and_a_start_gives_it_back() {
    let running = counted(3, json!({"team": "a"}));
    let edit = edit_for(&running, &Operation::Stop, None).unwrap();
    let stopped = running.edited(&edit);
    assert_eq!(stopped["Mode"]["Replicated"]["Replicas"], 0);
    assert_eq!(stopped["Labels"], json!({"team": "a", "longshore.replicas": "3"}));
    let stopped = counted(0, stopped["Labels"].clone());
    // Stopped twice, it still remembers.
    let again = stopped.edited(&edit_for(&stopped, &Operation::Stop, None).unwrap());
    assert_eq!(again["Labels"]["longshore.replicas"], "3");
    for operation in [Operation::Start, Operation::Restart] {
        let started = stopped.edited(&edit_for(&stopped, &operation, None).unwrap());
        assert_eq!(started["Mode"]["Replicated"]["Replicas"], 3);
        assert_eq!(started["Labels"], json!({"team": "a"}));
    }
    // Somebody scaled it up meanwhile: that count stands.
    let by_hand = counted(5, json!({"longshore.replicas": "3"}));
    let started = by_hand.edited(&edit_for(&by_hand, &Operation::Start, None).unwrap());
    assert_eq!(started["Mode"]["Replicated"]["Replicas"], 5);
}

#[test]
fn of_what_had_no_task_when_it_was_stopped_that_is_noted() {
    let idle = counted(0, json!({}));
    let stopped = idle.edited(&edit_for(&idle, &Operation::Stop, None).unwrap());
    assert_eq!(stopped["Labels"]["longshore.replicas"], "0");
    let stopped = counted(0, stopped["Labels"].clone());
    assert_eq!(stopped_from(&stopped), None);
    // Who starts this very service wants it to run.
    let started = stopped.edited(&edit_for(&stopped, &Operation::Start, None).unwrap());
    assert_eq!(started["Mode"]["Replicated"]["Replicas"], 1);
}

#[test]
fn a_global_service_cannot_be_stopped_and_says_why() {
    let global = service(json!({"Global": {}}), json!({}));
    let why = edit_for(&global, &Operation::Stop, None).unwrap_err();
    assert!(why.contains("`web` runs on every node"), "{why}");
    let edit = edit_for(&global, &Operation::Restart, None).unwrap();
    assert_eq!(global.edited(&edit)["Mode"], json!({"Global": {}}));
    assert_eq!(global.edited(&edit)["TaskTemplate"]["ForceUpdate"], 1);
}

/// What stands after an engine took a write back, which another job's announcement may name.
fn gone_back(kind: &str, announced: JobId, before: JobId) -> Service {
    let labels = json!({
        kind: before.to_string(), "longshore.job": before.to_string(), "longshore.trying": announced.to_string(),
    });
    let spec = json!({
        "Name": "web", "Labels": labels, "TaskTemplate": {"ContainerSpec": {"Image": "r.lan/web:1"}},
    });
    let update = json!({"State": "rollback_completed"});
    Service::from_raw(json!({"ID": "x", "Version": {"Index": 1}, "Spec": spec, "UpdateStatus": update}))
        .unwrap()
}

#[test]
fn what_an_engine_takes_back_of_the_same_image_is_no_success() {
    let before = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
    let mine = before.successor();
    let image: ImageRef = "r.lan/web:1".parse().unwrap();
    let text = Operation::DeployStack(proto::StackText::of("services: {}".to_owned()));
    for (kind, operation) in [(STACK, text), (RUNNING, Operation::Restart), (REDEPLOYED, Operation::Redeploy)]
    {
        let job = Job { id: mine, operation, ..crate::testing::job(1, "r.lan/web:1") };
        // Announced, and taken over a rollout that another job had announced.
        for announced in [mine, before] {
            let service = gone_back(kind, announced, before);
            assert_eq!(whose(&service, &job, &image), Owner::TakenBack, "{kind}");
        }
        // Our own write stands: what went back was before it.
        assert_eq!(whose(&gone_back(kind, before, mine), &job, &image), Owner::Ours, "{kind}");
    }
}

#[test]
fn each_kind_of_wish_has_a_mark_of_its_own() {
    let old = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
    let new = old.successor();
    let labels = json!({"longshore.job": new.to_string(), "longshore.running": old.to_string()});
    let marked = counted(1, labels);
    assert_eq!(Concern::Image.standing(&marked, old), Standing::Newer(new));
    assert_eq!(Concern::Running.standing(&marked, old), Standing::Applied);
    assert_eq!(Concern::Running.standing(&marked, new), Standing::Open);
    assert_eq!(Concern::Redeploy.standing(&marked, old), Standing::Open);
    assert_eq!(Concern::Nothing.standing(&marked, old), Standing::Open);
    assert_eq!(last_job(&marked), Some(new));
}
