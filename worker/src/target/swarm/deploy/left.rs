//! What is left of a stack that is being removed.

use serde_json::Value;

use super::super::{Swarm, stop::not_counted};
use crate::target::TargetError;

/// What the docker command marks everything of a stack with.
const NAMESPACE: &str = "com.docker.stack.namespace";
/// A task in any other state has no container that may still run.
const ALIVE: [&str; 9] =
    ["new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running", "allocated"];

/// How much of a stack there still is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Left {
    pub(super) services: usize,
    pub(super) tasks: usize,
    /// Of those, what may still run on nodes that do not answer.
    pub(super) unreachable: usize,
    /// Networks, configs and secrets.
    pub(super) others: Vec<Other>,
}

/// A network, config or secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Other {
    /// As the engine's paths have it: `networks`, `configs`, `secrets`.
    pub(super) kind: &'static str,
    pub(super) id: String,
    name: String,
}

impl Left {
    pub(super) async fn of(swarm: &Swarm, stack: &str) -> Result<Left, TargetError> {
        let (client, label) = (&swarm.client, format!("{NAMESPACE}={stack}"));
        let is_alive = |task: &&Value| {
            task.pointer("/Status/State").and_then(Value::as_str).is_some_and(|state| ALIVE.contains(&state))
        };
        let mut left = Left { services: client.labelled("services", &label).await?.len(), ..Left::default() };
        let nodes = swarm.lookout.nodes().await?;
        let tasks = client.labelled("tasks", &label).await?;
        for task in tasks.iter().filter(is_alive) {
            match task["NodeID"].as_str().is_some_and(|node| nodes.is_node_down(node)) {
                true => left.unreachable += 1,
                false => left.tasks += 1,
            }
        }
        // What services and tasks use cannot go before them: it is not asked for as long as there are any.
        let kinds: &[&'static str] = match left.services + left.tasks {
            0 => &["networks", "configs", "secrets"],
            _ => &[],
        };
        for kind in kinds {
            let found = client.labelled(kind, &label).await?;
            left.others.extend(found.iter().filter_map(|object| Other::read(kind, object)));
        }
        Ok(left)
    }

    /// What runs on nodes that are down is no reason to wait: it stops when they come back.
    pub(super) fn is_gone(&self) -> bool {
        Left { unreachable: 0, ..self.clone() } == Left::default()
    }

    /// Whether nothing runs, and nothing is to run, though not all is gone.
    pub(super) fn only_others(&self) -> bool {
        self.services == 0 && self.tasks == 0 && !self.others.is_empty()
    }

    pub(super) fn told(&self) -> String {
        let count = |count: usize, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let parts: Vec<String> = [
            count(self.services, "service", "services"),
            count(self.tasks, "task", "tasks"),
            count(self.others.len(), "network, config or secret", "networks, configs and secrets"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let names: Vec<String> = self.others.iter().map(Other::told).collect();
        let told = match (parts.is_empty(), names.is_empty()) {
            (true, _) => "nothing of the stack is left".to_owned(),
            (false, true) => format!("still there: {}", parts.join(", ")),
            (false, false) => format!("still there: {} ({})", parts.join(", "), names.join(", ")),
        };
        match not_counted(self.unreachable) {
            Some(more) => format!("{told}; {more}"),
            None => told,
        }
    }
}

impl Other {
    fn read(kind: &'static str, object: &Value) -> Option<Other> {
        // Networks have no spec of their own.
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let id = text("/ID").or_else(|| text("/Id"))?;
        let name = text("/Spec/Name").or_else(|| text("/Name")).unwrap_or_else(|| id.clone());
        Some(Other { kind, id, name })
    }

    fn told(&self) -> String {
        format!("{} {}", self.kind.trim_end_matches('s'), self.name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_is_told_with_its_names() {
        assert_eq!(Left::default().told(), "nothing of the stack is left");
        let network = Other::read("networks", &json!({"Id": "n1", "Name": "shop_default"})).unwrap();
        let left = Left { tasks: 2, others: vec![network.clone()], ..Left::default() };
        assert_eq!(left.told(), "still there: 2 tasks, 1 network, config or secret (network shop_default)");
        assert!(!left.is_gone() && !left.only_others());
        let config = Other::read("configs", &json!({"ID": "c1", "Spec": {"Name": "shop_page"}})).unwrap();
        let left = Left { others: vec![network, config], ..Left::default() };
        assert!(left.only_others());
        assert!(left.told().ends_with("(network shop_default, config shop_page)"), "{}", left.told());
        let away = Left { unreachable: 1, ..Left::default() };
        assert!(away.is_gone() && !away.only_others());
        assert_eq!(
            away.told(),
            "nothing of the stack is left; 1 task is on a node that is down, and goes when that comes back"
        );
    }
}
