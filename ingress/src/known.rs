//! The targets an ingress knows: those of its file, and those that workers find on their systems and tell of.
//!
//! What was told last is kept in the data directory, so that a start without the broker knows it too.

mod faults;

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use jiff::{SignedDuration, Timestamp};
use proto::{Catalogue, Inventory, Listing, PoolName, api::TargetFault};
use tokio::sync::Notify;

use self::faults::{closed, faults_of, news_of, warn_of};
use crate::{
    route::{Target, Targets},
    settings::{DEADLINE, Settings},
    source::Sighting,
    windows::{UnknownWindow, Windows},
};

/// The file in the data directory.
const FILE: &str = "catalogues.json";

/// Workers tell anew every hour. A system that nobody tells of for so long, while others are told of, is gone.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(25);

/// A system, with its pool.
pub(crate) type SystemName = (PoolName, String);

/// What the configuration says now, and the targets known under it. Cheap to ask.
pub(crate) struct Known {
    /// Each dated when it was heard.
    told: Mutex<BTreeMap<SystemName, Catalogue>>,
    /// Both change together: written only while `told` is locked.
    now: RwLock<(Arc<Settings>, Arc<Targets>)>,
    file: Option<PathBuf>,
    changed: Notify,
}

impl Known {
    /// Knows what the file declares, and what was kept below the settings' `data`.
    pub(crate) fn new(settings: Settings) -> Known {
        let file = settings.data.as_deref().map(|data| data.join(FILE));
        let kept = file.as_deref().map(read).unwrap_or_default();
        let told: BTreeMap<SystemName, Catalogue> =
            kept.into_iter().map(|catalogue| (name_of(&catalogue), catalogue)).collect();
        let targets = Arc::new(merged(&settings, &told));
        let now = RwLock::new((Arc::new(settings), targets));
        Known { told: Mutex::new(told), now, file, changed: Notify::new() }
    }

