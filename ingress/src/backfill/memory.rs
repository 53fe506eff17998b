//! What was looked at, kept over restarts.
//!
//! Losing it is harmless: a delivery is known again by its name in the history, and comes too late for what is newer.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How far before the end of the last look the next one begins: attempts end in another order than they begin.
const OVERLAP: SignedDuration = SignedDuration::from_hours(1);

/// What is known of one hook.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// Whose hook; what is kept of another counts for nothing.
    hook: String,
    /// Everything up to here is settled, by GitHub's clock.
    looked_until: Option<Timestamp>,
    /// Events that are settled, with when they were tried first.
    settled: BTreeMap<String, Timestamp>,
    #[serde(skip)]
    file: Option<PathBuf>,
}

impl Memory {
    /// What is kept of this hook below `data`; nothing where nothing is, or nothing that can be read.
    pub(super) fn open(data: Option<&Path>, source: &str, hook: String) -> Memory {
        let file = data.map(|data| data.join(format!("backfill-{source}.json")));
        let kept = file.as_deref().and_then(|file| std::fs::read(file).ok());
        let kept = kept.and_then(|text| {
            let read = serde_json::from_slice::<Memory>(&text);
            read.inspect_err(|error| tracing::warn!(source, %error, "what was fetched before cannot be read"))
                .ok()
        });
        let kept = kept.filter(|kept| kept.hook == hook).unwrap_or_default();
        Memory { hook, file, ..kept }
    }

    pub(super) fn is_of(&self, hook: &str) -> bool {
        self.hook == hook
    }

    /// From where on it is looked now.
    pub(super) fn begin(&self, now: Timestamp, since: Duration) -> Timestamp {
        let earliest = now - SignedDuration::try_from(since).unwrap_or_default();
        self.looked_until.map_or(earliest, |until| (until - OVERLAP).max(earliest))
    }

    pub(super) fn is_settled(&self, guid: &str) -> bool {
        self.settled.contains_key(guid)
    }

    pub(super) fn settle(&mut self, guid: String, first_tried_at: Timestamp) {
        self.settled.insert(guid, first_tried_at);
    }

    /// All was settled up to `until`; what lies before `from` is not looked at again.
    pub(super) fn finish(&mut self, from: Timestamp, until: Timestamp) {
        self.looked_until = self.looked_until.max(Some(until));
        self.settled.retain(|_, tried_at| *tried_at >= from - OVERLAP);
    }

    /// Keeps it in the data directory, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn keep(&self) -> std::io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let aside = file.with_extension("new");
        let mut new = std::fs::File::create(&aside)?;
        new.write_all(&serde_json::to_vec(self)?)?;
        new.sync_all()?;
        std::fs::rename(&aside, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_look_begins_a_little_before_the_last_one_ended() {
        let data = tempfile::tempdir().unwrap();
        let open = |hook: &str| Memory::open(Some(data.path()), "hub", hook.to_owned());
        let mut memory = open("a");
        assert_eq!(memory.begin(at(1_000_000), DAY), at(1_000_000 - 86_400));
        memory.settle("old".to_owned(), at(900_000));
        memory.settle("new".to_owned(), at(990_000));
        memory.finish(at(950_000), at(999_000));
        memory.keep().unwrap();

        let again = open("a");
        assert_eq!(again, memory);
        assert_eq!(again.begin(at(1_000_000), DAY), at(999_000 - 3_600));
        assert_eq!(again.begin(at(2_000_000), DAY), at(2_000_000 - 86_400));
        assert!(again.is_settled("new") && !again.is_settled("old"));
        let other = open("b");
        assert!(!other.is_settled("new") && other.is_of("b"));
        std::fs::write(data.path().join("backfill-hub.json"), "{").unwrap();
        assert!(!open("a").is_settled("new"));
    }
}
