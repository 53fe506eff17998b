//! How far a rollout is: the rules of `kubectl rollout status`, and what they leave out. No I/O: a table that can be
//! tested.

use super::{kind::WorkloadKind, object::Workload};

/// How far it is, as the status tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its controller has not seen the change yet: every number still tells of the rollout before.
    Unseen,
    /// It goes on.
    Goes(String),
    /// Its controller waited for long enough. That is no way back: the old pods go on.
    OutOfTime(String),
    /// Somebody paused it, and it would wait for ever.
    Paused,
    /// Only pods that somebody deletes by hand are replaced.
    ByHand,
    /// All that kubectl asks for is there.
    Complete,
}

/// How far the rollout of `workload` is, of which no generation below `floor` counts: that is the one which our own
/// write was answered with.
pub(super) fn stage(workload: &Workload, floor: u64) -> Stage {
    let generation = workload.generation();
    match workload.kind {
        // It is stored, and that is all.
        WorkloadKind::CronJob if generation >= floor => return Stage::Complete,
        WorkloadKind::Deployment
        | WorkloadKind::StatefulSet
        | WorkloadKind::DaemonSet
        | WorkloadKind::CronJob => {}
    }
    if !workload.replaces_pods() {
        return Stage::ByHand;
    }
    let observed = workload.observed();
    if generation < floor || observed < generation || observed == 0 {
        return Stage::Unseen;
    }
    match workload.kind {
        WorkloadKind::Deployment => deployment(workload),
        WorkloadKind::StatefulSet => stateful_set(workload),
        WorkloadKind::DaemonSet => daemon_set(workload),
        WorkloadKind::CronJob => Stage::Complete,
    }
}

fn deployment(workload: &Workload) -> Stage {
    let status = |field: &str| workload.number(&format!("/status/{field}")).unwrap_or_default();
    let progressing = workload.condition("Progressing");
    if let Some(condition) = progressing.filter(|it| it["reason"] == "ProgressDeadlineExceeded") {
        return Stage::OutOfTime(condition["message"].as_str().unwrap_or_default().to_owned());
    }
    let wanted = workload.wished().unwrap_or_default();
    let (updated, all, available) =
        (status("updatedReplicas"), status("replicas"), status("availableReplicas"));
    let line = if updated < wanted {
        format!("{updated} out of {wanted} new replicas have been updated")
    } else if all > updated {
        format!("{} old replicas are pending termination", all - updated)
    } else if available < updated {
        format!("{available} of {updated} updated replicas are available")
    } else {
        return Stage::Complete;
    };
    if workload.is_paused() { Stage::Paused } else { Stage::Goes(line) }
}

fn stateful_set(workload: &Workload) -> Stage {
    let status = |field: &str| workload.number(&format!("/status/{field}")).unwrap_or_default();
    let text = |field: &str| workload.raw["status"][field].as_str();
    let wanted = workload.wished().unwrap_or_default();
    let (ready, updated) = (status("readyReplicas"), status("updatedReplicas"));
    if ready < wanted {
        return Stage::Goes(format!("{ready} of {wanted} pods are ready"));
    }
    let due = wanted.saturating_sub(workload.partition());
    let is_rolling = workload.raw.pointer("/spec/updateStrategy/rollingUpdate").is_some();
    if is_rolling && updated < due {
        return Stage::Goes(format!("{updated} out of {due} new pods have been updated"));
    }
    if !is_rolling && text("updateRevision") != text("currentRevision") {
        return Stage::Goes(format!("{updated} pods are at the new revision"));
    }
    Stage::Complete
}

