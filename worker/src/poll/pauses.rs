//! Registries that asked to be left alone, and until when: over a change of the configuration too.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Until when nobody asks which registry. Registries count by who asks: another login, or another address of the
/// registry, is not bound by it.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    /// So that no password stands here.
    by_login: RandomState,
    until: Mutex<HashMap<(String, u64), Instant>>,
}

impl Pauses {
    /// Leaves a registry alone for a while.
    pub(super) fn begin(&self, server: &str, login: Option<(&str, &str)>, pause: Duration) {
        let until = Instant::now() + pause;
        self.until().insert(self.name(server, login), until);
    }

    /// For how long it is still to be left alone, where it is.
    pub(super) fn left(&self, server: &str, login: Option<(&str, &str)>) -> Option<Duration> {
        let now = Instant::now();
        let mut pauses = self.until();
        pauses.retain(|_, until| *until > now);
        pauses.get(&self.name(server, login)).map(|until| until.saturating_duration_since(now))
    }

    fn name(&self, server: &str, login: Option<(&str, &str)>) -> (String, u64) {
        (server.to_owned(), self.by_login.hash_one(login))
    }

    fn until(&self) -> MutexGuard<'_, HashMap<(String, u64), Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_for_one_registry_and_one_login_until_it_is_over() {
        let pauses = Pauses::default();
        let (ci, other) = (Some(("ci", "one")), Some(("ci", "two")));
        pauses.begin("https://r.lan", ci, Duration::from_secs(3600));
        assert!(pauses.left("https://r.lan", ci).is_some_and(|left| left.as_secs() > 3500));
        assert_eq!(pauses.left("https://r.lan", other), None, "another key");
        assert_eq!(pauses.left("https://r.lan", None), None, "nobody's key");
        assert_eq!(pauses.left("https://vpc.lan", ci), None, "another address");
        pauses.begin("https://r.lan", ci, Duration::ZERO);
        assert_eq!(pauses.left("https://r.lan", ci), None, "it is over");
    }
}
