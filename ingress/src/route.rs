//! Which targets take which image.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use proto::{Follow, ImageRef, Operation, Repository, TargetGates, TargetName, Timestamp, Window};

use crate::{settings::DEADLINE, source::Sighting};

/// A target as far as an ingress knows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) name: TargetName,
    /// The system it runs on.
    pub(crate) at: String,
    /// The pushed images it takes.
    pub(crate) follows: Vec<Follow>,
    /// How long a job for it may take.
    pub(crate) deadline: Duration,
    /// What stands between a push and its deploy.
    pub(crate) gates: TargetGates,
    /// The window that its gates name.
    pub(crate) window: Option<Arc<Window>>,
    /// How long a job for it waits for its window or an approval; [`proto::Job::LONGEST_HOLD`] where it is not said.
    pub(crate) hold_for: Option<Duration>,
    /// Found on its system by workers; else the file declares it.
    pub(crate) discovered: bool,
}

impl Target {
    /// One as a server lists it, for telling what it takes: what a job for it would be is not known of it.
    pub(crate) fn listed(target: &proto::api::Target) -> Target {
        Target {
            name: target.target.clone(),
            at: target.system.clone(),
            follows: target.follows.clone(),
            deadline: DEADLINE,
            gates: target.gates.clone(),
            window: None,
            hold_for: None,
            discovered: target.discovered,
        }
    }

    /// Whether every rule by which it takes the image goes upward only.
    pub(crate) fn goes_upward_to(&self, image: &ImageRef) -> bool {
        self.follows.iter().filter(|follow| follow.takes(image)).all(Follow::is_upward_only)
    }
}

#[cfg(test)]
impl Target {
    /// A target for tests.
    pub(crate) fn sample(name: &str, follows: &[&str]) -> Target {
        Target {
            name: name.parse().unwrap(),
            at: "swarm".to_owned(),
            follows: follows.iter().map(|follow| follow.parse().unwrap()).collect(),
            deadline: Duration::from_secs(60),
            gates: TargetGates::default(),
            window: None,
            hold_for: None,
            discovered: false,
        }
    }
}

/// All targets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Targets {
    by_name: BTreeMap<TargetName, Arc<Target>>,
    /// Those that follow anything in a repository, by name: what most hooks bring, few of many targets take.
    by_repository: HashMap<Repository, Vec<Arc<Target>>>,
}

/// What is wished of a target, before it is a job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wish {
    pub(crate) target: Arc<Target>,
    pub(crate) operation: Operation,
    /// Not to be carried out before this time.
    pub(crate) not_before: Option<Timestamp>,
    /// To be given up after this time; as its target says where it is not said.
    pub(crate) deadline: Option<Timestamp>,
    /// Whatever the target's window and minimum age say.
    pub(crate) now: bool,
    /// Not to be carried out where a higher version runs.
    pub(crate) upward: bool,
    /// The sender's own name for the delivery.
    pub(crate) delivery: Option<String>,
}

impl Targets {
    pub(crate) fn new(targets: Vec<Target>) -> Targets {
        let named = targets.into_iter().map(|target| (target.name.clone(), Arc::new(target)));
        let by_name: BTreeMap<TargetName, Arc<Target>> = named.collect();
        let mut by_repository: HashMap<Repository, Vec<Arc<Target>>> = HashMap::new();
        for target in by_name.values() {
            for follow in &target.follows {
                let followers = by_repository.entry(follow.repository().clone()).or_default();
                if followers.last().is_none_or(|last| !Arc::ptr_eq(last, target)) {
                    followers.push(Arc::clone(target));
                }
            }
        }
        Targets { by_name, by_repository }
    }

    pub(crate) fn get(&self, name: &TargetName) -> Option<&Arc<Target>> {
        self.by_name.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.by_name.values()
    }

    fn followers(&self, image: &ImageRef) -> impl Iterator<Item = &Arc<Target>> {
        let followers = self.by_repository.get(image.repository()).into_iter().flatten();
        followers.filter(move |target| target.follows.iter().any(|follow| follow.takes(image)))
    }

