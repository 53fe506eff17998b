//! What `check --connect` finds at a system.

/// What was found when a system was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// What is there, line by line.
    pub(crate) found: Vec<String>,
    /// What is missing or will not work, line by line.
    pub(crate) missing: Vec<String>,
}
