//! Deliveries of GitHub's hooks that never came: asked for, and taken as hooks are.
//!
//! GitHub tries once. While the ingress is away, or behind something that is, what it tells is lost but for the list
//! that GitHub keeps of its attempts.

pub(crate) mod connect;
mod delivery;
mod feed;
pub(crate) mod github;
mod limit;
mod look;
mod memory;
mod tally;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use config::Secret;
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use self::{
    github::FetchError,
    look::{Hindrance, Look},
    memory::Memory,
};
use crate::{ingress::Ingress, settings::Settings, source::Source};

pub(crate) use tally::Tally;

/// GitHub keeps deliveries for three days.
pub(crate) const LONGEST_SINCE: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// Pause before it is seen again which hooks are due.
const PAUSE: Duration = Duration::from_millis(250);
/// How soon it is looked again after something was in the way.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// The same where some deliveries wait, as for a worker that nobody has started: each is fetched again then.
const WAITING_AGAIN_AFTER: Duration = Duration::from_secs(300);
/// The same after something that passes by itself: another ingress looks, or the history is being read.
const SOON: Duration = Duration::from_secs(2);

/// How the deliveries of one hook are fetched.
#[derive(Debug, Clone)]
pub(crate) struct BackfillSettings {
    /// Whose hook it is.
    pub(crate) place: Place,
    /// Its number.
    pub(crate) hook: u64,
    /// What GitHub is asked with.
    pub(crate) token: Secret,
    /// How often.
    pub(crate) every: Duration,
    /// How far back at first.
    pub(crate) since: Duration,
    /// Where the API is, without a slash at its end.
    pub(crate) api: String,
    /// PEM certificates of the authorities that vouch for it; the machine's own without.
    pub(crate) ca: Option<String>,
}

/// Whose hook it is; shown as it stands in the API's paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// `owner/name`.
    Repository(String),
    /// Its name.
    Organization(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Repository(repository) => write!(f, "repos/{repository}"),
            Place::Organization(organization) => write!(f, "orgs/{organization}"),
        }
    }
}

impl Place {
    /// As people name it.
    fn told(&self) -> String {
        match self {
            Place::Repository(repository) => format!("the repository `{repository}`"),
            Place::Organization(organization) => format!("the organization `{organization}`"),
        }
    }
}

impl BackfillSettings {
    /// Tells one hook from every other.
    fn hook_name(&self) -> String {
        format!("{}/{}/hooks/{}", self.api, self.place, self.hook)
    }
}

/// Looks for missed deliveries at start, after each time that hooks could not be taken, and now and then, until it is
/// dropped.
pub(crate) async fn keep(ingress: &Arc<Ingress>) {
    let mut watches: BTreeMap<String, Watch> = BTreeMap::new();
    let mut was_open = false;
    loop {
        let is_open = ingress.is_ready() && ingress.queue.is_available() && !ingress.queue.is_failing();
        if is_open {
            let settings = ingress.settings();
            settle_watches(&mut watches, &settings, !was_open);
            let due = watches.iter_mut().filter(|(_, watch)| watch.next <= Instant::now());
            let looks = due.filter_map(|(name, watch)| {
                let source = settings.sources.get(name)?;
                Some(watch.look(ingress, &settings, source, source.backfill.as_ref()?))
            });
            join_all(looks).await;
        }
        was_open = is_open;
        sleep(PAUSE).await;
    }
}

/// One watch for each hook that the configuration has now; all are due where hooks are taken again.
fn settle_watches(watches: &mut BTreeMap<String, Watch>, settings: &Settings, is_back: bool) {
    let hook_of = |source: &Source| source.backfill.as_ref().map(BackfillSettings::hook_name);
    watches.retain(|name, watch| {
        let hook = settings.sources.get(name).and_then(hook_of);
        hook.is_some_and(|hook| watch.memory.is_of(&hook))
    });
    for (name, source) in &settings.sources {
        let Some(hook) = hook_of(source) else { continue };
        let open = || Watch::new(Memory::open(settings.data.as_deref(), name, hook));
        let watch = watches.entry(name.clone()).or_insert_with(open);
        if is_back {
            watch.next = Instant::now();
        }
    }
}

/// One hook that is looked after.
struct Watch {
    memory: Memory,
    /// When it is looked next.
    next: Instant,
    /// What was in the way last, as it was told.
    trouble: Option<String>,
}

impl Watch {
    fn new(memory: Memory) -> Watch {
        Watch { memory, next: Instant::now(), trouble: None }
    }

    async fn look(
        &mut self,
        ingress: &Arc<Ingress>,
        settings: &Arc<Settings>,
        source: &Source,
        backfill: &BackfillSettings,
    ) {
        let look = Look::new(ingress, settings, source, backfill);
        let looked = look.run(&mut self.memory).await;
        if let Err(error) = self.memory.keep() {
            tracing::warn!(source = source.name, %error, "what was fetched cannot be kept for the next start");
        }
        let pause = match looked {
            Ok(()) => {
                self.recover(&source.name);
                // Not in step with anybody else's.
                backfill.every.mul_f64(0.9 + 0.2 * rand::random::<f64>())
            }
            Err(hindrance) => {
                let pause = pause_after(&hindrance).min(backfill.every);
                self.complain(ingress, &source.name, &hindrance);
                hindrance.said_pause().unwrap_or(pause)
            }
        };
        self.next = Instant::now() + pause;
    }

    fn recover(&mut self, source: &str) {
        if self.trouble.take().is_some() {
            tracing::info!(source, "missed deliveries can be asked for again");
        }
    }

    /// Says what is in the way, once for as long as it is the same.
    fn complain(&mut self, ingress: &Ingress, source: &str, hindrance: &Hindrance) {
        let error = match hindrance {
            Hindrance::NotNow => return,
            Hindrance::Waiting => {
                tracing::debug!(source, "some missed deliveries wait to be taken");
                return;
            }
            Hindrance::Fetch(error) => error,
        };
        ingress.counters.backfills.failed(source);
        // Another wait of another length is the same trouble.
        let told =
            if matches!(error, FetchError::Limited(_)) { "limited".to_owned() } else { error.to_string() };
        let error = error as &dyn std::error::Error;
        if self.trouble.as_ref() == Some(&told) {
            tracing::debug!(source, error, "missed deliveries still cannot be asked for");
            return;
        }
        tracing::warn!(source, error, "missed deliveries cannot be asked for, trying again");
        self.trouble = Some(told);
    }
}

fn pause_after(hindrance: &Hindrance) -> Duration {
    match hindrance {
        Hindrance::NotNow => SOON,
        Hindrance::Fetch(_) => AGAIN_AFTER,
        Hindrance::Waiting => WAITING_AGAIN_AFTER,
    }
}
