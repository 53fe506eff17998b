//! In what two objects of a system differ.

use config::{Document, Node};
use serde_json::{Map, Value, json};

/// Calls `tell` with the path of each field that differs: objects are compared key by key, all else whole.
pub(in crate::target) fn differences(
    from: &Value,
    to: &Value,
    path: &mut Vec<String>,
    tell: &mut impl FnMut(&[String], Option<&Value>, Option<&Value>),
) {
    let (Value::Object(before), Value::Object(after)) = (from, to) else {
        if from != to {
            tell(path, Some(from), Some(to));
        }
        return;
    };
    let added = after.keys().filter(|key| !before.contains_key(*key));
    for key in before.keys().chain(added) {
        path.push(key.clone());
        match (before.get(key), after.get(key)) {
            (Some(from), Some(to)) => differences(from, to, path, tell),
            // A map that was added with nothing in it is no difference.
            (None, Some(Value::Object(added))) => {
                differences(&Value::Object(Map::new()), &Value::Object(added.clone()), path, tell);
            }
            (from, to) => tell(path, from, to),
        }
        path.pop();
    }
}

/// What a compose text says; none where it cannot be read.
pub(in crate::target) fn said(text: &str) -> Option<Value> {
    Some(value(Document::parse("compose text", text).ok()?.root()))
}

fn value(node: &Node) -> Value {
    if node.is_list() {
        return node.items().map(value).collect();
    }
    let fields: Map<String, Value> =
        node.entries().map(|(key, node)| (key.text.clone(), value(node))).collect();
    // A map with nothing in it says as much as a key with nothing behind it.
    if fields.is_empty() { json!(node.text().unwrap_or_default()) } else { Value::Object(fields) }
}

/// Whether a path of a compose text leads to a service as a whole or to its image: these are compared with what stands.
pub(in crate::target) fn is_of_services(path: &[String]) -> bool {
    match path {
        [section, _] => section == "services",
        [section, _, option] => section == "services" && option == "image",
        _ => false,
    }
}
