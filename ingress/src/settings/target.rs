//! Of the section `targets` what an ingress must know, and of `systems` the pools.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use config::{Faults, Key, Node, Span, nearest};
use proto::{Follow, FollowError, ImageError, PoolName, Repository, TagPolicy, TargetGates, TargetName};
use serde::{Deserialize, Deserializer, de::Error};

use crate::{
    known::SystemName,
    route::{Target, Targets},
    windows::Windows,
};

/// How long a job may take when its target does not say.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60 * 60);
/// How long a job may take at most: workers remember no longer what was wished.
pub(super) const LONGEST_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an image may have to wait at most: a job that waits longer than seven days is given up.
const LONGEST_AGE: Duration = Duration::from_secs(6 * 24 * 60 * 60);

/// How long a job may wait for its window or an approval at most: the history is kept for thirty days, and has to have the
/// whole of it, with twice the longest deadline.
const LONGEST_HOLD: Duration = Duration::from_secs(28 * 24 * 60 * 60);

/// What stands beside the targets: where they run, and when they may be deployed.
type Beside<'a> = (Option<&'a Node>, Option<&'a Windows>);

/// The long form of a follow.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongFollow {
    #[serde(deserialize_with = "repository")]
    image: Repository,
    tags: TagPolicy,
    #[serde(default)]
    allow_downgrade: bool,
}

fn repository<'de, D: Deserializer<'de>>(from: D) -> Result<Repository, D::Error> {
    let text = String::deserialize(from)?;
    let with_hint = |why: ImageError| {
        D::Error::custom(format!("{why}\nhint: write the repository alone, `tags` says which of its tags"))
    };
    text.parse().map_err(with_hint)
}

/// Reads every target, whatever is wrong with the one before. Keys that are not an ingress's are the workers',
/// who know what each kind of system takes.
pub(super) fn read(targets: Option<&Node>, beside: Beside<'_>, faults: &mut Faults) -> Option<Targets> {
    let entries = super::section(targets, faults)?;
    let read: Vec<Option<Target>> =
        entries.into_iter().map(|(key, node)| target(key, node, beside, faults)).collect();
    Some(Targets::new(read.into_iter().collect::<Option<Vec<Target>>>()?))
}

fn target(key: &Key, node: &Node, (systems, windows): Beside<'_>, faults: &mut Faults) -> Option<Target> {
    let Some(at) = node.get("at") else {
        faults.push(
            node.fault("the target does not say where it runs").hint("add `at: <system>`, one of `systems`"),
        );
        return None;
    };
    let at_name: String = at.read(faults)?;
    let pool = pool(&at_name, at, systems, faults);
    let follows = node.get("follow").map_or(Some(Vec::new()), |node| follows(node, faults));
    let deadline = node.get("deadline").map_or(Some(DEADLINE), |node| deadline(node, faults));
    let name = name(&key.text, pool.as_ref(), node, faults);
    let approve = node.get("approve").map_or(Some(false), |node| node.read(faults));
    let min_age_s = node.get("min_age").map_or(Some(None), |node| min_age(node, faults).map(Some));
    let hold_for = node.get("hold_for").map_or(Some(None), |node| hold_for(node, faults).map(Some));
    let window = node
        .get("window")
        .map_or(Some(None), |node| super::windows::named(node, windows, faults).map(|it| Some(Arc::new(it))));
    pool?;
    let window = window?;
    let name_of_window = window.as_ref().map(|window| window.name.clone());
    let gates =
        TargetGates { approve: approve?, window: name_of_window, min_age_s: min_age_s?, rollback: None };
    Some(Target {
        name: name?,
        at: at_name,
        follows: follows?,
        deadline: deadline?,
        gates,
        window,
        hold_for: hold_for?,
        discovered: false,
    })
}

/// A key is a name within its system's pool; written with its pool, it must be that one, where that is known.
fn name(key: &str, pool: Option<&PoolName>, node: &Node, faults: &mut Faults) -> Option<TargetName> {
    let named = match key.contains('/') {
        true => key.parse(),
        false => TargetName::new(pool.cloned().unwrap_or_default(), key),
    };
    match (named, pool) {
        (Ok(name), Some(pool)) if name.pool() != pool => {
            let message = format!("its system belongs to the pool `{pool}`, not `{}`", name.pool());
            faults.push(node.fault(message).hint("leave the pool out of the name: it is the system's"));
            None
        }
        (Ok(name), _) => Some(name),
        (Err(error), _) => {
            let hint = "rename the target, as in `targets: {blog: {…}}`";
            faults.push(node.fault(error.to_string()).hint(hint));
            None
        }
    }
}