    /// One wish for each target and each thing in it that an image is for. Of several images for the same
    /// thing in one body the last is wished: it was pushed last. A lower version than one beside it is not, where
    /// the target goes upward only.
    pub(crate) fn wishes(&self, sightings: &[Sighting]) -> Vec<Wish> {
        let mut wishes: Vec<Wish> = Vec::new();
        for sighting in sightings {
            for target in self.followers(&sighting.image) {
                let operation =
                    Operation::SetImage { image: sighting.image.clone(), service: sighting.service.clone() };
                let slots = operation.slots();
                let same =
                    |known: &Wish| known.target.name == target.name && known.operation.slots() == slots;
                let upward = target.goes_upward_to(&sighting.image);
                let is_above = |known: &Wish| {
                    let higher = known.operation.image();
                    same(known) && higher.is_some_and(|image| sighting.image.is_lower_version_than(image))
                };
                if upward && wishes.iter().any(is_above) {
                    continue;
                }
                wishes.retain(|known| !same(known));
                let delivery = sighting.delivery.clone();
                let target = Arc::clone(target);
                wishes.push(Wish {
                    target,
                    operation,
                    not_before: None,
                    deadline: None,
                    now: false,
                    upward,
                    delivery,
                });
            }
        }
        wishes
    }
}

/// Says that nothing follows what was pushed.
pub(crate) fn nothing_follows(sightings: &[Sighting]) -> String {
    let mut images: Vec<String> = sightings.iter().map(|sighting| sighting.image.familiar()).collect();
    images.dedup();
    match images.as_slice() {
        [image, other, ..] => format!("no target follows {image}, {other} or any other image of this push"),
        [image] => format!("no target follows {image}"),
        [] => "nothing was pushed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(follows: &[(&str, &[&str])]) -> Targets {
        Targets::new(follows.iter().map(|(name, follows)| Target::sample(name, follows)).collect())
    }

    fn seen(image: &str) -> Sighting {
        Sighting { image: image.parse().unwrap(), service: None, delivery: None }
    }

    fn told(wishes: &[Wish]) -> Vec<(String, String)> {
        let image = |wish: &Wish| wish.operation.image().unwrap().familiar();
        wishes.iter().map(|wish| (wish.target.name.to_string(), image(wish))).collect()
    }

    #[test]
    fn each_follower_is_wished_for_once() {
        let targets = targets(&[("a", &["app:*", "app:1"]), ("office/b", &["app:1"]), ("c", &["app:2"])]);
        let wishes = targets.wishes(&[seen("app:1"), seen("app:1")]);
        let expected = [("default/a", "app:1"), ("office/b", "app:1")];
        assert_eq!(told(&wishes), expected.map(|(t, i)| (t.to_owned(), i.to_owned())));
    }

    #[test]
    fn the_last_push_of_a_repository_wins_and_others_stand_beside_it() {
        let targets = targets(&[("a", &["app:*", "api:*"])]);
        let wishes = targets.wishes(&[seen("app:1"), seen("api:1"), seen("app:2")]);
        let expected = [("default/a", "api:1"), ("default/a", "app:2")];
        assert_eq!(told(&wishes), expected.map(|(t, i)| (t.to_owned(), i.to_owned())));
    }

    fn following(rules: &[&str]) -> Targets {
        let follows = rules.iter().map(|rule| serde_json::from_str(rule).unwrap()).collect();
        Targets::new(vec![Target { follows, ..Target::sample("a", &[]) }])
    }

    const VERSIONS: &str = r#"{"image":"app","tags":{"semver":">=1"}}"#;

    #[test]
    fn a_push_of_a_version_goes_upward_unless_another_rule_takes_it_as_well() {
        let upward = |rules: &[&str]| {
            following(rules).wishes(&[seen("app:1.4.2")]).iter().map(|wish| wish.upward).collect::<Vec<_>>()
        };
        let allowed = r#"{"image":"app","tags":{"semver":">=1"},"allow_downgrade":true}"#;
        let glob = r#"{"image":"app","tags":{"glob":"1.4.*"}}"#;
        let other = r#"{"image":"app","tags":{"glob":"dev-*"}}"#;
        assert_eq!(upward(&[VERSIONS]), [true]);
        assert_eq!(upward(&[VERSIONS, other]), [true]);
        assert_eq!(upward(&[allowed]), [false]);
        assert_eq!(upward(&[VERSIONS, glob]), [false]);
    }

    #[test]
    fn of_several_versions_in_one_body_the_highest_is_wished() {
        let seen = ["app:1.4.2", "app:1.10.0", "app:1.9.0"].map(seen);
        let expected = |image: &str| vec![("default/a".to_owned(), image.to_owned())];
        assert_eq!(told(&following(&[VERSIONS]).wishes(&seen)), expected("app:1.10.0"));
        let all = r#"{"image":"app","tags":{"glob":"*"}}"#;
        assert_eq!(told(&following(&[all]).wishes(&seen)), expected("app:1.9.0"), "else the last");
    }

    #[test]
    fn what_nothing_follows_is_named() {
        assert!(targets(&[("a", &["app:1"])]).wishes(&[seen("app:2")]).is_empty());
        assert_eq!(nothing_follows(&[seen("app:2"), seen("app:2")]), "no target follows app:2");
    }
}
