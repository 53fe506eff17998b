//! How one answer differs from another in what callers can stand on.

use serde_json::{Map, Value};

use crate::trace::Told;

/// One line for each difference of `told` from what was `recorded`; none where both are alike. The values at `same` are
/// compared as well, and in errors every text: numbers in it may differ.
pub(crate) fn differences(recorded: &Told, told: &Told, same: &[&str]) -> Vec<String> {
    if recorded.status != told.status {
        let shown = |told: &Told| format!("{} {}", told.status.unwrap_or_default(), told.body);
        return vec![format!("status: {} for {}", shown(told), shown(recorded))];
    }
    let mut found = Vec::new();
    if recorded.content.is_some() && recorded.content != told.content {
        found.push(format!("content: {:?} for {:?}", told.content, recorded.content));
    }
    if recorded.location.is_some() && recorded.location != told.location {
        found.push(format!("location: {:?} for {:?}", told.location, recorded.location));
    }
    let words_count = recorded.status.is_some_and(|status| status >= 400);
    let mut walk = Walk { same, words_count, found };
    walk.compare("$", &recorded.body, &told.body);
    walk.found
}

struct Walk<'a> {
    same: &'a [&'a str],
    words_count: bool,
    found: Vec<String>,
}

impl Walk<'_> {
    fn compare_words(&mut self, path: &str, recorded: &str, told: &str) {
        if without_numbers(recorded) != without_numbers(told) {
            self.found.push(format!("words {path}: {told:?} for {recorded:?}"));
        }
    }

    fn compare(&mut self, path: &str, recorded: &Value, told: &Value) {
        if kind(recorded) != kind(told) {
            self.found.push(format!("kind {path}: {} for {}", kind(told), kind(recorded)));
            return;
        }
        match (recorded, told) {
            (Value::Object(recorded), Value::Object(told)) => {
                for (name, value) in recorded {
                    let path = format!("{path}.{name}");
                    match told.get(name) {
                        Some(told) => self.compare(&path, value, told),
                        None => self.found.push(format!("left out {path}")),
                    }
                }
                let added = told.keys().filter(|name| !recorded.contains_key(*name));
                self.found.extend(added.map(|name| format!("added {path}.{name}")));
            }
            (Value::Array(recorded), Value::Array(told)) => match (merged(recorded), merged(told)) {
                (Some(recorded), Some(told)) => self.compare(&format!("{path}[]"), &recorded, &told),
                (None, None) => {}
                (Some(_), None) => self.found.push(format!("left out {path}[]")),
                (None, Some(_)) => self.found.push(format!("added {path}[]")),
            },
            (Value::String(recorded), Value::String(told)) if self.words_count => {
                self.compare_words(path, recorded, told);
            }
            _ if self.same.contains(&path) && recorded != told => {
                self.found.push(format!("value {path}: {told} for {recorded}"));
            }
            _ => {}
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

/// One element with whatever any of them has; none of an empty list.
fn merged(all: &[Value]) -> Option<Value> {
    all.iter().cloned().reduce(both)
}

fn both(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut fields: Map<String, Value> = one;
            for (name, value) in other {
                let value = match fields.remove(&name) {
                    Some(known) => both(known, value),
                    None => value,
                };
                fields.insert(name, value);
            }
            Value::Object(fields)
        }
        (Value::Array(one), Value::Array(other)) => Value::Array(one.into_iter().chain(other).collect()),
        (Value::Null, other) => other,
        (one, _) => one,
    }
}

/// Ids, lines and versions are each server's own.
fn without_numbers(text: &str) -> String {
    let mut plain = String::new();
    for letter in text.chars() {
        match letter.is_ascii_digit() {
            true if plain.ends_with('#') => {}
            true => plain.push('#'),
            false => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_difference_is_seen() {
        let told = |status, body| Told { status, content: Some("json".to_owned()), location: None, body };
        let recorded = told(
            Some(200),
            json!({"Id": 1, "Env": null, "All": [{"a": 1}, {"b": ""}], "State": "x", "Gone": 1}),
        );
        let answered =
            told(Some(200), json!({"Id": "1", "Env": [], "All": [{"a": 2}], "State": "y", "New": 1}));
        let mut found = differences(&recorded, &answered, &["$.State"]);
        found.sort();
        assert_eq!(
            found,
            [
                "added $.New",
                "kind $.Env: list for null",
                "kind $.Id: text for number",
                "left out $.All[].b",
                "left out $.Gone",
                "value $.State: \"y\" for \"x\"",
            ]
        );
        let said = |words: &str| told(Some(500), json!({"message": words}));
        assert!(differences(&said("yaml: line 11: no"), &said("yaml: line 1: no"), &[]).is_empty());
        assert_eq!(differences(&said("yaml: no"), &said("yaml: yes"), &[]).len(), 1);
        assert_eq!(differences(&said("no"), &told(None, Value::Null), &[]).len(), 1);
    }
}
