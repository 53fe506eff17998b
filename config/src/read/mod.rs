//! From a node to a value of a Rust type, finding every fault on the way.
//!
//! serde stops at the first error. So the value is read again and again: each error becomes a fault, what it is about
//! is left out (or, when it is missing, something is put in), until there is no error. What is said of a value that
//! was repaired inside is not believed.

mod access;
mod error;
mod reader;
mod repair;
mod stand_in;
#[cfg(test)]
mod tests;

use std::cell::RefCell;

use serde::de::DeserializeOwned;

use self::error::{ReadError, Trail, What};
use self::reader::{Attempt, Hidden, Reader};
use self::repair::Repairs;
use crate::resolve::Lookup;
use crate::{Fault, Faults, Key, Node, Place, spelling};

/// A file with more faults than this is read no further; what is left is found once these are mended.
const MOST_ATTEMPTS: usize = 500;

/// Reads a node, looking variables up with `lookup`.
pub(crate) fn read<T: DeserializeOwned>(node: &Node, lookup: &Lookup<'_>, faults: &mut Faults) -> Option<T> {
    let mut repairs = Repairs::default();
    for attempts in 0..MOST_ATTEMPTS {
        let attempt = Attempt { lookup, repairs: &repairs, hidden: RefCell::default() };
        let error = match T::deserialize(Reader { node, trail: Trail::new(), attempt: &attempt }) {
            Ok(value) => return (attempts == 0).then_some(value),
            Err(error) => error,
        };
        let hidden = attempt.hidden.into_inner();
        let found = Found { root: node, trail: error.at.clone().unwrap_or_default(), error, hidden: &hidden };
        if !found.is_consequence(&repairs) {
            faults.push(found.fault());
        }
        if !found.repair(&mut repairs) {
            return None;
        }
    }
    None
}

/// An error found in a tree.
struct Found<'a> {
    root: &'a Node,
    trail: Trail,
    error: ReadError,
    hidden: &'a [Hidden],
}

