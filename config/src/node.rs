//! A YAML value that knows where it stands.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::{Fault, Faults, Place, spelling};

/// Longer paths are cut here, so that hostile nesting of long keys stays cheap.
const LONGEST_PATH: usize = 512;

/// A key of a map and where it stands. Keys are taken as typed; `${NAME}` in them is not replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key as typed, quotes removed.
    pub text: String,
    /// Where the key stands.
    pub place: Place,
}

/// A YAML value that knows its place in the file and the keys that lead to it.
///
/// Nothing in it is resolved: `${NAME}` and `*_file` are, when [`Node::read`] reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct Node {
    pub(crate) place: Option<Place>,
    pub(crate) path: String,
    pub(crate) value: Value,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Scalar { text: String, style: Style },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// How a scalar came to be, which decides what it may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without quotes: may be a number, true, false or nothing.
    Plain,
    /// In quotes or a block: text, whatever it says.
    Quoted,
    /// The content of a file: `${NAME}` in it is not replaced.
    File,
}

/// Shows where the value stands and not the value, which may hold secrets.
impl fmt::Debug for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Node").field("path", &self.path).field("place", &self.place).finish_non_exhaustive()
    }
}

impl Node {
    pub(crate) fn empty_map() -> Self {
        Self { place: None, path: String::new(), value: Value::Map(Vec::new()) }
    }

    /// Where the value stands; none only for a document that is empty.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The keys that lead here, as in `targets.shop.follow[1]`; empty at the top.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value of a key; none when there is no such key or this is not a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().find(|(known, _)| known.text == key).map(|(_, value)| value)
    }

    /// The keys and values of a map in the order of the file; nothing when this is not a map.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Node)> {
        self.pairs().iter().map(|(key, value)| (key, value))
    }

    /// The items of a list; nothing when this is not a list.
    pub fn items(&self) -> impl Iterator<Item = &Node> {
        self.list().iter()
    }

    /// Whether this is a map.
    pub fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    /// Whether this is a list.
    pub fn is_list(&self) -> bool {
        matches!(self.value, Value::List(_))
    }

    /// Whether this is a scalar without quotes, which may be a number, true, false or nothing.
    pub fn is_plain(&self) -> bool {
        matches!(self.value, Value::Scalar { style: Style::Plain, .. })
    }

    /// A scalar as typed, `${NAME}` unresolved; none for maps and lists.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The same map less these keys: a room reads `kind` itself, then the rest into that kind's struct.
    #[must_use]
    pub fn without(&self, keys: &[&str]) -> Node {
        match &self.value {
            Value::Map(pairs) => {
                let kept = pairs.iter().filter(|(key, _)| !keys.contains(&key.text.as_str()));
                Node { value: Value::Map(kept.cloned().collect()), ..self.clone_empty() }
            }
            Value::Scalar { .. } | Value::List(_) => self.clone(),
        }
    }

    /// A fault of this value.
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { place: self.place.clone(), path: self.path.clone(), message: message.into(), hint: None }
    }

    /// Makes a fault of each key of this map that is not known, with a hint on the one that was meant.
    pub fn known_keys(&self, known: &[&str], faults: &mut Faults) {
        for (key, value) in self.entries() {
            if !known.contains(&key.text.as_str()) {
                faults.push(value.unknown(key, known));
            }
        }
    }

    /// Reads this value as a `T`, resolving `${NAME}` and `*_file` on the way.
    ///
    /// Every fault found is pushed; the answer is none exactly when there was one.
    pub fn read<T: DeserializeOwned>(&self, faults: &mut Faults) -> Option<T> {
        crate::read::read(self, &|name| std::env::var(name), faults)
    }

    pub(crate) fn pairs(&self) -> &[(Key, Node)] {
        match &self.value {
            Value::Map(pairs) => pairs,
            Value::Scalar { .. } | Value::List(_) => &[],
        }
    }

    pub(crate) fn list(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Scalar { .. } | Value::Map(_) => &[],
        }
    }

    /// Whether nothing at all is typed here, as after a key without a value.
    pub(crate) fn is_blank(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, style: Style::Plain } if text.is_empty())
    }

    /// The fault of a key that is not known, whose value is this.
    pub(crate) fn unknown(&self, key: &Key, known: &[&str]) -> Fault {
        Fault {
            place: Some(key.place.clone()),
            path: self.path.clone(),
            message: format!("unknown key `{}`", key.text),
            hint: Some(spelling::key_hint(&key.text, known)),
        }
    }

    /// The same value under another path, as an alias or a merge key puts it there.
    pub(crate) fn moved(&self, path: &str) -> Node {
        let value = match &self.value {
            Value::Scalar { .. } => self.value.clone(),
            Value::List(items) => {
                let moved = items.iter().enumerate();
                Value::List(moved.map(|(index, item)| item.moved(&item_path(path, index))).collect())
            }
            Value::Map(pairs) => {
                let moved = pairs.iter();
                Value::Map(
                    moved
                        .map(|(key, value)| (key.clone(), value.moved(&key_path(path, &key.text))))
                        .collect(),
                )
            }
        };
        Node { place: self.place.clone(), path: path.to_owned(), value }
    }

    fn clone_empty(&self) -> Node {
        Node { place: self.place.clone(), path: self.path.clone(), value: Value::Map(Vec::new()) }
    }
}