    /// What the configuration says now. What is begun under it ends under it.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.now().0)
    }

    /// Goes on with another configuration.
    pub(crate) fn exchange(&self, settings: Settings) {
        let told = self.told();
        let former = self.settings();
        told.values().for_each(|catalogue| warn_of(&news_of(&catalogue.data, &former, &settings)));
        let targets = Arc::new(merged(&settings, &told));
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = (Arc::new(settings), targets);
    }

    /// Takes in what workers tell, heard of at `now` by this process' clock. Read in the order of the history, the last one
    /// counts.
    pub(crate) fn take_in(&self, catalogue: &Catalogue, now: Timestamp) {
        let mut told = self.told();
        let settings = self.settings();
        let former = told.get(&name_of(catalogue)).cloned();
        // How old a word is, the clock of who says it does not tell: one that is a year ahead would have all others forgotten.
        let heard = Catalogue { time: now, ..with_what_was_found(catalogue, former.as_ref()) };
        told.insert(name_of(catalogue), heard);
        let oldest = now.saturating_sub(FORGOTTEN_AFTER).unwrap_or(now);
        told.retain(|_, known| known.time >= oldest);
        let known = former.map(|former| closed(&former.data, &settings)).unwrap_or_default();
        let faults = closed(&catalogue.data, &settings);
        warn_of(&faults.into_iter().filter(|fault| !known.contains(fault)).collect::<Vec<_>>());
        let merged = Arc::new(merged(&settings, &told));
        self.now.write().unwrap_or_else(PoisonError::into_inner).1 = merged;
        self.changed.notify_one();
    }

    /// All targets.
    pub(crate) fn targets(&self) -> Arc<Targets> {
        Arc::clone(&self.now().1)
    }

    /// All targets as a configuration has them that was the one a moment ago.
    pub(crate) fn targets_under(&self, settings: &Arc<Settings>) -> Arc<Targets> {
        let now = self.now();
        if Arc::ptr_eq(&now.0, settings) {
            return Arc::clone(&now.1);
        }
        // Whoever writes has `told` first.
        drop(now);
        Arc::new(merged(settings, &self.told()))
    }

    /// What was meant to be a target and is none.
    pub(crate) fn faults(&self) -> Vec<TargetFault> {
        let (told, settings) = (self.told(), self.settings());
        told.values().flat_map(|catalogue| faults_of(&catalogue.data, &settings)).collect()
    }

    /// Why one that follows any of these images is no target: it names a window that is not declared.
    pub(crate) fn withheld(&self, settings: &Settings, sightings: &[Sighting]) -> Option<String> {
        let told = self.told();
        let mut found = told.values().flat_map(|catalogue| {
            let listings = catalogue.data.targets.iter().filter(|listing| listing.discovered);
            listings.map(move |listing| (listing, &catalogue.data))
        });
        found.find_map(|(listing, inventory)| {
            let UnknownWindow(window) = found_on(listing, inventory, &settings.windows).err()?;
            let takes = |seen: &Sighting| listing.follows.iter().any(|follow| follow.takes(&seen.image));
            let target = &listing.target;
            sightings.iter().any(takes).then(|| {
                format!("`{target}` follows it, but names the window `{window}`, which is not declared here")
            })
        })
    }

    /// A system on which workers look for targets and have not told yet what they found.
    pub(crate) fn untold(&self, settings: &Settings) -> Option<SystemName> {
        let told = self.told();
        let is_told = |system| told.get(system).is_some_and(|catalogue| !catalogue.data.unsearched);
        settings.searched.iter().find(|system| !is_told(*system)).cloned()
    }

    /// Keeps what is told in the data directory, until it is dropped.
    pub(crate) async fn keep(&self) {
        let Some(file) = &self.file else { return };
        loop {
            self.changed.notified().await;
            let text = serde_json::to_vec(&self.told().values().collect::<Vec<_>>()).unwrap_or_default();
            let path = file.clone();
            let written = tokio::task::spawn_blocking(move || write(&path, &text)).await;
            if let Ok(Err(error)) = written {
                let (file, error) = (file.display(), &error as &dyn std::error::Error);
                tracing::warn!(%file, error, "cannot keep what workers tell of their targets");
            }
        }
    }

    fn now(&self) -> RwLockReadGuard<'_, (Arc<Settings>, Arc<Targets>)> {
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<SystemName, Catalogue>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A system that could not be looked through has what it was last seen to have.
fn with_what_was_found(catalogue: &Catalogue, former: Option<&Catalogue>) -> Catalogue {
    let mut catalogue = catalogue.clone();
    if let Some(former) = former.filter(|_| catalogue.data.unsearched) {
        catalogue.data.targets.clone_from(&former.data.targets);
        catalogue.data.unsearched = former.data.unsearched;
    }
    catalogue
}

fn name_of(catalogue: &Catalogue) -> SystemName {
    (catalogue.data.pool.clone(), catalogue.data.system.clone())
}

/// The targets that were found and those of the file, which go first.
///
/// One whose window nobody declares is none: without it, it could be deployed at any time, which is what nobody asked
/// for.
fn merged(settings: &Settings, told: &BTreeMap<SystemName, Catalogue>) -> Targets {
    let found = told.values().flat_map(|catalogue| {
        let listings = catalogue.data.targets.iter().filter(|listing| listing.discovered);
        listings.filter_map(|listing| found_on(listing, &catalogue.data, &settings.windows).ok())
    });
    let declared = settings.declared.iter().map(|target| Target::clone(target));
    Targets::new(found.chain(declared).collect())
}

fn found_on(listing: &Listing, inventory: &Inventory, windows: &Windows) -> Result<Target, UnknownWindow> {
    let window = listing.gates.window.as_deref().map(|names| windows.named(names)).transpose()?;
    Ok(Target {
        name: listing.target.clone(),
        at: inventory.system.clone(),
        follows: listing.follows.clone(),
        deadline: DEADLINE,
        gates: listing.gates.clone(),
        window: window.map(Arc::new),
        hold_for: None,
        discovered: true,
    })
}