impl Found<'_> {
    /// Whether the error follows from an earlier repair, and so says nothing of the file.
    fn is_consequence(&self, repairs: &Repairs) -> bool {
        match &self.error.what {
            What::StandIn(_) => true,
            What::Unresolved(_) => false,
            What::Missing(name) => {
                let (pairs, file) = (self.node().pairs().iter(), format!("{name}_file"));
                let mut given =
                    pairs.enumerate().filter(|(_, (key, _))| key.text == *name || key.text == file);
                repairs.has_stand_in(&self.trail, name)
                    || given.any(|(index, _)| repairs.is_pruned(&[self.trail.as_slice(), &[index]].concat()))
            }
            What::Unknown { name, .. } => {
                !self.error.is_key && self.entry(name).is_none() && repairs.touch(&self.trail)
            }
            What::Twice(_) | What::Variant { .. } | What::Mismatch { .. } | What::Said(_) => {
                !self.error.is_key && repairs.touch(&self.trail)
            }
        }
    }

    /// Leaves out, or puts in, what makes the error go away; false when nothing more can be done.
    fn repair(self, repairs: &mut Repairs) -> bool {
        match &self.error.what {
            What::StandIn(name) => repairs.next_candidate(&self.trail, name) || repairs.prune(self.trail),
            What::Missing(name) => repairs.put_in(self.trail.clone(), name) || repairs.prune(self.trail),
            What::Unknown { name, .. } if !self.error.is_key => match self.entry(name) {
                Some((index, _)) => repairs.prune([self.trail.as_slice(), &[index]].concat()),
                None => repairs.prune(self.trail),
            },
            What::Unknown { .. }
            | What::Twice(_)
            | What::Variant { .. }
            | What::Mismatch { .. }
            | What::Said(_)
            | What::Unresolved(_) => repairs.prune(self.trail),
        }
    }

    fn fault(&self) -> Fault {
        let node = self.node();
        let place = if self.error.is_key { self.key().map(|key| key.place.clone()) } else { None };
        let at = |place: Option<Place>, message: String, hint: Option<String>| Fault {
            place: place.or_else(|| node.place.clone()),
            path: node.path.clone(),
            message,
            hint,
        };
        match &self.error.what {
            What::Missing(name) => at(place, format!("`{name}` is missing"), Some(missing_hint(name))),
            What::Unknown { name, known } => match self.entry(name) {
                Some((_, (key, value))) if !self.error.is_key => value.unknown(key, known),
                _ => at(place, format!("unknown key `{name}`"), Some(spelling::key_hint(name, known))),
            },
            What::Twice(name) => {
                at(place, format!("`{name}` is given twice"), Some("keep one of them".to_owned()))
            }
            What::Variant { name, known } => {
                let (message, shown) = (format!("unknown value `{name}`"), spelling::hint(name, known));
                match self.first_hidden() {
                    Some(hidden) => at(
                        place,
                        format!("the value from {} is not known here", hidden.origin),
                        Some(spelling::list(known)),
                    ),
                    None => at(place, message, Some(shown)),
                }
            }
            What::Mismatch { expected, found, kind } => {
                let found = if self.first_hidden().is_some() { kind } else { found.as_str() };
                at(place, format!("expected {expected}, found {found}"), mismatch_hint(expected, kind))
            }
            What::Said(said) => match self.shown_by(said) {
                Some(hidden) => at(
                    place,
                    format!("the value from {} is not accepted here", hidden.origin),
                    Some("the reason is not shown, because it repeats the value".to_owned()),
                ),
                None => match said.split_once("\nhint: ") {
                    Some((message, hint)) => at(place, message.to_owned(), Some(hint.to_owned())),
                    None => at(place, said.clone(), None),
                },
            },
            What::Unresolved(problem) => at(place, problem.message.clone(), Some(problem.hint.clone())),
            What::StandIn(_) => at(place, "the value cannot be read".to_owned(), None),
        }
    }

    /// The value the error is about.
    fn node(&self) -> &Node {
        follow(self.root, &self.trail)
    }

    /// The key that value belongs to.
    fn key(&self) -> Option<&Key> {
        let (last, before) = self.trail.split_last()?;
        follow(self.root, before).pairs().get(*last).map(|(key, _)| key)
    }

    /// The entry of this map that has a name.
    fn entry(&self, name: &str) -> Option<(usize, &(Key, Node))> {
        self.node().pairs().iter().enumerate().find(|(_, (key, _))| key.text == name)
    }

    /// A value put into this node, or into one inside it, that must not be shown.
    fn first_hidden(&self) -> Option<&Hidden> {
        self.hidden.iter().find(|hidden| hidden.trail.starts_with(&self.trail))
    }

    /// The value, if any, that this text gives away.
    fn shown_by(&self, text: &str) -> Option<&Hidden> {
        let mut inside = self.hidden.iter().filter(|hidden| hidden.trail.starts_with(&self.trail));
        inside.find(|hidden| gives_away(text, hidden.value.expose()))
    }
}

/// The value at the end of a trail.
fn follow<'a>(root: &'a Node, trail: &[usize]) -> &'a Node {
    trail.iter().fold(root, |node, index| {
        let item = node.list().get(*index);
        item.or_else(|| node.pairs().get(*index).map(|(_, value)| value)).unwrap_or(node)
    })
}

/// Whether a text repeats a value or a good part of it; very short values count as whole words only.
fn gives_away(text: &str, value: &str) -> bool {
    let (text, value) = (text.to_lowercase(), value.trim().to_lowercase());
    let letters: Vec<char> = value.chars().collect();
    if letters.len() < 4 {
        return text.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == value)
            || text.contains(&format!("`{value}`"));
    }
    letters.windows(letters.len().min(8)).any(|run| text.contains(&run.iter().collect::<String>()))
}

fn missing_hint(name: &str) -> String {
    if ["password", "secret", "token", "key"].iter().any(|kind| name.ends_with(kind)) {
        format!("give `{name}_file`, the path of a file that holds it, or `{name}`")
    } else {
        format!("add `{name}: …` here")
    }
}

fn mismatch_hint(expected: &str, kind: &str) -> Option<String> {
    match (expected, kind) {
        ("text", "nothing") => Some("give it a value, or leave the key out".to_owned()),
        ("true or false", "text") => Some("write `true` or `false`, without quotes".to_owned()),
        (expected, "text") if expected.starts_with("a whole number") => {
            Some("write the digits alone, without quotes or a unit".to_owned())
        }
        ("text", "a list" | "a map") => Some("write one text, in quotes where it holds a `:`".to_owned()),
        ("a map", _) => Some("write its keys below it, or `{key: value}`".to_owned()),
        ("a list", _) => Some("write `[one, another]`, or each on a line of its own behind `- `".to_owned()),
        _ => None,
    }
}
