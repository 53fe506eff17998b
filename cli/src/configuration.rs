//! The whole configuration: each room reads its own sections, every fault of all of them is told at once.

use std::path::PathBuf;

use config::{Document, Fault, Faults, Node};

use crate::server::DEFAULT_DATA;

/// The version of the configuration's form.
const VERSION: u64 = 1;

/// Every key that may stand at the top of the file.
pub(crate) const SECTIONS: [&str; 18] = [
    "version",
    "listen",
    "hooks_listen",
    "public_url",
    "data",
    "queue",
    "keep",
    "spool",
    "sources",
    "registries",
    "secrets",
    "systems",
    "targets",
    "windows",
    "access",
    "ingress",
    "limits",
    "worker",
];

/// What runs without a file.
const DEMO: &str = include_str!("demo.yaml");

/// What every process needs, whatever it does.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) data: PathBuf,
    pub(crate) queue: queue::Settings,
    pub(crate) spool: queue::SpoolSettings,
}

/// The configuration as a file has it, and the faults found so far.
pub(crate) struct Reading {
    document: Document,
    faults: Faults,
}

impl Reading {
    /// Reads files and merges them.
    ///
    /// # Errors
    /// When one of them is no YAML at all.
    pub(crate) fn of(files: &[PathBuf]) -> Result<Reading, Faults> {
        let mut faults = Faults::new();
        let Some(document) = Document::load_into(files, &mut faults) else { return Err(faults) };
        Ok(Reading { document, faults })
    }

    /// Reads a text.
    ///
    /// # Errors
    /// When it is no YAML at all.
    pub(crate) fn of_text(name: &str, text: &str) -> Result<Reading, Faults> {
        Ok(Reading { document: Document::parse(name, text)?, faults: Faults::new() })
    }

    /// What runs without a file.
    ///
    /// # Errors
    /// Never, while its text is sound.
    pub(crate) fn of_the_demo() -> Result<Reading, Faults> {
        Ok(Reading { document: Document::parse("built-in configuration", DEMO)?, faults: Faults::new() })
    }

    /// The document, as typed.
    pub(crate) fn root(&self) -> &Node {
        self.document.root()
    }

    /// The keys that no process reads alone.
    pub(crate) fn common(&mut self) -> Option<Common> {
        let root = self.document.root();
        root.known_keys(&SECTIONS, &mut self.faults);
        version(root, &mut self.faults);
        let data = match root.get("data") {
            Some(node) => node.read(&mut self.faults),
            None => Some(PathBuf::from(DEFAULT_DATA)),
        };
        let queue = queue::Settings::read(root, &mut self.faults);
        let spool = queue::SpoolSettings::read(root, &mut self.faults);
        Some(Common { data: data?, queue: queue?, spool: spool? })
    }

    /// What an ingress reads.
    pub(crate) fn ingress(&mut self) -> Option<ingress::Settings> {
        ingress::Settings::read(&self.document, &mut self.faults)
    }

    /// What a worker reads.
    pub(crate) fn worker(&mut self) -> Option<worker::Settings> {
        worker::Settings::read(&self.document, &mut self.faults)
    }

    /// What was read, when nothing is wrong with it.
    ///
    /// # Errors
    /// Every fault found.
    pub(crate) fn finish<T>(self, read: Option<T>) -> Result<T, Faults> {
        match read {
            Some(read) if self.faults.is_empty() => Ok(read),
            Some(_) | None => Err(once(self.faults)),
        }
    }
}

fn version(root: &Node, faults: &mut Faults) {
    let Some(node) = root.get("version") else { return };
    if node.read::<u64>(faults).is_some_and(|version| version != VERSION) {
        faults.push(node.fault("this version of the configuration is not known").hint("write `version: 1`"));
    }
}

/// A key that two rooms read is told once: the first word on it stays.
fn once(faults: Faults) -> Faults {
    let mut told: Vec<Fault> = Vec::new();
    for fault in faults.iter() {
        let same = |known: &&Fault| known.place == fault.place && known.message == fault.message;
        if fault.place.is_none() || !told.iter().any(|known| same(&known)) {
            told.push(fault.clone());
        }
    }
    let mut once = Faults::new();
    told.into_iter().for_each(|fault| once.push(fault));
    once
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_configuration_is_sound() {
        let mut reading = Reading::of_the_demo().unwrap();
        let read = (reading.common(), reading.ingress(), reading.worker());
        assert!(read.0.is_some() && read.1.is_some() && read.2.is_some());
        reading.finish(Some(())).unwrap();
    }

    #[test]
    fn a_fault_that_two_rooms_find_is_told_once() {
        let document = Document::parse("a.yaml", "x: 1\n").unwrap();
        let node = document.root().get("x").unwrap();
        let mut faults = Faults::new();
        faults.push(node.fault("wrong").hint("this way"));
        faults.push(node.fault("wrong").hint("that way"));
        faults.push(node.fault("also wrong"));
        assert_eq!(once(faults).len(), 2);
    }
}
