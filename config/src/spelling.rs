//! What someone meant who wrote a name that is not known.

/// Fewer letters than these say little of the word that they begin.
const SHORTEST_BEGINNING: usize = 4;

/// A hint on the key that was meant, which may be one of those that name a file; else the list of known keys.
pub(crate) fn key_hint(written: &str, known: &[&str]) -> String {
    let files: Vec<String> = known.iter().map(|name| format!("{name}_file")).collect();
    let all: Vec<&str> = known.iter().copied().chain(files.iter().map(String::as_str)).collect();
    match nearest(written, &all) {
        Some(name) => format!("did you mean `{name}`?"),
        None => hint(written, known),
    }
}

/// A hint on the name that was meant, or, when none is near, the list of known names.
pub(crate) fn hint(written: &str, known: &[&str]) -> String {
    match nearest(written, known) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "nothing can be given here".to_owned(),
        None => list(known),
    }
}

/// The list of known names.
pub(crate) fn list(known: &[&str]) -> String {
    let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    format!("known here: {}", names.join(", "))
}

/// The known name that somebody may have meant who wrote another; none when none is near.
#[must_use]
pub fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let written = written.to_lowercase().replace('-', "_");
    let allowed = (written.chars().count() / 3).max(1);
    let apart = |name: &str| {
        let name = name.to_lowercase().replace('-', "_");
        // Cut short, or said at length: `user`, `username`.
        let (short, long) = if name.len() < written.len() { (&name, &written) } else { (&written, &name) };
        let is_begun = short.len() >= SHORTEST_BEGINNING && long.starts_with(short.as_str());
        let apart = distance(&written, &name);
        if is_begun { apart.min(allowed) } else { apart }
    };
    known
        .iter()
        .map(|name| (apart(name), *name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters must be put in, left out, changed or swapped with their neighbour to get from one to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let changed = above[column] + usize::from(letter != other);
            let mut best = changed.min(above[column + 1] + 1).min(line[column] + 1);
            if row > 0 && column > 0 && *letter == to[column - 1] && from[row - 1] == *other {
                best = best.min(before[column - 1] + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut above, line);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits_and_swaps() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("follow", "follow"), 0);
        assert_eq!(distance("folow", "follow"), 1);
        assert_eq!(distance("fololw", "follow"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_near_name_is_offered_else_the_list() {
        let known = ["at", "service", "follow"];
        assert_eq!(hint("folow", &known), "did you mean `follow`?");
        assert_eq!(hint("Service", &known), "did you mean `service`?");
        assert_eq!(hint("colour", &known), "known here: `at`, `service`, `follow`");
        assert_eq!(hint("roled-back", &["failed", "rolled-back"]), "did you mean `rolled-back`?");
        assert_eq!(hint("colour", &[]), "nothing can be given here");
        assert_eq!(hint("user", &["username", "password"]), "did you mean `username`?");
        assert_eq!(hint("password_for_this", &["username", "password"]), "did you mean `password`?");
        assert_eq!(hint("us", &["username", "password"]), "known here: `username`, `password`");
        assert_eq!(key_hint("keyfile", &["key", "open"]), "did you mean `key_file`?");
        assert_eq!(key_hint("kye", &["key", "open"]), "did you mean `key`?");
        assert_eq!(key_hint("colour", &["key", "open"]), "known here: `key`, `open`");
    }
}
