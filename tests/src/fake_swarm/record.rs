//! What was done to a fake engine, and whether it was right.

use proto::Timestamp;

/// A write that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The service's name.
    pub service: String,
    /// Of the spec that was written.
    pub image: String,
    /// Its label `longshore.job`.
    pub job: Option<String>,
    /// Its label `longshore.trying`.
    pub trying: Option<String>,
    /// The service's version before it.
    pub version: u64,
    /// Whether a key to the registry came with it.
    pub with_key: bool,
    /// When it was carried out.
    pub at: Timestamp,
}

/// From some moment on all tasks of a service ran an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The service's name.
    pub service: String,
    /// What its tasks ran.
    pub image: String,
    /// From when on.
    pub from: Timestamp,
}

/// All that was done to a fake engine.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// In the order in which they were carried out.
    pub writes: Vec<Write>,
    /// In the order of time.
    pub ran: Vec<Ran>,
    /// Writes that were refused, since the service was not as it was read any more.
    pub out_of_sequence: usize,
    /// How often somebody looked whether a container has a process.
    pub looked_at: usize,
}

impl Record {
    /// Whether all tasks of a service ran `image` at some time up to `by`.
    pub fn ran(&self, service: &str, image: &str, by: Timestamp) -> bool {
        self.ran.iter().any(|ran| ran.service == service && ran.image == image && ran.from <= by)
    }

    /// Writes that put an older job's mark over a newer one's. Marks are ids that sort by age as texts do.
    pub fn older_over_newer(&self) -> Vec<(&Write, &Write)> {
        let mut newest: std::collections::BTreeMap<&str, &Write> = std::collections::BTreeMap::new();
        let mut found = Vec::new();
        for write in self.writes.iter().filter(|write| write.job.is_some()) {
            match newest.get(&*write.service) {
                Some(newer) if newer.job > write.job => found.push((*newer, write)),
                Some(_) | None => _ = newest.insert(&write.service, write),
            }
        }
        found
    }
}
