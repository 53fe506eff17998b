//! A patch carried out here, where nothing takes patches: as much of Kubernetes' strategic merge as is ever asked for.

use serde_json::Value;

/// Lists whose elements are told apart by their names.
const BY_NAME: [&str; 5] = ["containers", "initContainers", "env", "volumes", "imagePullSecrets"];

/// Carries `patch`, of this content type, out on `object`.
///
/// # Errors
/// What of it cannot be done here, for people; the object is as it was, or half changed, and not to be used.
pub(super) fn strategic_merge(kind: &str, object: &mut Value, patch: &Value) -> Result<(), String> {
    match kind {
        "application/strategic-merge-patch+json" => merge(object, patch, true),
        "application/merge-patch+json" => merge(object, patch, false),
        other => Err(format!("the link to the workload takes no {other}")),
    }
}

fn merge(object: &mut Value, patch: &Value, by_name: bool) -> Result<(), String> {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return Ok(());
    };
    if !object.is_object() {
        *object = Value::Object(serde_json::Map::new());
    }
    let Some(fields) = object.as_object_mut() else { return Ok(()) };
    for (key, value) in patch {
        match value {
            Value::Null => {
                fields.remove(key);
            }
            _ if key.starts_with('$') => return Err(format!("the link to the workload knows no `{key}`")),
            Value::Array(wanted) if by_name && BY_NAME.contains(&key.as_str()) => {
                merge_list(fields.entry(key).or_insert_with(|| Value::Array(Vec::new())), wanted)?;
            }
            Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                fields.insert(key.clone(), value.clone());
            }
            Value::Object(_) => merge(fields.entry(key).or_insert(Value::Null), value, by_name)?,
        }
    }
    Ok(())
}

/// Each element into the one of its name; nothing is added, which Kubernetes would do.
fn merge_list(list: &mut Value, wanted: &[Value]) -> Result<(), String> {
    for element in wanted {
        let stands = list.as_array_mut().into_iter().flatten().find(|one| one["name"] == element["name"]);
        match stands {
            Some(stands) => merge(stands, element, true)?,
            None => return Err(format!("there is no {} to change", element["name"])),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STRATEGIC: &str = "application/strategic-merge-patch+json";

    #[test]
    fn one_image_changes_and_nothing_else() {
        let pod = |image: &str, note: Option<&str>| {
            let mut object = json!({
                "metadata": {"annotations": {"by": "hand"}, "resourceVersion": "7"},
                "spec": {"template": {"spec": {
                    "containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": image, "args": [" x "]}],
                    "initContainers": [{"name": "i", "image": "i:1"}],
                }}},
            });
            if let Some(note) = note {
                object["metadata"]["annotations"]["note"] = json!(note);
            }
            object
        };
        let mut object = pod("b:1", None);
        let patch = json!({
            "metadata": {"annotations": {"note": "x", "gone": null}, "resourceVersion": "7"},
            "spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b:2"}]}}},
        });
        assert_eq!(strategic_merge(STRATEGIC, &mut object, &patch), Ok(()));
        assert_eq!(object, pod("b:2", Some("x")));
    }

    #[test]
    fn what_is_not_known_is_refused_and_never_guessed() {
        let object = json!({"spec": {"containers": [{"name": "a"}]}});
        for (kind, patch, why) in [
            (
                STRATEGIC,
                json!({"spec": {"containers": [{"name": "c", "image": "c:1"}]}}),
                "there is no \"c\"",
            ),
            (STRATEGIC, json!({"spec": {"$patch": "replace"}}), "knows no `$patch`"),
            ("application/json-patch+json", json!([]), "takes no application/json-patch+json"),
        ] {
            assert!(strategic_merge(kind, &mut object.clone(), &patch).unwrap_err().contains(why));
        }
        let mut object = json!({"a": [1], "b": {"c": 1, "d": 2}});
        let patch = json!({"a": [2], "b": {"c": null}});
        assert_eq!(strategic_merge("application/merge-patch+json", &mut object, &patch), Ok(()));
        assert_eq!(object, json!({"a": [2], "b": {"d": 2}}));
    }
}
