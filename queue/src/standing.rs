//! How a pool stands: who takes its jobs, and what waits for them.

/// A pool as it stands right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Workers that take its jobs.
    pub workers: u32,
    /// Jobs that wait to be taken. Those that come back later are not among them.
    pub waiting: u32,
}