/// What was kept; nothing where there is none, or none that this version can read: workers tell it again.
fn read(file: &Path) -> Vec<Catalogue> {
    let Ok(text) = std::fs::read(file) else { return Vec::new() };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!(file = %file.display(), %error, "what workers told of their targets cannot be read");
        Vec::new()
    })
}

/// Whole or not at all: a crash half-way leaves the former text.
fn write(file: &Path, text: &[u8]) -> std::io::Result<()> {
    let aside = file.with_extension("new");
    let mut new = std::fs::File::create(&aside)?;
    new.write_all(text)?;
    new.sync_all()?;
    std::fs::rename(&aside, file)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proto::{ListingFault, TargetGates};

    use super::*;

    fn catalogue(system: &str, targets: &[(&str, &str)]) -> Catalogue {
        let listing = |(name, follow): &(&str, &str)| Listing {
            target: name.parse().unwrap(),
            kind: "swarm-service".to_owned(),
            follows: vec![follow.parse().unwrap()],
            gates: TargetGates::default(),
            discovered: true,
        };
        Catalogue::of(Inventory {
            pool: PoolName::default(),
            system: system.to_owned(),
            kind: "swarm".to_owned(),
            targets: targets.iter().map(listing).collect(),
            faults: Vec::new(),
            unsearched: false,
        })
    }

    fn declared() -> Targets {
        Targets::new(vec![Target::sample("web", &["declared:1"])])
    }

    fn settings(declared: Targets, windows: Windows) -> Settings {
        Settings { declared, windows, ..Settings::sample("") }
    }

    fn names(known: &Known) -> Vec<String> {
        known.targets().iter().map(|target| format!("{} {}", target.name, target.follows[0])).collect()
    }

    #[test]
    fn the_last_word_on_a_system_counts_and_the_file_goes_first() {
        let searched = BTreeSet::from([(PoolName::default(), "swarm".to_owned())]);
        let known = Known::new(Settings { searched, ..settings(declared(), Windows::default()) });
        let untold = || known.untold(&known.settings());
        assert!(untold().is_some());
        known.take_in(&catalogue("swarm", &[("api", "acme/api:1"), ("web", "acme/web:1")]), Timestamp::now());
        known.take_in(&catalogue("other", &[("blog", "acme/blog:1")]), Timestamp::now());
        assert_eq!(
            names(&known),
            ["default/api acme/api:1", "default/blog acme/blog:1", "default/web declared:1"]
        );
        assert_eq!(untold(), None);
        known.take_in(&catalogue("swarm", &[]), Timestamp::now());
        assert_eq!(names(&known), ["default/blog acme/blog:1", "default/web declared:1"]);
    }

    #[test]
    fn a_system_that_cannot_be_looked_through_keeps_what_it_had() {
        let searched = BTreeSet::from([(PoolName::default(), "swarm".to_owned())]);
        let known = Known::new(Settings { searched, ..settings(Targets::default(), Windows::default()) });
        let untold = || known.untold(&known.settings()).is_some();
        let mut away = catalogue("swarm", &[]);
        let (thing, text) = ("looking for targets".to_owned(), "no socket".to_owned());
        away.data.faults.push(ListingFault::of_system(thing, text, "start it".to_owned()));
        away.data.unsearched = true;
        known.take_in(&away, Timestamp::now());
        assert!(untold() && names(&known).is_empty(), "what it has nobody knows");
        assert_eq!(known.faults()[0].text, "no socket");
        known.take_in(&catalogue("swarm", &[("api", "acme/api:1")]), Timestamp::now());
        assert!(!untold() && known.faults().is_empty());
        known.take_in(&away, Timestamp::now());
        assert!(!untold());
        assert_eq!((names(&known), known.faults().len()), (vec!["default/api acme/api:1".to_owned()], 1));
    }

    #[test]
    fn a_system_that_nobody_tells_of_is_forgotten_whatever_clocks_of_workers_say() {
        let known = Known::new(Settings::sample(""));
        let now = Timestamp::now();
        let after = |hours| now + SignedDuration::from_hours(hours);
        let told = |system: &str, time| Catalogue { time, ..catalogue(system, &[(system, "acme/x:1")]) };
        known.take_in(&told("gone", now), now);
        known.take_in(&told("slow", after(-48)), after(20));
        known.take_in(&told("ahead", after(365 * 24)), after(21));
        assert_eq!(names(&known).len(), 3, "{:?}", names(&known));
        known.take_in(&catalogue("swarm", &[]), after(26));
        assert_eq!(names(&known), ["default/ahead acme/x:1", "default/slow acme/x:1"]);
        known.take_in(&catalogue("swarm", &[]), after(47));
        assert!(names(&known).is_empty(), "one from the future is forgotten like others");
    }

    #[test]
    fn what_names_a_window_is_a_target_once_that_is_declared() {
        let mut told = catalogue("swarm", &[("api", "acme/api:1"), ("shop", "acme/shop:1")]);
        told.data.targets[0].gates.window = Some("nights, holidays".to_owned());
        let period = serde_json::json!([{"days": "sat", "zone": "UTC"}]);
        let of = |names: &[&str]| {
            let period = || serde_json::from_value(period.clone()).unwrap();
            let windows = Windows::new(names.iter().map(|name| ((*name).to_owned(), period())).collect());
            let known = Known::new(settings(Targets::default(), windows));
            known.take_in(&told, Timestamp::now());
            known
        };
        let known = of(&["nights"]);
        assert_eq!(names(&known), ["default/shop acme/shop:1"]);
        let faults = known.faults();
        assert_eq!((faults.len(), faults[0].thing.as_str()), (1, "`default/api`"));
        assert!(faults[0].text.contains("`holidays`"), "{faults:?}");
        let known = of(&["nights", "holidays"]);
        assert!(known.faults().is_empty());
        let now = Settings::clone(&known.settings());
        let without = Settings { windows: Windows::default(), ..now.clone() };
        let news = news_of(&told.data, &now, &without);
        assert!(
            news.len() == 1 && news[0].thing == "`default/api`",
            "what a change takes away is told: {news:?}"
        );
        assert!(
            news_of(&told.data, &without, &without).is_empty()
                && news_of(&told.data, &without, &now).is_empty()
        );
        let api = Arc::clone(known.targets().get(&"api".parse().unwrap()).unwrap());
        let window = api.window.as_ref().unwrap();
        assert_eq!((window.name.as_str(), window.periods.len()), ("nights,holidays", 2));
    }

    #[tokio::test]
    async fn what_was_told_is_known_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let kept = || settings(declared(), Windows::default()).with_data(data.path());
        let known = Arc::new(Known::new(kept()));
        let keeping = Arc::clone(&known);
        let keeping = tokio::spawn(async move { keeping.keep().await });
        let mut told = catalogue("swarm", &[("api", "acme/api:1")]);
        let (thing, text, hint) = ("service `x`".to_owned(), "wrong".to_owned(), "mend it".to_owned());
        told.data.faults.push(ListingFault::no_target(thing, text, hint));
        known.take_in(&told, Timestamp::now());
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        while !data.path().join(FILE).exists() {
            assert!(tokio::time::Instant::now() < deadline, "nothing was kept");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        keeping.abort();
        let again = Known::new(kept());
        assert_eq!(names(&again), names(&known));
        assert_eq!(again.faults(), known.faults());
        std::fs::write(data.path().join(FILE), "[{").unwrap();
        assert_eq!(names(&Known::new(kept())), ["default/web declared:1"]);
    }

    #[test]
    fn what_was_begun_under_a_configuration_is_decided_by_it() {
        let known = Known::new(settings(declared(), Windows::default()));
        let before = known.settings();
        let other = Targets::new(vec![Target::sample("web", &["other:1"])]);
        known.exchange(settings(other, Windows::default()));
        known.take_in(&catalogue("swarm", &[("api", "acme/api:1")]), Timestamp::now());
        assert_eq!(names(&known), ["default/api acme/api:1", "default/web other:1"]);
        let told = known.targets_under(&before);
        let told: Vec<String> = told.iter().map(|target| target.follows[0].to_string()).collect();
        assert_eq!(told, ["acme/api:1", "declared:1"]);
    }
}
