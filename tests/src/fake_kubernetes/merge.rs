//! How patches are merged.

use serde_json::Value;

/// By what the elements of a list are the same; none where the list is replaced.
fn merge_key(list: &str) -> Option<&'static str> {
    match list {
        "containers" | "initContainers" | "ephemeralContainers" | "env" | "volumes" | "imagePullSecrets" => {
            Some("name")
        }
        "ports" => Some("containerPort"),
        "volumeMounts" => Some("mountPath"),
        _ => None,
    }
}

/// RFC 7386.
pub(super) fn merge(to: &mut Value, patch: &Value) {
    apply(to, patch, false);
}

/// Lists of things with names are merged by those. A container that is not known is added, with 200.
pub(super) fn strategic_merge(to: &mut Value, patch: &Value) {
    apply(to, patch, true);
}

fn apply(to: &mut Value, patch: &Value, by_name: bool) {
    let Value::Object(fields) = patch else {
        to.clone_from(patch);
        return;
    };
    if !to.is_object() {
        *to = Value::Object(serde_json::Map::new());
    }
    let Some(object) = to.as_object_mut() else { return };
    for (name, wished) in fields {
        match (wished, merge_key(name).filter(|_| by_name)) {
            (Value::Null, _) => {
                object.remove(name);
            }
            (Value::Array(wished), Some(key)) => {
                let list = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                let Some(list) = list.as_array_mut() else { continue };
                for one in wished {
                    match list.iter_mut().find(|known| known[key] == one[key]) {
                        Some(known) => apply(known, one, true),
                        None => list.push(one.clone()),
                    }
                }
            }
            (wished, _) => apply(object.entry(name).or_insert(Value::Null), wished, by_name),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_are_merged_by_name_and_a_merge_patch_replaces_them() {
        let object = json!({"spec": {"containers": [{"name": "a", "image": "1", "env": [{"name": "X"}]}], "args": ["x"]}});
        let patch =
            json!({"spec": {"containers": [{"name": "a", "image": "2"}], "args": ["y"], "gone": null}});
        let mut merged = object.clone();
        strategic_merge(&mut merged, &patch);
        let expected = json!({"spec": {"containers": [{"name": "a", "image": "2", "env": [{"name": "X"}]}], "args": ["y"]}});
        assert_eq!(merged, expected);
        let mut replaced = object;
        merge(&mut replaced, &patch);
        assert_eq!(replaced, json!({"spec": {"containers": [{"name": "a", "image": "2"}], "args": ["y"]}}));
    }
}
