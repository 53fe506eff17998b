//! Removing images that nothing uses, from the one engine that is spoken to.

use std::time::Duration;

use proto::Operation;
use serde_json::{Value, json};

use super::SwarmService;
use crate::target::{End, Outcome, TargetError};

/// Image names that are told at most.
const MOST_TOLD: usize = 30;

impl SwarmService {
    /// Removes what the operation names. Done again, there is nothing left to remove.
    pub(super) async fn prune(&self, operation: &Operation) -> Result<Outcome, TargetError> {
        let Operation::PruneImages { older_than_s, labels } = operation else {
            return Err(self.refused("remove unused images", "the job asks for something else"));
        };
        let filters = filters(older_than_s.map(Duration::from_secs), labels);
        let client = self.client();
        let removed = client.prune_images(&filters).await?;
        let engine = client.engine().await?;
        let nodes = client.nodes().await?.len();
        let mut output = vec![told(&removed, &engine, nodes)];
        output.extend(names(&removed));
        Ok(Outcome { output, ..Outcome::of(End::Converged) })
    }
}

/// All unused images, tagged or not: a service's image has a digest, which is as good as a tag.
fn filters(older_than: Option<Duration>, labels: &[String]) -> Value {
    let mut filters = json!({"dangling": ["false"]});
    if let Some(age) = older_than {
        filters["until"] = json!([format!("{}s", age.as_secs())]);
    }
    if !labels.is_empty() {
        filters["label"] = json!(labels);
    }
    filters
}

fn told(removed: &Value, engine: &str, nodes: usize) -> String {
    let deleted = entries(removed, "Deleted").count();
    let freed = size(removed["SpaceReclaimed"].as_u64().unwrap_or(0));
    let layers = if deleted == 1 { "1 layer or image" } else { &format!("{deleted} layers and images") };
    let what = if deleted == 0 { "nothing to remove" } else { &format!("removed {layers}, freed {freed}") };
    let others = match nodes {
        0 | 1 => String::new(),
        2 => "; the swarm's other node was not touched".to_owned(),
        nodes => format!("; the swarm's other {} nodes were not touched", nodes - 1),
    };
    format!("{what} on the node {engine}{others}")
}

fn names(removed: &Value) -> Vec<String> {
    let mut names: Vec<String> = entries(removed, "Untagged").map(|name| format!("removed {name}")).collect();
    let more = names.len().saturating_sub(MOST_TOLD);
    if more > 0 {
        names.truncate(MOST_TOLD);
        names.push(format!("and {more} more"));
    }
    names
}

fn entries<'a>(removed: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a str> {
    let all = removed["ImagesDeleted"].as_array().into_iter().flatten();
    all.filter_map(move |entry| entry.get(kind)?.as_str())
}

/// As people read it: `12.3 MB`.
fn size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_freed_is_told() {
        let removed = json!({
            "ImagesDeleted": [
                {"Untagged": "r.lan/web:1"}, {"Untagged": "r.lan/web@sha256:1"}, {"Deleted": "sha256:2"},
                {"Deleted": "sha256:3"}
            ],
            "SpaceReclaimed": 12_345_678
        });
        assert_eq!(told(&removed, "a", 1), "removed 2 layers and images, freed 12.3 MB on the node a");
        assert_eq!(names(&removed), ["removed r.lan/web:1", "removed r.lan/web@sha256:1"]);
        let nothing = json!({"ImagesDeleted": null, "SpaceReclaimed": 0});
        assert_eq!(
            told(&nothing, "a", 3),
            "nothing to remove on the node a; the swarm's other 2 nodes were not touched"
        );
        assert!(names(&nothing).is_empty());
    }

    #[test]
    fn the_filters_are_the_engines() {
        assert_eq!(filters(None, &[]), json!({"dangling": ["false"]}));
        let labels = ["a=b".to_owned()];
        assert_eq!(
            filters(Some(Duration::from_secs(60)), &labels),
            json!({"dangling": ["false"], "until": ["60s"], "label": ["a=b"]})
        );
    }
}