/// The path of a key's value; a key that would make the path ambiguous stands in brackets.
pub(crate) fn key_path(path: &str, key: &str) -> String {
    if path.len() + key.len() > LONGEST_PATH {
        return path.to_owned();
    }
    let simple = |letter: char| letter.is_alphanumeric() || "_-/$".contains(letter);
    if key.is_empty() || !key.chars().all(simple) {
        return format!("{path}[{key:?}]");
    }
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The path of an item of a list.
pub(crate) fn item_path(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

#[cfg(test)]
mod tests {
    use crate::{Document, Faults};

    const TEXT: &str = "targets:\n  shop: {kind: a, follow: [x, y]}\n  \"har.bor\": {folow: 1}\n";

    #[test]
    fn values_know_their_place_and_path() {
        let document = Document::parse("l.yaml", TEXT).unwrap();
        let shop = document.root().get("targets").unwrap().get("shop").unwrap();
        assert_eq!(shop.path(), "targets.shop");
        assert_eq!(shop.place().unwrap().to_string(), "l.yaml:2:9");
        let second = shop.get("follow").unwrap().items().nth(1).unwrap();
        assert_eq!(second.path(), "targets.shop.follow[1]");
        assert_eq!(second.place().unwrap().to_string(), "l.yaml:2:31");
        assert_eq!(second.text(), Some("y"));
        let harbor = document.root().get("targets").unwrap().get("har.bor").unwrap();
        assert_eq!(harbor.path(), "targets[\"har.bor\"]");
    }

    #[test]
    fn without_leaves_keys_out_and_keeps_the_place() {
        let document = Document::parse("l.yaml", TEXT).unwrap();
        let shop = document.root().get("targets").unwrap().get("shop").unwrap();
        let rest = shop.without(&["kind"]);
        assert!(rest.is_map());
        assert_eq!(rest.entries().map(|(key, _)| key.text.as_str()).collect::<Vec<_>>(), ["follow"]);
        assert_eq!((rest.place(), rest.path()), (shop.place(), shop.path()));
    }

    #[test]
    fn unknown_keys_are_faults_with_a_hint() {
        let document = Document::parse("l.yaml", TEXT).unwrap();
        let mut faults = Faults::new();
        let harbor = document.root().get("targets").unwrap().get("har.bor").unwrap();
        harbor.known_keys(&["follow", "kind"], &mut faults);
        document.root().known_keys(&["sources"], &mut faults);
        assert_eq!(
            faults.to_string(),
            "l.yaml:1:1: targets: unknown key `targets`\n  hint: known here: `sources`\n\
             l.yaml:3:15: targets[\"har.bor\"].folow: unknown key `folow`\n  hint: did you mean `follow`?"
        );
    }

    #[test]
    fn a_value_makes_faults_of_its_own() {
        let document = Document::parse("l.yaml", TEXT).unwrap();
        let fault = document.root().get("targets").unwrap().fault("no good").hint("mend it");
        assert_eq!(fault.to_string(), "l.yaml:2:3: targets: no good\n  hint: mend it");
    }
}
