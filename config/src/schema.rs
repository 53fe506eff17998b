//! The JSON Schema for editors, in which a secret may also stand in a file.

use schemars::Schema;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::{Map, Value, json};

/// Beside every property that is a [`Secret`](crate::Secret), allows `<name>_file`, the path of a file that holds it.
/// A secret that is required is then required in one of the two forms, and never taken in both.
pub fn allow_secret_files(schema: &mut Schema) {
    SecretFiles.transform(schema);
}

struct SecretFiles;

impl Transform for SecretFiles {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(object) = schema.as_object_mut() {
            for name in secrets(object) {
                add_file(object, &name);
            }
        }
        transform_subschemas(self, schema);
    }
}

/// The properties that are secrets and have no `_file` beside them yet.
fn secrets(object: &Map<String, Value>) -> Vec<String> {
    let Some(properties) = object.get("properties").and_then(Value::as_object) else {
        return Vec::new();
    };
    let is_secret = |schema: &Value| schema["format"] == "password" && schema["writeOnly"] == true;
    let found = properties.iter().filter(|(_, schema)| is_secret(schema)).map(|(name, _)| name.clone());
    found.filter(|name| !properties.contains_key(&format!("{name}_file"))).collect()
}

fn add_file(object: &mut Map<String, Value>, name: &str) {
    let file = format!("{name}_file");
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        let description = format!("Path of a file that holds `{name}`.");
        properties
            .insert(file.clone(), json!({"type": "string", "minLength": 1, "description": description}));
    }
    let rule = if no_longer_required(object, name) {
        json!({"oneOf": [{"required": [name]}, {"required": [file]}]})
    } else {
        json!({"not": {"required": [name, file]}})
    };
    match object.get_mut("allOf").and_then(Value::as_array_mut) {
        Some(rules) => rules.push(rule),
        None => {
            object.insert("allOf".to_owned(), json!([rule]));
        }
    }
}

/// Takes a name off the list of required ones; tells whether it was on it.
fn no_longer_required(object: &mut Map<String, Value>, name: &str) -> bool {
    let Some(required) = object.get_mut("required").and_then(Value::as_array_mut) else {
        return false;
    };
    let before = required.len();
    required.retain(|required| required != name);
    let (found, none_left) = (required.len() < before, required.is_empty());
    if none_left {
        object.remove("required");
    }
    found
}

#[cfg(test)]
mod tests {
    use schemars::{JsonSchema, schema_for};
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::{Bytes, Secret, Span};

    /// A registry.
    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Registry {
        username: String,
        /// What opens it.
        password: Secret,
        token: Option<Secret>,
        key: Secret,
        key_file: String,
    }

    #[derive(Deserialize, JsonSchema)]
    #[allow(dead_code)]
    struct Section {
        registries: Vec<Registry>,
        every: Span,
        most: Bytes,
    }

    #[test]
    fn a_secret_may_stand_in_a_file() {
        let mut schema = schema_for!(Section);
        allow_secret_files(&mut schema);
        let registry = &schema.as_value()["$defs"]["Registry"];
        assert_eq!(registry["required"], json!(["username", "key", "key_file"]));
        assert_eq!(
            registry["properties"]["password_file"],
            json!({"type": "string", "minLength": 1, "description": "Path of a file that holds `password`."})
        );
        assert_eq!(
            registry["allOf"],
            json!([
                {"oneOf": [{"required": ["password"]}, {"required": ["password_file"]}]},
                {"not": {"required": ["token", "token_file"]}}
            ])
        );
        assert_eq!(registry["properties"]["password"]["description"], "What opens it.");
        assert!(registry["properties"].get("key_file_file").is_none());
        assert_eq!(registry["additionalProperties"], false);
    }

    #[test]
    fn a_schema_without_secrets_is_left_as_it_is() {
        let mut schema = schema_for!(Span);
        let before = schema.clone();
        allow_secret_files(&mut schema);
        assert_eq!(schema, before);
    }
}
