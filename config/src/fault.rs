//! What is wrong in a configuration, collected so that all of it is said at once.

use std::fmt;

use crate::Place;

/// One thing that is wrong: where, what, and how to mend it.
///
/// A fault never holds the value of a secret, the content of a file or the value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it stands; none when no line is to blame, as with a file that cannot be read.
    pub place: Option<Place>,
    /// The keys that lead to it, as in `targets.shop.follow`; empty at the top of a file.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault that no line is to blame for.
    pub fn new(message: impl Into<String>) -> Self {
        Self { place: None, path: String::new(), message: message.into(), hint: None }
    }

    /// The same fault with a word on how to mend it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(out, "{place}: ")?;
        }
        if !self.path.is_empty() {
            write!(out, "{}: ", self.path)?;
        }
        write!(out, "{}", self.message)?;
        match &self.hint {
            Some(hint) => write!(out, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

/// Every fault found so far, ordered by file and line, each of them once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// No fault yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fault; one that is already there is not added again.
    ///
    /// Two readers of one section may find the same fault and know different ways out: the first hint stays.
    pub fn push(&mut self, fault: Fault) {
        let first = self.0.partition_point(|known| known.place < fault.place);
        let next = self.0.partition_point(|known| known.place <= fault.place);
        let same = |known: &&mut Fault| (&known.path, &known.message) == (&fault.path, &fault.message);
        match self.0[first..next].iter_mut().find(same) {
            Some(known) => known.hint = known.hint.take().or(fault.hint),
            None => self.0.insert(next, fault),
        }
    }

    /// Adds all faults of another collection.
    pub fn append(&mut self, others: Faults) {
        for fault in others.0 {
            self.push(fault);
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The faults, by file and line; those without a place come first.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// How many faults there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// An error with all faults when there are any.
    pub fn into_result(self) -> Result<(), Faults> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            write!(out, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: &str, line: usize, message: &str) -> Fault {
        let place = Place { file: file.into(), line, column: 5 };
        Fault { place: Some(place), path: "targets.shop".into(), message: message.into(), hint: None }
    }

    #[test]
    fn faults_are_shown_by_file_and_line_each_once() {
        let mut faults = Faults::new();
        faults.push(at("b.yaml", 1, "third"));
        faults.push(at("a.yaml", 12, "second").hint("mend it"));
        faults.push(at("a.yaml", 2, "first"));
        faults.push(at("a.yaml", 2, "first"));
        faults.push(Fault::new("cannot read c.yaml: no such file"));
        assert_eq!(faults.len(), 4);
        assert_eq!(
            faults.to_string(),
            "cannot read c.yaml: no such file\n\
             a.yaml:2:5: targets.shop: first\n\
             a.yaml:12:5: targets.shop: second\n  hint: mend it\n\
             b.yaml:1:5: targets.shop: third"
        );
    }

    #[test]
    fn a_fault_found_by_two_readers_is_shown_once_with_a_hint() {
        let mut faults = Faults::new();
        faults.push(at("a.yaml", 1, "no such name"));
        faults.push(at("a.yaml", 1, "no such name").hint("add it"));
        faults.push(at("a.yaml", 1, "no such name").hint("or another"));
        assert_eq!(faults.to_string(), "a.yaml:1:5: targets.shop: no such name\n  hint: add it");
    }

    #[test]
    fn no_faults_are_no_error() {
        assert_eq!(Faults::new().into_result(), Ok(()));
        let mut faults = Faults::new();
        faults.push(Fault::new("x"));
        assert!(faults.into_result().is_err());
    }
}
