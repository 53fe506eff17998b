//! The pods of a workload's newest template: they say why a rollout does not go on. They tell, they do not decide.

use std::{fmt, time::Duration};

use proto::Timestamp;
use serde_json::Value;

const MOST_TOLD: usize = 3;

/// What is seen of the pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pods {
    /// What keeps pods of the newest template from running, one for each pod.
    pub(super) troubles: Vec<Trouble>,
    /// How often containers of those pods came down.
    pub(super) restarts: u64,
    /// The longest that any of them was up before it came down.
    pub(super) longest_life: Duration,
    /// Since when the last of those pods has been ready, by the cluster's clock.
    pub(super) ready_since: Option<Timestamp>,
    /// Pods of other templates that do not run.
    pub(super) broken_old: Vec<Trouble>,
}

/// What is wrong with one pod, or with making it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// None where no pod could be made.
    pub(super) pod: Option<String>,
    pub(super) node: Option<String>,
    /// As in `ImagePullBackOff`.
    pub(super) reason: String,
    pub(super) words: String,
}

/// Which pods are of the newest template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Newest {
    /// Those with this label.
    Label(&'static str, String),
    /// Those that run this image in this container: the revision is not known.
    Image(String, String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pod) = &self.pod {
            write!(f, "pod {pod}")?;
            if let Some(node) = &self.node {
                write!(f, " on {node}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.reason)?;
        if self.words.is_empty() { Ok(()) } else { write!(f, ": {}", self.words) }
    }
}

impl Newest {
    fn is(&self, pod: &Value) -> bool {
        match self {
            Newest::Label(label, value) => pod["metadata"]["labels"][*label] == *value,
            Newest::Image(name, image) => {
                let lists = ["containers", "initContainers"].into_iter();
                let all = lists.filter_map(|list| pod["spec"][list].as_array()).flatten();
                all.into_iter().any(|it| it["name"] == *name && it["image"] == *image)
            }
        }
    }
}

impl Pods {
    pub(super) fn of(all: &[Value], newest: &Newest) -> Pods {
        let mut seen = Pods::default();
        for pod in all.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
            if !newest.is(pod) {
                seen.broken_old.extend(trouble(pod).filter(|trouble| trouble.reason != NOT_READY));
                continue;
            }
            seen.troubles.extend(trouble(pod));
            for status in statuses(pod) {
                seen.restarts += status["restartCount"].as_u64().unwrap_or_default();
                seen.longest_life = seen.longest_life.max(life(status));
            }
            seen.ready_since = seen.ready_since.max(ready_since(pod));
        }
        seen
    }

    /// The first troubles, each reason once.
    pub(super) fn told(&self) -> impl Iterator<Item = &Trouble> {
        let first = |(at, one): &(usize, &Trouble)| {
            let mut before = self.troubles.iter().take(*at);
            before.all(|earlier| (&earlier.reason, &earlier.words) != (&one.reason, &one.words))
        };
        self.troubles.iter().enumerate().filter(first).map(|(_, one)| one).take(MOST_TOLD)
    }
}

const NOT_READY: &str = "NotReady";
const UNSCHEDULABLE: &str = "Unschedulable";

impl Trouble {
    /// Whether no node takes the pod.
    pub(super) fn is_nowhere(&self) -> bool {
        self.reason == UNSCHEDULABLE
    }

    /// What a condition of a workload, or of its replica set, says of making pods: a quota, an admission webhook.
    pub(super) fn of_condition(condition: &Value) -> Trouble {
        let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        Trouble { pod: None, node: None, reason: text("reason"), words: text("message") }
    }
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainerStatuses", "containerStatuses"].into_iter();
    lists.filter_map(|list| pod["status"][list].as_array()).flatten()
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    pod.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn ready_since(pod: &Value) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| ready["status"] == "True")?;
    ready["lastTransitionTime"].as_str()?.parse().ok()
}

/// How long a container was up before it came down last.
fn life(status: &Value) -> Duration {
    let ended = &status["lastState"]["terminated"];
    let at = |field: &str| ended[field].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let lived = at("finishedAt").zip(at("startedAt")).map(|(end, start)| end.duration_since(start));
    lived.and_then(|lived| Duration::try_from(lived).ok()).unwrap_or_default()
}

