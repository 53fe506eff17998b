//! Two targets that are one real thing, since their systems are one swarm by two addresses. The text of an address tells
//! nothing of that, as of a socket that is reached by a link, or by TCP as well: only the swarm itself does.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use proto::{ListingFault, TargetName};
use tokio::time::{sleep, timeout};

use crate::{
    roster::{Concern, Roster},
    settings::{Settings, SystemKind, TargetSettings, is_same_thing},
    target::{TargetError, swarm::Swarm},
};

/// How long a swarm may take to say which one it is.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// Pause before those are asked again that could not be.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

const HINT: &str = "keep one of the two: a target is the only writer of its service or stack";

/// Two targets that would be one thing, were their systems one swarm.
#[derive(Clone)]
pub(crate) struct Suspects {
    first: Side,
    second: Side,
}

#[derive(Clone)]
struct Side {
    target: TargetName,
    system: String,
    swarm: Swarm,
}

/// All such targets of a configuration.
pub(crate) fn suspects(settings: &Settings, swarms: &HashMap<String, Swarm>) -> Vec<Suspects> {
    let host = |target: &TargetSettings| match &settings.systems.get(&target.system)?.kind {
        SystemKind::Swarm(swarm) => Some(swarm.host.to_string()),
        SystemKind::Portainer(_)
        | SystemKind::Rancher(_)
        | SystemKind::Kubernetes(_)
        | SystemKind::Rehearsal {} => None,
    };
    let side = |target: &TargetSettings| {
        let swarm = swarms.get(&target.system)?.clone();
        Some(Side { target: target.name.clone(), system: target.system.clone(), swarm })
    };
    let on_swarms: Vec<_> =
        settings.targets.iter().filter_map(|target| Some((target, host(target)?))).collect();
    let mut suspects = Vec::new();
    for (at, (second, host)) in on_swarms.iter().enumerate() {
        // Those by the same text of an address were refused with the configuration.
        let before = on_swarms.iter().take(at).filter(|(_, other)| other != host);
        for (first, _) in before.filter(|(first, _)| is_same_thing(&first.kind, &second.kind)) {
            if let (Some(first), Some(second)) = (side(first), side(second)) {
                suspects.push(Suspects { first, second });
            }
        }
    }
    suspects
}

impl Suspects {
    /// The system of the second one, on which it is told.
    pub(crate) fn system(&self) -> &str {
        &self.second.system
    }

    /// Whether both systems are one swarm.
    ///
    /// # Errors
    /// When one of them cannot be asked.
    pub(crate) async fn are_one(&self) -> Result<bool, TargetError> {
        Ok(self.first.swarm.cluster().await? == self.second.swarm.cluster().await?)
    }

    /// What is wrong with that, for people.
    pub(crate) fn fault(&self) -> String {
        let Suspects { first, second } = self;
        format!(
            "the target `{}` is the same as `{}`: the systems `{}` and `{}` are one swarm by two addresses",
            second.target, first.target, second.system, first.system
        )
    }

    /// The same with how to mend it.
    pub(crate) fn fault_with_hint(&self) -> String {
        format!("{}; {HINT}", self.fault())
    }
}

/// Tells of those that are one, each as soon as it is known. They are not kept from working: the swarm itself takes no write
/// on stale ground, and the marks on the service keep the newest wish on top.
pub(crate) async fn tell(roster: Arc<Roster>, suspects: Vec<Suspects>) {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut open = suspects;
    while !open.is_empty() {
        let mut unknown = Vec::new();
        for pair in open {
            match timeout(ANSWERED_WITHIN, pair.are_one()).await {
                Ok(Ok(true)) => {
                    tracing::warn!(system = pair.system(), "{}", pair.fault());
                    let faults = told.entry(pair.system().to_owned()).or_default();
                    faults.push(pair.fault());
                    let fault =
                        ListingFault::of_system("targets".to_owned(), faults.join("; "), HINT.to_owned());
                    roster.warned(pair.system(), Concern::Twins, Some(fault));
                }
                Ok(Ok(false)) => {}
                // That it cannot be reached is told by who looks for that.
                Ok(Err(_)) | Err(_) => unknown.push(pair),
            }
        }
        open = unknown;
        sleep(AGAIN_AFTER).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Fleet;

    #[test]
    fn only_what_may_be_one_thing_by_two_addresses_is_asked_about() {
        let text = "systems:\n  a: {kind: swarm, host: 'unix:///var/run/docker.sock'}\n  \
                    b: {kind: swarm, host: 'unix:///run/docker.sock'}\n  c: {kind: rehearsal}\n\
                    targets:\n  one: {at: a, service: shop_web}\n  two: {at: b, stack: shop}\n  \
                    three: {at: b, service: blog}\n  four: {at: a, service: other}\n  five: {at: c}\n";
        let document = config::Document::parse("test.yaml", text).unwrap();
        let mut faults = config::Faults::new();
        let settings = Settings::read(&document, &mut faults).unwrap_or_else(|| panic!("{faults}"));
        let folder = tempfile::tempdir().unwrap();
        let fleet = Fleet::new(&settings.with_data(folder.path())).unwrap();
        let told: Vec<String> = fleet.suspects().iter().map(Suspects::fault).collect();
        let expected = "the target `default/two` is the same as `default/one`: the systems `b` and `a` are one swarm by two \
                        addresses";
        assert_eq!(told, [expected]);
    }
}
