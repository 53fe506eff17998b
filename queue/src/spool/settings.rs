//! The `spool` section: how much is kept while the broker is away.

use std::time::Duration;

use config::{Bytes, Faults, Node};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Keep;

/// What is kept at most while the broker is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolSettings {
    /// How many jobs may wait in the data directory while the broker is away; more are answered with 503.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub jobs: u64,
    /// How large they may be together.
    pub bytes: Bytes,
    /// How long a job waits for a worker to serve its pool, once the broker is back, before it is rejected. Not
    /// in the file.
    #[serde(skip, default = "pool_within")]
    pub pool_within: Duration,
    /// Whether the directory takes over what is said on the broker although no embedded queue was ever there: one may
    /// be yet. Not in the file.
    #[serde(skip)]
    pub follows: bool,
    /// How long the directory keeps what it knows of the past. In the file it is the key `keep`.
    #[serde(skip)]
    pub keep: Keep,
}

impl SpoolSettings {
    const MOST_JOBS: u64 = 1_000_000;

    /// Reads the key `spool` of a configuration.
    ///
    /// Every fault found is pushed; the answer is none exactly when there was one.
    pub fn read(root: &Node, faults: &mut Faults) -> Option<SpoolSettings> {
        let Some(section) = root.get("spool") else { return Some(SpoolSettings::default()) };
        let settings: SpoolSettings = section.read(faults)?;
        if !(1..=SpoolSettings::MOST_JOBS).contains(&settings.jobs) {
            let node = section.get("jobs").unwrap_or(section);
            faults.push(node.fault("this many jobs cannot be kept").hint("from 1 to 1000000"));
            return None;
        }
        if settings.bytes.0 == 0 {
            let node = section.get("bytes").unwrap_or(section);
            faults
                .push(node.fault("nothing could be kept in no bytes").hint("write an amount, as in `1GiB`"));
            return None;
        }
        Some(settings)
    }
}

impl Default for SpoolSettings {
    fn default() -> SpoolSettings {
        SpoolSettings {
            jobs: 100_000,
            bytes: Bytes(1 << 30),
            pool_within: pool_within(),
            follows: false,
            keep: Keep::default(),
        }
    }
}

/// Workers that lost the broker too are back within seconds; those of a new fleet are started with it.
fn pool_within() -> Duration {
    Duration::from_secs(30)
}

#[cfg(test)]
mod tests {
    use config::Document;

    use super::*;

    fn read(text: &str) -> Result<SpoolSettings, String> {
        let mut faults = Faults::new();
        let document = Document::parse("l.yaml", text).unwrap();
        SpoolSettings::read(document.root(), &mut faults).ok_or_else(|| faults.to_string())
    }

    #[test]
    fn bounds_are_read_or_as_they_are_by_default() {
        assert_eq!(read("version: 1"), Ok(SpoolSettings::default()));
        let settings = read("spool: {jobs: 50, bytes: 10MiB}").unwrap();
        assert_eq!((settings.jobs, settings.bytes), (50, Bytes(10 << 20)));
        assert_eq!(settings.pool_within, SpoolSettings::default().pool_within);
        assert_eq!(read("spool: {jobs: 50}").unwrap().bytes, Bytes(1 << 30));
    }

    #[test]
    fn what_could_keep_nothing_is_a_fault() {
        for (text, place) in [
            ("spool: {jobs: 0}", "l.yaml:1:15"),
            ("spool: {jobs: 1000001}", "l.yaml:1:15"),
            ("spool: {bytes: 0}", "l.yaml:1:16"),
            ("spool: {pool_within: 3}", "l.yaml:1:9"),
        ] {
            let fault = read(text).unwrap_err();
            assert!(fault.starts_with(place), "{text}: {fault}");
        }
    }
}
