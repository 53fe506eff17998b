//! The targets of the configuration and those found on the systems, under one set of names.
//!
//! What is declared goes first. Of what is found, the older goes first: a name that is taken is a fault of whoever
//! comes later, so that no newcomer takes over the pushes of another.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use proto::{Follow, Inventory, LOOKS, Listing, ListingFault, PoolName, TargetGates, TargetName};
use tokio::sync::watch;

use crate::target::{
    Target,
    swarm::{
        Policy, Swarm,
        discover::{Described, Labelled},
    },
};

/// A system as the roster knows it.
pub(crate) struct Place {
    pub(crate) pool: PoolName,
    /// What kind of system it is, for people.
    pub(crate) kind: &'static str,
    /// Its targets in the configuration.
    pub(crate) declared: Vec<Listing>,
    /// Where targets are looked for there, and how.
    pub(crate) searched: Option<Searched>,
}

/// A swarm whose services are looked through.
pub(crate) struct Searched {
    pub(crate) swarm: Swarm,
    /// Services of this swarm, by name or id, and stacks, that the configuration declares.
    pub(crate) declared: Declared,
}

/// What of a swarm the configuration declares.
#[derive(Debug, Clone, Default)]
pub(crate) struct Declared {
    pub(crate) services: BTreeSet<String>,
    pub(crate) stacks: BTreeSet<String>,
}

impl Declared {
    fn has(&self, found: &Labelled) -> bool {
        self.services.contains(&found.service)
            || self.services.contains(&found.id)
            || found.stack.as_ref().is_some_and(|stack| self.stacks.contains(stack))
    }
}

/// Every system with what is known of it.
#[derive(Default)]
pub(crate) struct Roster {
    places: BTreeMap<String, Place>,
    found: Mutex<BTreeMap<String, Vec<Labelled>>>,
    /// What people have to hear of a system itself.
    warnings: Mutex<BTreeMap<(String, Concern), ListingFault>>,
    /// What does not work of looking at registries, by pool, where this worker looks.
    looks: Mutex<BTreeMap<PoolName, Vec<ListingFault>>>,
    targets: RwLock<HashMap<TargetName, Arc<dyn Target>>>,
    /// What each system has, as far as it is known.
    inventories: watch::Sender<BTreeMap<String, Inventory>>,
}

/// What about a system people have to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Concern {
    /// Whether it can be reached.
    Reach,
    /// How long the key to it is good.
    Key,
    /// Whether its targets are another system's as well.
    Twins,
}

/// What came of naming all that was found.
#[derive(Default)]
struct Naming<'a> {
    /// Each target with its system and what was found.
    named: Vec<(TargetName, &'a str, &'a Labelled, &'a Described)>,
    faults: BTreeMap<&'a str, Vec<ListingFault>>,
}

impl Roster {
    pub(crate) fn new(places: BTreeMap<String, Place>) -> Roster {
        let roster = Roster { places, ..Roster::default() };
        roster.tell(&Naming::default(), &BTreeMap::new());
        roster
    }

    /// A target that was found.
    pub(crate) fn target(&self, name: &TargetName) -> Option<Arc<dyn Target>> {
        self.targets.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The systems that are looked through.
    pub(crate) fn searched(&self) -> impl Iterator<Item = (&String, &Swarm)> {
        self.places.iter().filter_map(|(name, place)| Some((name, &place.searched.as_ref()?.swarm)))
    }

    /// What each system has, and every change of it. A system that was not looked through yet is missing.
    pub(crate) fn inventories(&self) -> watch::Receiver<BTreeMap<String, Inventory>> {
        self.inventories.subscribe()
    }

    /// Waits up to `within` until every system was looked through once.
    pub(crate) async fn looked_through(&self, within: Duration) {
        let mut inventories = self.inventories();
        let is_known = |told: &BTreeMap<String, Inventory>, system| {
            told.get(system).is_some_and(|inventory| !inventory.unsearched)
        };
        let all = inventories.wait_for(|told| self.places.keys().all(|system| is_known(told, system)));
        if tokio::time::timeout(within, all).await.is_err() {
            tracing::warn!("not every system can be looked through yet: jobs of targets found there wait");
        }
    }

    /// Takes in what was found on a system, in place of what was found there before.
    pub(crate) fn found(&self, system: &str, labelled: Vec<Labelled>) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.get(system) == Some(&labelled) {
            return;
        }
        found.insert(system.to_owned(), labelled);
        let naming = self.name(&found);
        let targets = naming.named.iter().filter_map(|(name, system, labelled, described)| {
            let swarm = &self.places.get(*system)?.searched.as_ref()?.swarm;
            let policy =
                Policy { rollback: described.gates.rollback.unwrap_or_default(), ..Policy::default() };
            let target: Arc<dyn Target> = Arc::new(swarm.service(&labelled.service).with(policy));
            Some((name.clone(), target))
        });
        *self.targets.write().unwrap_or_else(PoisonError::into_inner) = targets.collect();
        self.tell(&naming, &found);
    }

    /// Takes in what does not work of looking at registries for a pool; none once another worker looks.
    pub(crate) fn looked(&self, pool: &PoolName, faults: Option<Vec<ListingFault>>) {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        match faults {
            Some(faults) => looks.insert(pool.clone(), faults),
            None => looks.remove(pool),
        };
        drop(looks);
        self.tell(&self.name(&found), &found);
    }

