//! How well the keys of sources keep strangers out, and each other.

use std::collections::BTreeMap;

use config::Secret;

use super::source::{Typed, lines};
use crate::{access::TokenHash, source::Source};

/// Fewer characters can be tried one after the other.
const SHORTEST: usize = 16;

/// What is wrong with a short key.
pub(super) const TOO_SHORT: &str = "has fewer than 16 characters, which can be guessed";
/// How a key is made that nobody guesses.
pub(super) const LONGER: &str =
    "make a longer one, as with `openssl rand -hex 16`, and give it to the sender too";

/// What of a source's secrets is easily guessed, by the names of the keys that hold them. No stranger can try where
/// only this machine is let in.
pub(super) fn short(typed: &Typed) -> Vec<&'static str> {
    if typed.loopback_only {
        return Vec::new();
    }
    let given = [("key", &typed.key), ("authorization", &typed.authorization), ("secret", &typed.secret)];
    given.into_iter().filter(|(_, secret)| has_short_line(secret.as_ref())).map(|(name, _)| name).collect()
}

fn has_short_line(secret: Option<&Secret>) -> bool {
    // Of a whole header the scheme in front is no secret.
    lines(secret).any(|line| line.rsplit(' ').next().unwrap_or_default().chars().count() < SHORTEST)
}

/// Says which sources have a key in common: whoever knows it may send as any of them.
pub(super) fn shared(sources: &[Source]) -> Vec<String> {
    let mut holders: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for source in sources {
        let mut of_source: Vec<String> = source.door.keys.iter().map(TokenHash::to_hex).collect();
        of_source.sort();
        of_source.dedup();
        of_source.into_iter().for_each(|key| holders.entry(key).or_default().push(&source.name));
    }
    let several = holders.into_values().filter(|names| names.len() > 1);
    let mut several: Vec<String> = several.map(|names| names.join("`, `")).collect();
    several.sort();
    several.dedup();
    let told =
        |names| format!("the sources `{names}` have the same key: whoever knows it may send as any of them");
    several.into_iter().map(told).collect()
}