fn daemon_set(workload: &Workload) -> Stage {
    let status = |field: &str| workload.number(&format!("/status/{field}")).unwrap_or_default();
    let wanted = status("desiredNumberScheduled");
    let (updated, available) = (status("updatedNumberScheduled"), status("numberAvailable"));
    if updated < wanted {
        return Stage::Goes(format!("{updated} out of {wanted} new pods have been updated"));
    }
    if available < wanted {
        return Stage::Goes(format!("{available} of {wanted} updated pods are available"));
    }
    Stage::Complete
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::object::samples, *};

    fn told(kind: WorkloadKind, spec: &Value, status: &Value) -> String {
        match stage(&samples::workload(kind, spec, status), 2) {
            Stage::Goes(line) => line,
            Stage::OutOfTime(message) => format!("out of time: {message}"),
            other @ (Stage::Unseen | Stage::Paused | Stage::ByHand | Stage::Complete) => format!("{other:?}"),
        }
    }

    #[test]
    fn deployments_follow_the_rules_of_kubectl() {
        let exceeded =
            json!([{"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "too long"}]);
        let three = json!({"replicas": 3});
        for (spec, status, expected) in [
            // All is complete, of the generation before.
            (
                &three,
                json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
                "Unseen",
            ),
            (&three, json!({}), "Unseen"),
            (
                &three,
                json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 1, "availableReplicas": 3}),
                "1 out of 3 new replicas have been updated",
            ),
            (
                &three,
                json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3, "availableReplicas": 3}),
                "1 old replicas are pending termination",
            ),
            (
                &three,
                json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 2}),
                "2 of 3 updated replicas are available",
            ),
            (
                &three,
                json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
                "Complete",
            ),
            (
                &three,
                json!({"observedGeneration": 9, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
                "Complete",
            ),
            (
                &three,
                json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 1, "conditions": exceeded}),
                "out of time: too long",
            ),
            // Its old message, of a generation that the controller has not seen yet.
            (&three, json!({"observedGeneration": 1, "conditions": exceeded}), "Unseen"),
            (&json!({"replicas": 0}), json!({"observedGeneration": 2}), "Complete"),
            (&json!({}), json!({"observedGeneration": 2}), "0 out of 1 new replicas have been updated"),
            (
                &json!({"replicas": 3, "paused": true}),
                json!({"observedGeneration": 2, "replicas": 3, "availableReplicas": 3}),
                "Paused",
            ),
            (
                &json!({"replicas": 1, "paused": true}),
                json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}),
                "Complete",
            ),
        ] {
            assert_eq!(told(WorkloadKind::Deployment, spec, &status), expected, "{spec} {status}");
        }
    }

    #[test]
    fn stateful_sets_follow_the_rules_of_kubectl() {
        let rolling = |partition: u64| json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}});
        let bare = json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate"}});
        for (spec, status, expected) in [
            (
                rolling(0),
                json!({"observedGeneration": 1, "readyReplicas": 3, "updatedReplicas": 3}),
                "Unseen",
            ),
            (
                rolling(0),
                json!({"observedGeneration": 0, "readyReplicas": 3, "updatedReplicas": 3}),
                "Unseen",
            ),
            (
                rolling(0),
                json!({"observedGeneration": 2, "readyReplicas": 2, "updatedReplicas": 1}),
                "2 of 3 pods are ready",
            ),
            (
                rolling(0),
                json!({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 1}),
                "1 out of 3 new pods have been updated",
            ),
            (
                rolling(2),
                json!({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 1}),
                "Complete",
            ),
            (rolling(9), json!({"observedGeneration": 2, "readyReplicas": 3}), "Complete"),
            (
                rolling(0),
                json!({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 3}),
                "Complete",
            ),
            (
                bare.clone(),
                json!({"observedGeneration": 2, "readyReplicas": 3, "updateRevision": "b", "currentRevision": "a", "updatedReplicas": 1}),
                "1 pods are at the new revision",
            ),
            (
                bare,
                json!({"observedGeneration": 2, "readyReplicas": 3, "updateRevision": "b", "currentRevision": "b"}),
                "Complete",
            ),
            (json!({"updateStrategy": {"type": "OnDelete"}}), json!({"observedGeneration": 2}), "ByHand"),
        ] {
            assert_eq!(told(WorkloadKind::StatefulSet, &spec, &status), expected, "{spec} {status}");
        }
    }

    #[test]
    fn daemon_sets_follow_the_rules_of_kubectl() {
        let spec = json!({"updateStrategy": {"type": "RollingUpdate"}});
        for (status, expected) in [
            (
                json!({"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}),
                "Unseen",
            ),
            (
                json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 1, "numberAvailable": 2}),
                "1 out of 2 new pods have been updated",
            ),
            (
                json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1}),
                "1 of 2 updated pods are available",
            ),
            (
                json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}),
                "Complete",
            ),
            (json!({"observedGeneration": 2}), "Complete"),
        ] {
            assert_eq!(told(WorkloadKind::DaemonSet, &spec, &status), expected, "{status}");
        }
        let by_hand = json!({"updateStrategy": {"type": "OnDelete"}});
        assert_eq!(told(WorkloadKind::DaemonSet, &by_hand, &json!({})), "ByHand");
    }

    #[test]
    fn an_answer_that_is_older_than_our_write_proves_nothing() {
        let status =
            json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        for kind in WorkloadKind::ALL {
            let old = samples::workload(kind, &json!({"replicas": 1}), &status);
            assert_eq!(stage(&old, 3), Stage::Unseen, "{kind:?}");
        }
        assert_eq!(told(WorkloadKind::CronJob, &json!({}), &json!({})), "Complete");
    }
}