    /// Takes in what people have to hear of a system itself, or that there is nothing any more.
    pub(crate) fn warned(&self, system: &str, concern: Concern, warning: Option<ListingFault>) {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (system.to_owned(), concern);
        let before = match warning.clone() {
            Some(warning) => warnings.insert(name, warning),
            None => warnings.remove(&name),
        };
        drop(warnings);
        if before != warning {
            self.tell(&self.name(&found), &found);
        }
    }

    /// Names all that was found, oldest first.
    fn name<'a>(&self, found: &'a BTreeMap<String, Vec<Labelled>>) -> Naming<'a> {
        let mut all: Vec<(&'a str, &'a Labelled)> =
            found.iter().flat_map(|(system, found)| found.iter().map(|one| (system.as_str(), one))).collect();
        all.sort_by_key(|(system, one)| (&one.created_at, &one.id, *system));
        let mut taken: HashMap<TargetName, String> = HashMap::new();
        for place in self.places.values() {
            let declared = place.declared.iter().map(|listing| listing.target.clone());
            taken.extend(declared.map(|name| (name, "a target of the configuration".to_owned())));
        }
        // Ids of services are drawn at random: the same one is the same service, by whatever address it is reached.
        let is_declared = |(system, one): &(&str, &Labelled)| {
            let searched = self.places.get(*system).and_then(|place| place.searched.as_ref());
            searched.is_some_and(|searched| searched.declared.has(one))
        };
        let mut things: HashSet<&str> =
            all.iter().filter(|found| is_declared(found)).map(|(_, one)| one.id.as_str()).collect();
        let mut naming = Naming::default();
        for (system, one) in all {
            let Some(place) = self.places.get(system) else { continue };
            // One service is one target, however many systems lead to it.
            if !things.insert(&one.id) {
                continue;
            }
            match name_one(&place.pool, one, &taken) {
                Ok((name, described)) => {
                    taken.insert(name.clone(), format!("the service `{}` on `{system}`", one.service));
                    naming.named.push((name, system, one, described));
                }
                Err(fault) => naming.faults.entry(system).or_default().push(fault),
            }
        }
        naming
    }

    /// Tells what each system has now.
    fn tell(&self, naming: &Naming<'_>, found: &BTreeMap<String, Vec<Labelled>>) {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let warned = |system: &str| -> Vec<ListingFault> {
            let of_this = warnings.iter().filter(|((of, _), _)| of == system);
            of_this.map(|(_, warning)| warning.clone()).collect()
        };
        let unsearched =
            |system: &str, place: &Place| place.searched.is_some() && !found.contains_key(system);
        let known =
            |(system, place): &(&String, &Place)| !unsearched(system, place) || !warned(system).is_empty();
        let inventory = |(system, place): (&String, &Place)| {
            let of_this = naming.named.iter().filter(|(_, at, ..)| *at == system.as_str());
            let found_here = of_this.map(|(name, _, _, described)| listing(name, described));
            let mut targets: Vec<Listing> = place.declared.iter().cloned().chain(found_here).collect();
            targets.sort_by(|one, other| one.target.cmp(&other.target));
            let inventory = Inventory {
                pool: place.pool.clone(),
                system: system.clone(),
                kind: place.kind.to_owned(),
                targets,
                faults: naming
                    .faults
                    .get(system.as_str())
                    .into_iter()
                    .flatten()
                    .cloned()
                    .chain(warned(system))
                    .collect(),
                unsearched: unsearched(system, place),
            };
            (system.clone(), inventory)
        };
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = looks.iter().map(of_looks);
        let inventories = self.places.iter().filter(known).map(inventory).chain(looks).collect();
        self.inventories.send_if_modified(|told| {
            let changed = *told != inventories;
            *told = inventories;
            changed
        });
    }
}

fn name_one<'a>(
    pool: &PoolName,
    one: &'a Labelled,
    taken: &HashMap<TargetName, String>,
) -> Result<(TargetName, &'a Described), ListingFault> {
    let fault = |text: String, hint: &str| {
        ListingFault::no_target(format!("service `{}`", one.service), text, hint.to_owned())
    };
    let described = one.described.as_ref().map_err(|mistake| fault(mistake.text.clone(), &mistake.hint))?;
    let text = described.name.as_ref().unwrap_or(&one.service);
    let name = TargetName::new(pool.clone(), text)
        .map_err(|error| fault(error.to_string(), "give it a name with the label `longshore.name`"))?;
    match taken.get(&name) {
        None => Ok((name, described)),
        Some(by) => Err(fault(
            format!("its name `{name}` is taken by {by}"),
            "give it another name with the label `longshore.name`",
        )),
    }
}

/// What is told of the looks for a pool, beside its systems: of those who could, one worker looks.
fn of_looks((pool, faults): (&PoolName, &Vec<ListingFault>)) -> (String, Inventory) {
    let inventory = Inventory {
        pool: pool.clone(),
        system: LOOKS.to_owned(),
        kind: "poll".to_owned(),
        targets: Vec::new(),
        faults: faults.clone(),
        unsearched: false,
    };
    // No system is called so: a name has no blank.
    (format!("{LOOKS} {pool}"), inventory)
}

fn listing(name: &TargetName, described: &Described) -> Listing {
    Listing {
        target: name.clone(),
        kind: "swarm-service".to_owned(),
        follows: described.follows.clone(),
        gates: described.gates.clone(),
        discovered: true,
    }
}

/// A target of the configuration.
pub(crate) fn declared(name: &TargetName, kind: &str, follows: &[Follow]) -> Listing {
    Listing {
        target: name.clone(),
        kind: kind.to_owned(),
        follows: follows.to_vec(),
        gates: TargetGates::default(),
        discovered: false,
    }
}

#[cfg(test)]
mod tests;