/// The pool of a system, read as it is typed: an ingress resolves nothing of a system.
fn pool(system: &str, at: &Node, systems: Option<&Node>, faults: &mut Faults) -> Option<PoolName> {
    let Some(known) = systems.and_then(|systems| systems.get(system)) else {
        let fault = at.fault(format!("there is no system `{system}`"));
        let names: Vec<&str> =
            systems.into_iter().flat_map(Node::entries).map(|(key, _)| key.text.as_str()).collect();
        faults.push(fault.hint(match nearest(system, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add it to `systems`, as in `systems: {{{system}: {{kind: …}}}}`"),
        }));
        return None;
    };
    let Some(pool) = known.get("pool") else { return Some(PoolName::default()) };
    let text = pool.text().unwrap_or_default();
    match text.parse() {
        Ok(name) => Some(name),
        Err(_) if text.contains("${") => {
            let fault = pool.fault("the pool is taken from the environment, which only workers resolve here");
            faults.push(fault.hint("write the pool's name out"));
            None
        }
        Err(error) => {
            faults.push(pool.fault(format!("{error}")));
            None
        }
    }
}

/// The systems on which workers look for targets, as far as that is typed out.
pub(super) fn searched(systems: Option<&Node>) -> BTreeSet<SystemName> {
    let systems = systems.into_iter().flat_map(Node::entries);
    let searched = systems.filter(|(_, system)| system.get("discover").is_some());
    searched
        .filter_map(|(key, system)| {
            let pool = system.get("pool").map_or(Some(PoolName::default()), |pool| pool.text()?.parse().ok());
            Some((pool?, key.text.clone()))
        })
        .collect()
}

fn follows(node: &Node, faults: &mut Faults) -> Option<Vec<Follow>> {
    let items: Vec<&Node> = node.items().collect();
    let nodes = if items.is_empty() { vec![node] } else { items };
    let read: Vec<Option<Follow>> = nodes.into_iter().map(|node| follow(node, faults)).collect();
    read.into_iter().collect()
}

fn follow(node: &Node, faults: &mut Faults) -> Option<Follow> {
    let follow = if node.is_map() {
        let long: LongFollow = node.read(faults)?;
        Follow::new(long.image, long.tags, long.allow_downgrade)
    } else {
        let text: String = node.read(faults)?;
        text.parse()
    };
    match follow {
        // Registries and producers say hosts in lower case, and a name with capitals in front is taken for a host.
        Ok(follow) if follow.repository().host().contains(char::is_uppercase) => {
            let (host, path) = (follow.repository().host(), follow.repository().path());
            let fault = node.fault(format!(
                "`{host}` is taken for a registry's host, and no image ever comes from one with capitals"
            ));
            faults.push(fault.hint(format!("did you mean `{}/{path}`?", host.to_lowercase())));
            None
        }
        Ok(follow) => Some(follow),
        Err(error) => {
            faults.push(node.fault(error.to_string()).hint(how_to_follow(&error)));
            None
        }
    }
}

fn how_to_follow(error: &FollowError) -> &'static str {
    match error {
        FollowError::Image(_) | FollowError::NoTags(_) | FollowError::Glob(_) => {
            "write `repository:tag`, with `*` and `?` in the tag for several"
        }
        FollowError::Semver { .. } => {
            "write `tags: {semver: \">=1.4, <2\"}`, its comparisons separated by commas"
        }
        FollowError::Regex { .. } => {
            "write `tags: {regex: \"release-[0-9]+\"}`; it has to match the whole tag"
        }
        FollowError::NoOrder => "leave `allow_downgrade` out, or follow versions with `tags: {semver: …}`",
    }
}

/// In seconds.
fn min_age(node: &Node, faults: &mut Faults) -> Option<u64> {
    let Span(age) = node.read(faults)?;
    if age.as_secs() == 0 || age > LONGEST_AGE {
        let fault = node.fault(format!("an image cannot be asked to be {} old", Span(age)));
        faults.push(fault.hint("give from `1s` to `6d`"));
        return None;
    }
    Some(age.as_secs())
}

fn hold_for(node: &Node, faults: &mut Faults) -> Option<Duration> {
    let Span(hold) = node.read(faults)?;
    if hold.is_zero() || hold > LONGEST_HOLD {
        let fault = node.fault(format!("a job cannot be held for {}", Span(hold)));
        faults.push(fault.hint("give from `1s` to `28d`; `7d` is the default"));
        return None;
    }
    Some(hold)
}

fn deadline(node: &Node, faults: &mut Faults) -> Option<Duration> {
    let Span(deadline) = node.read(faults)?;
    if deadline.is_zero() || deadline > LONGEST_DEADLINE {
        let fault = node.fault(format!("a deadline of {} cannot be kept", Span(deadline)));
        faults.push(fault.hint("give from `1s` to `24h`; `1h` is the default"));
        return None;
    }
    Some(deadline)
}
