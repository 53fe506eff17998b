//! What the repository of a stack says of it beside its file, in `variables.json`: name, version, what it needs.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{
    Portainer,
    objects::Stack,
    veil::{HIDDEN, is_secret, veiled},
};

/// Its name, in the directory of the stack's file.
const FILE: &str = "variables.json";
/// Portainer clones the repository for it; a list of stacks waits no longer.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// A larger one is something else.
const LARGEST: usize = 64 * 1024;

impl Portainer {
    /// What the file holds; nothing where there is none, or none that anybody may read: Portainer tells nobody the
    /// passwords that it has, nor does it use them here.
    pub(super) async fn about(&self, stack: &Stack) -> BTreeMap<String, Value> {
        let Some(git) = &stack.git else { return BTreeMap::new() };
        if git["Authentication"].is_object() {
            return BTreeMap::new();
        }
        let beside = git["ConfigFilePath"].as_str().unwrap_or_default();
        let file = match beside.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{FILE}"),
            None => FILE.to_owned(),
        };
        let read = tokio::time::timeout(READ_WITHIN, self.client.file_in_git(git, &file)).await;
        read.ok().and_then(Result::ok).map(|text| shown(&text)).unwrap_or_default()
    }
}

fn shown(text: &str) -> BTreeMap<String, Value> {
    if text.len() > LARGEST {
        return BTreeMap::new();
    }
    // Editors of other systems begin a file with a mark.
    let mut all: BTreeMap<String, Value> =
        serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap_or_default();
    for (name, value) in &mut all {
        hide(name, value);
    }
    all
}

/// Hides whatever stands under a name that speaks of a secret, at any depth.
fn hide(name: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| hide(name, value)),
        Value::Array(all) => all.iter_mut().for_each(|value| hide(name, value)),
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) if is_secret(name) => {
            *value = Value::String(HIDDEN.to_owned());
        }
        Value::String(text) => *text = veiled(text),
        Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_hidden_and_what_is_no_such_file_is_nothing() {
        let text = "\u{feff}{\"name\": \"blog\", \"edition\": [{\"dist\": \"community\", \"version\": [\"6.4\"]}], \
                    \"login\": {\"user\": \"admin\", \"password\": \"s3cret\"}, \"api_keys\": [\"a\", \"b\"]}";
        let told = serde_json::json!(shown(text));
        let expected = serde_json::json!({
            "name": "blog",
            "edition": [{"dist": "community", "version": ["6.4"]}],
            "login": {"user": "admin", "password": "…"},
            "api_keys": ["…", "…"],
        });
        assert_eq!(told, expected);
        for text in
            ["", "<html>", "[1]", "null", "{\"a\":", &format!("{{\"a\": \"{}\"}}", "x".repeat(LARGEST))]
        {
            assert_eq!(shown(text), BTreeMap::new());
        }
    }
}
