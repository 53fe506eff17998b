//! The `keep` section: how long what was said and what died is kept, and how much of it.

use std::time::Duration;

use config::{Bytes, Faults, Node, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the history must span, since workers decide from it: the longest hold, and twice the longest deadline.
pub(crate) const SPAN: Duration = Duration::from_secs(9 * 24 * 60 * 60);

/// Who gets to hear of a dead deploy should have this long to look at it.
const SHORTEST_LETTERS: Duration = DAY;

/// Beyond any use, and far from where a broker's arithmetic ends.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// A broker drops a segment of a stream as a whole, and never the last.
const LEAST_BYTES: u64 = 64 << 20;

const MOST_JOBS: u64 = 1_000_000;

/// What is kept, for how long, and how much of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// What was said of each deploy: at least nine days of it, since workers decide from it which deploy is newer.
    pub history: Kept,
    /// What could not be carried out, until it is replayed or discarded: at least one day.
    pub letters: Kept,
    /// What waits in the embedded queue; RabbitMQ's own queues have bounds of their own.
    pub waiting: Waiting,
}

/// How long something is kept, and how much of it: whichever is reached first, the oldest goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kept {
    /// How long, ten years at most.
    pub age: Span,
    /// How large it may be altogether, at least 64 MiB.
    pub bytes: Bytes,
}

/// How much may wait; more is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Waiting {
    /// How many jobs, of all pools together.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub jobs: u64,
    /// How large they may be together.
    pub bytes: Bytes,
}

impl Default for Kept {
    fn default() -> Kept {
        Kept { age: Span(30 * DAY), bytes: Bytes(4 << 30) }
    }
}

impl Default for Waiting {
    fn default() -> Waiting {
        Waiting { jobs: 250_000, bytes: Bytes(1 << 30) }
    }
}

impl Keep {
    /// Reads the key `keep` of a configuration. `on_a_broker`: what waits there is bounded by the broker's queues.
    ///
    /// Every fault found is pushed; the answer is none exactly when there was one.
    pub(super) fn read(root: &Node, on_a_broker: bool, faults: &mut Faults) -> Option<Keep> {
        let Some(section) = root.get("keep") else { return Some(Keep::default()) };
        let keep: Keep = section.read(faults)?;
        let mut found = Faults::new();
        keep.history.check(section.get("history"), SPAN, &mut found);
        keep.letters.check(section.get("letters"), SHORTEST_LETTERS, &mut found);
        if let Some(node) = section.get("waiting") {
            keep.waiting.check(node, on_a_broker, &mut found);
        }
        let sound = found.is_empty();
        faults.append(found);
        sound.then_some(keep)
    }
}

impl Kept {
    fn check(&self, node: Option<&Node>, shortest: Duration, faults: &mut Faults) {
        let Some(node) = node else { return };
        if !(shortest..=LONGEST).contains(&self.age.0) {
            let hint = format!("from `{}` to `{}`", Span(shortest), Span(LONGEST));
            faults.push(node.get("age").unwrap_or(node).fault("it cannot be kept for so long").hint(hint));
        }
        if self.bytes.0 < LEAST_BYTES {
            let hint = format!("at least `{}`", Bytes(LEAST_BYTES));
            faults.push(node.get("bytes").unwrap_or(node).fault("this is too little to keep").hint(hint));
        }
    }
}

impl Waiting {
    fn check(&self, node: &Node, on_a_broker: bool, faults: &mut Faults) {
        if on_a_broker {
            let hint = "leave it out: a pool's queue on RabbitMQ holds 100000 jobs and 1 GiB; `spool` bounds what \
                        waits while the broker is away";
            faults.push(node.fault("only the embedded queue can be bounded so").hint(hint));
            return;
        }
        if !(1..=MOST_JOBS).contains(&self.jobs) {
            let node = node.get("jobs").unwrap_or(node);
            faults.push(node.fault("this many jobs cannot wait").hint("from 1 to 1000000"));
        }
        if self.bytes.0 == 0 {
            let node = node.get("bytes").unwrap_or(node);
            faults.push(node.fault("nothing could wait in no bytes").hint("write an amount, as in `1GiB`"));
        }
    }
}

#[cfg(test)]
mod tests {
    use config::Document;

    use super::*;

    fn read(text: &str, on_a_broker: bool) -> Result<Keep, String> {
        let mut faults = Faults::new();
        let document = Document::parse("l.yaml", text).unwrap();
        Keep::read(document.root(), on_a_broker, &mut faults).ok_or_else(|| faults.to_string())
    }

    #[test]
    fn each_bound_is_read_or_as_it_is_by_default() {
        for on_a_broker in [false, true] {
            assert_eq!(read("version: 1", on_a_broker), Ok(Keep::default()));
            let keep = read("keep: {letters: {age: 90d}, history: {bytes: 1GiB}}", on_a_broker).unwrap();
            assert_eq!(keep.letters, Kept { age: Span(90 * DAY), ..Kept::default() });
            assert_eq!(keep.history, Kept { bytes: Bytes(1 << 30), ..Kept::default() });
        }
        let keep = read("keep: {waiting: {bytes: 10MiB}}", false).unwrap();
        assert_eq!(keep.waiting, Waiting { jobs: 250_000, bytes: Bytes(10 << 20) });
    }

    #[test]
    fn what_keeps_too_little_or_for_ever_is_a_fault_in_its_place() {
        for (text, place) in [
            ("keep: {history: {age: 8d}}", "l.yaml:1:23"),
            ("keep: {history: {age: 3651d}}", "l.yaml:1:23"),
            ("keep: {history: {bytes: 63MiB}}", "l.yaml:1:25"),
            ("keep: {letters: {age: 23h}}", "l.yaml:1:23"),
            ("keep: {letters: {bytes: 0}}", "l.yaml:1:25"),
            ("keep: {waiting: {jobs: 0}}", "l.yaml:1:24"),
            ("keep: {waiting: {jobs: 1000001}}", "l.yaml:1:24"),
            ("keep: {waiting: {bytes: 0}}", "l.yaml:1:25"),
            ("keep: {days: 3}", "l.yaml:1:8"),
        ] {
            let fault = read(text, false).unwrap_err();
            assert!(fault.starts_with(place), "{text}: {fault}");
        }
        let both = read("keep: {history: {age: 8d}, letters: {age: 1h}}", false).unwrap_err();
        assert!(both.contains("keep.history.age") && both.contains("keep.letters.age"), "{both}");
    }

    #[test]
    fn what_waits_on_a_broker_is_bounded_there() {
        let fault = read("keep: {waiting: {jobs: 5}}", true).unwrap_err();
        assert!(fault.starts_with("l.yaml:1:17: keep.waiting: only the embedded queue"), "{fault}");
    }
}
