//! The files of a configuration, merged into one tree.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::compose::compose;
use crate::node::Value;
use crate::{Fault, Faults, Node, Place};

/// A larger file is taken for a mistake.
/// Largest file that is read, in bytes.
pub const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// All files of a configuration as one tree, in which nothing is resolved yet.
#[derive(Clone, Debug)]
pub struct Document {
    root: Node,
}

impl Document {
    /// Reads files and merges them by key: maps recursively, while a later scalar or list replaces an earlier value.
    /// A key of a later file that is left without a value changes nothing; `null` takes the earlier value away.
    ///
    /// # Errors
    /// The faults of all files together: files that cannot be read, and what is not valid YAML.
    pub fn load(paths: &[PathBuf]) -> Result<Self, Faults> {
        let mut faults = Faults::new();
        let document = Self::load_into(paths, &mut faults);
        finish(document, faults)
    }

    /// As [`Document::load`], but a fault after which the rest can still be read, as a key given twice, does not
    /// keep the document back, so that the faults of its sections are found in the same run.
    pub fn load_into(paths: &[PathBuf], faults: &mut Faults) -> Option<Self> {
        let mut roots = Vec::new();
        for path in paths {
            let name = path.display().to_string();
            match read(path) {
                Ok(bytes) => {
                    roots.push(text_of(&name, &bytes, faults).and_then(|text| compose(&name, text, faults)))
                }
                Err(fault) => {
                    faults.push(fault);
                    roots.push(None);
                }
            }
        }
        let roots = roots.into_iter().collect::<Option<Vec<Node>>>()?;
        let root = roots.into_iter().reduce(merge).unwrap_or_else(Node::empty_map);
        Some(Self { root })
    }

    /// Reads one text, which is called `name` in faults.
    ///
    /// # Errors
    /// What is not valid YAML, with its line.
    pub fn parse(name: &str, text: &str) -> Result<Self, Faults> {
        let mut faults = Faults::new();
        let document = compose(name, text, &mut faults).map(|root| Self { root });
        finish(document, faults)
    }

    /// The map of sections.
    pub fn root(&self) -> &Node {
        &self.root
    }
}

fn finish(document: Option<Document>, faults: Faults) -> Result<Document, Faults> {
    match document {
        Some(document) if faults.is_empty() => Ok(document),
        Some(_) | None => Err(faults),
    }
}

fn merge(earlier: Node, later: Node) -> Node {
    if later.is_blank() {
        return earlier;
    }
    match (earlier.value, later.value) {
        (Value::Map(mut pairs), Value::Map(more)) => {
            for (key, value) in more {
                match pairs.iter_mut().find(|(known, _)| known.text == key.text) {
                    None => pairs.push((key, value)),
                    Some((_, known)) => {
                        let before = std::mem::replace(known, Node::empty_map());
                        *known = merge(before, value);
                    }
                }
            }
            Node { place: earlier.place.or(later.place), path: later.path, value: Value::Map(pairs) }
        }
        (_, value) => Node { place: later.place, path: later.path, value },
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let outcome = File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes));
    match outcome {
        Err(error) => {
            let message = format!("cannot read {}: {}", path.display(), reason(&error));
            Err(Fault::new(message).hint("check the path given with --config, and who may read the file"))
        }
        Ok(_) if bytes.len() as u64 > LARGEST_FILE => {
            let message = format!("cannot read {}: larger than 4 MiB", path.display());
            Err(Fault::new(message).hint("give the path of a Longshore configuration file"))
        }
        Ok(_) => Ok(bytes),
    }
}

fn text_of<'a>(name: &str, bytes: &'a [u8], faults: &mut Faults) -> Option<&'a str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let place = Place { file: name.into(), line, column: 1 };
            let message = "the file is not UTF-8 text from this line on".to_owned();
            let hint = Some("save the file as UTF-8".to_owned());
            faults.push(Fault { place: Some(place), path: String::new(), message, hint });
            None
        }
    }
}

/// Why a file could not be read, in words that hold on every system.
pub(crate) fn reason(error: &io::Error) -> String {
    let known = [
        (io::ErrorKind::NotFound, "there is no such file"),
        (io::ErrorKind::PermissionDenied, "this user may not read it"),
        (io::ErrorKind::IsADirectory, "it is a directory"),
    ];
    let word = known.into_iter().find(|(kind, _)| *kind == error.kind());
    word.map_or_else(|| error.to_string(), |(_, word)| word.to_owned())
}
