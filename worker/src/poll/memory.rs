//! What looks at registries remember, from one to the next and over a change of the configuration.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use proto::{Digest, ImageRef, PoolName, Repository, Timestamp};

use super::pauses::Pauses;

/// What was seen and dealt with.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// The tags of repositories of which patterns are followed, as they were at the last look.
    pub(super) tags: HashMap<Repository, BTreeSet<String>>,
    /// What tags named, and when they were last seen to.
    named: HashMap<ImageRef, (Digest, Timestamp)>,
}

/// What is remembered for each pool, and of registries for all of them, for as long as the process runs.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pools: Mutex<BTreeMap<PoolName, Arc<Mutex<Remembered>>>>,
    pauses: Arc<Pauses>,
}

impl Memory {
    /// What is remembered for a pool.
    pub(super) fn of(&self, pool: &PoolName) -> Arc<Mutex<Remembered>> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pools.entry(pool.clone()).or_default())
    }

    /// Registries that asked to be left alone: their quotas are this machine's, whoever looks for which pool.
    pub(super) fn pauses(&self) -> Arc<Pauses> {
        Arc::clone(&self.pauses)
    }
}

impl Remembered {
    /// Adds what another look saw.
    pub(super) fn extend(&mut self, seen: Remembered) {
        self.tags.extend(seen.tags);
        self.named.extend(seen.named);
    }

    /// Notes what a tag names now.
    pub(super) fn note(&mut self, image: ImageRef, digest: Digest, now: Timestamp) {
        self.named.insert(image, (digest, now));
    }

    /// What could not be dealt with is new again the next time, where it is a new tag of a pattern.
    pub(super) fn forget_tag(&mut self, image: &ImageRef) {
        if let (Some(tags), Some(tag)) = (self.tags.get_mut(image.repository()), image.tag()) {
            tags.remove(tag);
        }
    }

    /// When a tag that names `digest` now was last seen to name something else.
    pub(super) fn elsewhere_at(&self, image: &ImageRef, digest: &Digest) -> Option<Timestamp> {
        let (former, at) = self.named.get(image)?;
        (former != digest).then_some(*at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_moved_was_elsewhere_when_it_was_last_seen() {
        let [one, two]: [Digest; 2] =
            ["a", "b"].map(|digit| format!("sha256:{}", digit.repeat(64)).parse().unwrap());
        let image: ImageRef = "r.lan/app:1".parse().unwrap();
        let mut remembered = Remembered::default();
        assert_eq!(remembered.elsewhere_at(&image, &one), None, "nobody looked yet");
        let mut seen = Remembered::default();
        seen.note(image.clone(), one.clone(), Timestamp::UNIX_EPOCH);
        remembered.extend(seen);
        assert_eq!(remembered.elsewhere_at(&image, &one), None);
        assert_eq!(remembered.elsewhere_at(&image, &two), Some(Timestamp::UNIX_EPOCH));
    }
}