/// What is wrong with a pod, where something is.
fn trouble(pod: &Value) -> Option<Trouble> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |reason: String, words: String| Trouble {
        pod: Some(text(&pod["metadata"]["name"])),
        node: pod["spec"]["nodeName"].as_str().map(str::to_owned),
        reason,
        words,
    };
    if let Some(unplaced) = condition(pod, "PodScheduled").filter(|it| it["reason"] == UNSCHEDULABLE) {
        return Some(of(UNSCHEDULABLE.to_owned(), text(&unplaced["message"])));
    }
    if pod["status"]["phase"] == "Failed" {
        return Some(of(text(&pod["status"]["reason"]), text(&pod["status"]["message"])));
    }
    let waits = |status: &&Value| {
        let reason = status["state"]["waiting"]["reason"].as_str().unwrap_or_default();
        !matches!(reason, "" | "ContainerCreating" | "PodInitializing")
    };
    if let Some(status) = statuses(pod).find(waits) {
        let waiting = &status["state"]["waiting"];
        let words = match exit_of(&status["lastState"]["terminated"]) {
            Some(exit) => format!("the container `{}` {exit}", text(&status["name"])),
            None => text(&waiting["message"]),
        };
        return Some(of(text(&waiting["reason"]), words));
    }
    let ended = statuses(pod).find_map(|status| Some((status, exit_of(&status["state"]["terminated"])?)));
    if let Some((status, exit)) = ended.filter(|(status, _)| status["state"]["terminated"]["exitCode"] != 0) {
        return Some(of(
            "Terminated".to_owned(),
            format!("the container `{}` {exit}", text(&status["name"])),
        ));
    }
    let unready = condition(pod, "Ready").filter(|ready| ready["status"] == "False");
    let runs = pod["status"]["phase"] == "Running";
    unready.filter(|_| runs).map(|ready| of(NOT_READY.to_owned(), text(&ready["message"])))
}

fn exit_of(terminated: &Value) -> Option<String> {
    let code = terminated["exitCode"].as_i64()?;
    let reason = terminated["reason"].as_str().filter(|reason| !matches!(*reason, "Error" | "Completed"));
    Some(match reason {
        Some(reason) => format!("exited with {code} ({reason})"),
        None => format!("exited with {code}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(hash: &str, status: &Value) -> Value {
        json!({"metadata": {"name": format!("web-{hash}-1"), "labels": {"pod-template-hash": hash}},
               "spec": {"nodeName": "node-1", "containers": [{"name": "web", "image": "a:1"}]}, "status": status})
    }

    fn told(status: &Value) -> String {
        let seen = Pods::of(&[pod("b", status)], &Newest::Label("pod-template-hash", "b".into()));
        seen.told().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn pods_say_what_keeps_them() {
        for (status, expected) in [
            (
                json!({"containerStatuses": [{"name": "web", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such manifest"}}}]}),
                "pod web-b-1 on node-1: ImagePullBackOff: no such manifest",
            ),
            (
                json!({"containerStatuses": [{"name": "web", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}),
                "pod web-b-1 on node-1: CrashLoopBackOff: the container `web` exited with 137 (OOMKilled)",
            ),
            (
                json!({"initContainerStatuses": [{"name": "migrate", "state": {"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"x\" not found"}}}]}),
                "pod web-b-1 on node-1: CreateContainerConfigError: secret \"x\" not found",
            ),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}]}),
                "pod web-b-1 on node-1: Unschedulable: 0/2 nodes",
            ),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
                "pod web-b-1 on node-1: Evicted: low on memory",
            ),
            (
                json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False", "message": "containers with unready status: [web]"}]}),
                "pod web-b-1 on node-1: NotReady: containers with unready status: [web]",
            ),
            (
                json!({"containerStatuses": [{"name": "web", "state": {"waiting": {"reason": "ContainerCreating"}}}]}),
                "",
            ),
            (json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}), ""),
        ] {
            assert_eq!(told(&status), expected, "{status}");
        }
    }

    #[test]
    fn only_pods_of_the_newest_template_are_blamed() {
        let bad = json!({"containerStatuses": [{"name": "web", "restartCount": 2,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:07Z"}}}]});
        let fine = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:01:00Z"}]});
        let all = [pod("a", &bad), pod("b", &fine)];
        let seen = Pods::of(&all, &Newest::Label("pod-template-hash", "b".into()));
        assert_eq!((seen.troubles.len(), seen.restarts, seen.broken_old.len()), (0, 0, 1));
        assert_eq!(seen.ready_since, Some("2026-01-01T00:01:00Z".parse().unwrap()));
        let seen = Pods::of(&all, &Newest::Label("pod-template-hash", "a".into()));
        assert_eq!((seen.troubles.len(), seen.restarts, seen.longest_life), (1, 2, Duration::from_secs(7)));
        let by_image = Pods::of(&all, &Newest::Image("web".into(), "a:1".into()));
        assert_eq!(by_image.restarts, 2);
        let mut leaving = pod("b", &bad);
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(Pods::of(&[leaving], &Newest::Label("pod-template-hash", "b".into())), Pods::default());
    }
}
