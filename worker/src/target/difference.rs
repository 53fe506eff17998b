//! In what two objects of a system differ.

use serde_json::{Map, Value};

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
