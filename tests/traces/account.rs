//! Differences that are right, against those that are met.

use std::collections::BTreeSet;

/// A difference that is right: of which cases, which one, and why. Cases and differences may begin or end with `*`.
pub(crate) type Known = (&'static str, &'static str, &'static str);

/// What a recording was played against.
pub(crate) struct Account<'a> {
    known: &'a [Known],
    met: BTreeSet<usize>,
    wrong: Vec<String>,
    played: usize,
}

impl Account<'_> {
    pub(crate) fn of(known: &[Known]) -> Account<'_> {
        Account { known, met: BTreeSet::new(), wrong: Vec::new(), played: 0 }
    }

    pub(crate) fn note(&mut self, case: &str, differences: Vec<String>) {
        self.played += 1;
        for difference in differences {
            let is_meant = |known: &Known| fits(known.0, case) && fits(known.1, &difference);
            let meant: Vec<usize> =
                (0..self.known.len()).filter(|at| self.known.get(*at).is_some_and(is_meant)).collect();
            if meant.is_empty() {
                self.wrong.push(format!("{case}: {difference}"));
            }
            self.met.extend(meant);
        }
    }

    /// Fails with everything that is not as it is listed.
    pub(crate) fn close(mut self, what: &str, all: usize) {
        for (at, (cases, difference, _)) in self.known.iter().enumerate() {
            if !self.met.contains(&at) {
                self.wrong.push(format!("listed, and not met: {cases}: {difference}"));
            }
        }
        println!("{what}: {} of {all} played, {} known differences", self.played, self.known.len());
        assert!(self.wrong.is_empty(), "{what}:\n{}", self.wrong.join("\n"));
    }
}

/// Whether `text` is what `pattern` says, begins with it where that ends with `*`, or ends with it where it begins so.
fn fits(pattern: &str, text: &str) -> bool {
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(start), _) => text.starts_with(start),
        (None, Some(end)) => text.ends_with(end),
        (None, None) => text == pattern,
    }
}
