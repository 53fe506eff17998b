//! `targets.<name>.follow`: the images a target takes, as far as a worker needs them to look for them.
//!
//! The section is the ingress's, which tells every fault in it: what cannot be read here is not looked for.

use config::{Faults, Node};
use proto::{Follow, Repository, TagPolicy};
use serde::Deserialize;

/// The long form of a follow.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongFollow {
    image: Repository,
    tags: TagPolicy,
    #[serde(default)]
    allow_downgrade: bool,
}

/// Reads one rule or a list of them.
pub(super) fn read(target: &Node) -> Vec<Follow> {
    let Some(node) = target.get("follow") else { return Vec::new() };
    let items: Vec<&Node> = node.items().collect();
    let nodes = if items.is_empty() { vec![node] } else { items };
    nodes.into_iter().filter_map(follow).collect()
}

fn follow(node: &Node) -> Option<Follow> {
    let mut told_by_the_ingress = Faults::new();
    if node.is_map() {
        let long: LongFollow = node.read(&mut told_by_the_ingress)?;
        return Follow::new(long.image, long.tags, long.allow_downgrade).ok();
    }
    let text: String = node.read(&mut told_by_the_ingress)?;
    text.parse().ok()
}
