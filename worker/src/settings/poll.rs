//! Of the section `sources` what workers do: looking at registries. Its other entries are the ingress's.

use std::time::Duration;

use config::{Faults, Node, Span};
use serde::Deserialize;

/// How often registries are looked at where nothing is said.
const EVERY: Duration = Duration::from_secs(600);
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How registries are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Poll {
    /// What the source is called.
    pub(crate) source: String,
    /// How often.
    pub(crate) every: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    #[serde(default)]
    every: Option<Span>,
}

/// Reads the one source of the kind `poll`, where there is one; the outer none with a fault.
pub(super) fn read(root: &Node, faults: &mut Faults) -> Option<Option<Poll>> {
    let sources = root.get("sources").into_iter().flat_map(Node::entries);
    let mut polls = sources.filter(|(_, node)| node.get("kind").and_then(Node::text) == Some("poll"));
    let Some((key, node)) = polls.next() else { return Some(None) };
    let typed: Option<Typed> = node.without(&["kind"]).read(faults);
    if let Some((_, second)) = polls.next() {
        let fault = second.fault(format!("registries are looked at by the source `{}` already", key.text));
        faults.push(fault.hint("keep one source of the kind `poll`: it looks for every target"));
        return None;
    }
    let every = typed?.every.map_or(EVERY, |Span(every)| every);
    if !(SHORTEST..=LONGEST).contains(&every) {
        let at = node.get("every").unwrap_or(node);
        let fault = at.fault(format!("registries cannot be looked at every {}", Span(every)));
        faults.push(fault.hint("give from `1s` to `24h`; `10m` is the default"));
        return None;
    }
    Some(Some(Poll { source: key.text.clone(), every }))
}

#[cfg(test)]
mod tests {
    use config::Document;

    use super::*;

    fn read_text(text: &str) -> Result<Option<Poll>, String> {
        let document = Document::parse("longshore.yaml", text).unwrap();
        let mut faults = Faults::new();
        read(document.root(), &mut faults).ok_or_else(|| faults.to_string())
    }

    #[test]
    fn the_one_source_that_polls_is_found_and_the_others_are_left() {
        assert_eq!(read_text("sources: {a: {kind: plain, open: true}}\n").unwrap(), None);
        let polled = read_text("sources: {a: {kind: plain, key_file: /x}, p: {kind: poll}}\n").unwrap();
        assert_eq!(polled, Some(Poll { source: "p".to_owned(), every: EVERY }));
        for (text, why) in [
            ("sources: {p: {kind: poll, every: 0s}}\n", "cannot be looked at every 0s"),
            ("sources: {p: {kind: poll, every: 25h}}\n", "cannot be looked at every"),
            ("sources: {p: {kind: poll, evry: 1h}}\n", "evry"),
            ("sources: {p: {kind: poll}, q: {kind: poll}}\n", "sources.q: registries are looked at by"),
        ] {
            let told = read_text(text).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
