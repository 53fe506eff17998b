//! What users of the broker may ask for on the intake.

use std::collections::BTreeMap;

use crate::access::scope::Scope;

/// Who may ask for what, by their names on the broker. Who is not among them may only tell of images.
#[derive(Debug, Clone, Default)]
pub(crate) struct Publishers(BTreeMap<String, Scope>);

impl Publishers {
    pub(crate) fn new(scopes: BTreeMap<String, Scope>) -> Publishers {
        Publishers(scopes)
    }

    /// What a user of the broker may ask for; none where nothing is said of them.
    pub(crate) fn get(&self, user: &str) -> Option<&Scope> {
        self.0.get(user)
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
