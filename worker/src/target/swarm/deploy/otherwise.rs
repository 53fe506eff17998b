//! In what a service, as the docker command would write it, differs from the one that stands there: field by field, in
//! the engine's own names.

use std::collections::{BTreeMap, BTreeSet};

use proto::ask::Change;
use serde_json::{Map, Value, json};

use crate::target::difference::differences;

/// Values of variables may be secret, those that stand there too: that they differ is told, and not in what.
const HIDDEN: &str = "…";
/// What an engine puts where a text says nothing.
const DEFAULTS: [(&str, &str); 9] = [
    ("Isolation", "default"),
    ("Runtime", "container"),
    ("Mode", "vip"),
    ("FailureAction", "pause"),
    ("Order", "stop-first"),
    ("Condition", "any"),
    ("Propagation", "rprivate"),
    ("Protocol", "tcp"),
    ("PublishMode", "ingress"),
];
/// Lists whose order says nothing.
const SETS: [&str; 11] = [
    "Aliases",
    "Mounts",
    "Networks",
    "Configs",
    "Secrets",
    "Ports",
    "Constraints",
    "Hosts",
    "CapabilityAdd",
    "CapabilityDrop",
    "Groups",
];
const CONTAINER: &str = "ContainerSpec";

/// The changes to the service `name`, but for its image, which is compared by itself, and what an engine or a worker
/// notes on it. `networks`: names by id.
pub(super) fn changes(
    name: &str,
    (stands, written): (&Value, &Value),
    networks: &[(String, String)],
) -> Vec<Change> {
    let mut changes = Vec::new();
    let tell = |field: String, from: Option<Value>, to: Option<Value>| {
        changes.push(Change { of: format!("service {name}"), field, from, to });
    };
    differences_of((comparable(stands, networks), comparable(written, networks)), tell);
    changes
}

fn differences_of(
    (stands, written): (Value, Value),
    mut tell: impl FnMut(String, Option<Value>, Option<Value>),
) {
    differences(&stands, &written, &mut Vec::new(), &mut |path, from, to| {
        let hide = |value: Option<&Value>| match is_of_variables(path) {
            true => value.map(|_| json!(HIDDEN)),
            false => value.cloned(),
        };
        if !is_noted(path) {
            tell(path.join("."), hide(from), hide(to));
        }
    });
}

fn is_of_variables(path: &[String]) -> bool {
    matches!(path, [_, container, env, ..] if container == CONTAINER && env == "Env")
}

/// What is no option of a text.
fn is_noted(path: &[String]) -> bool {
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    match names.as_slice() {
        ["Labels", label] => label.starts_with("longshore.") || *label == "com.docker.stack.image",
        ["TaskTemplate", CONTAINER, "Image"] | ["TaskTemplate", "ForceUpdate"] => true,
        _ => false,
    }
}

/// A spec as far as it says something: what is empty says as much as what is missing.
fn comparable(spec: &Value, networks: &[(String, String)]) -> Value {
    let mut spec = spec.clone();
    let env = spec.pointer("/TaskTemplate/ContainerSpec/Env").map(variables).unwrap_or_default();
    if let Some(Value::Object(replicated)) = spec.pointer_mut("/Mode/Replicated") {
        replicated.entry("Replicas").or_insert(json!(1));
    }
    // What the image is built for is looked up by whoever writes it.
    if let Some(Value::Object(placement)) = spec.pointer_mut("/TaskTemplate/Placement") {
        placement.shift_remove("Platforms");
    }
    let mode = spec["Mode"].take();
    let mut spec = said(&spec, networks).unwrap_or_else(|| Value::Object(Map::new()));
    // No task is a number of tasks, and every node a mode.
    spec["Mode"] = mode;
    // Each variable is told by itself, also where there was none.
    if let Some(Value::Object(container)) = spec.pointer_mut("/TaskTemplate/ContainerSpec") {
        container.insert("Env".to_owned(), json!(env));
    }
    spec
}

fn variables(env: &Value) -> BTreeMap<String, String> {
    let all = env.as_array().into_iter().flatten().filter_map(Value::as_str);
    let named = all.map(|variable| variable.split_once('=').unwrap_or((variable, "")));
    named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn said(value: &Value, networks: &[(String, String)]) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then(|| value.clone()),
        // A switch that is off in its own right, as `Init`, is told by the text alone.
        Value::Bool(is) => is.then(|| value.clone()),
        Value::Number(number) => (number.as_f64() != Some(0.0)).then(|| value.clone()),
        Value::Array(all) => {
            let all: Vec<Value> = all.iter().filter_map(|value| said(value, networks)).collect();
            (!all.is_empty()).then_some(Value::Array(all))
        }
        Value::Object(fields) => {
            let fields: Map<String, Value> = fields
                .iter()
                .filter_map(|(key, value)| {
                    Some((key.clone(), of_key(key, said(value, networks)?, networks)?))
                })
                .collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
    }
}

/// What stands behind a key, brought to the one form it can have; none where it is what an engine puts there anyway.
fn of_key(key: &str, value: Value, networks: &[(String, String)]) -> Option<Value> {
    let is_default = DEFAULTS.iter().any(|(of, default)| *of == key && value == *default);
    // Objects are told by their names: what is yet to be made has no id.
    if is_default || ["ConfigID", "SecretID"].contains(&key) {
        return None;
    }
    match value {
        Value::String(target) if key == "Target" => {
            let name = networks.iter().find(|(id, _)| *id == target).map(|(_, name)| name.clone());
            Some(json!(name.unwrap_or(target)))
        }
        Value::Array(all) if SETS.contains(&key) => {
            let sorted: BTreeMap<String, Value> = all.into_iter().map(|it| (it.to_string(), it)).collect();
            Some(sorted.into_values().collect())
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => Some(value),
    }
}

/// The networks that a service is in, as they are called in its spec.
pub(super) fn networks(spec: &Value) -> impl Iterator<Item = &str> {
    let named = spec.pointer("/TaskTemplate/Networks").and_then(Value::as_array);
    named.into_iter().flatten().filter_map(|network| network["Target"].as_str())
}

/// What would be made beside services.
pub(super) fn made(all: &[(&'static str, Value)]) -> Vec<Change> {
    let mut told = BTreeSet::new();
    let names =
        all.iter().filter_map(|(kind, spec)| Some((kind.trim_end_matches('s'), spec["Name"].as_str()?)));
    let fresh = names.filter(|named| told.insert(*named));
    let change = |(kind, name): (&str, &str)| Change {
        of: format!("{kind} {name}"),
        field: "Name".to_owned(),
        from: None,
        to: Some(json!(name)),
    };
    fresh.map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(stands: &Value, written: &Value) -> Vec<String> {
        let networks = [("n1".to_owned(), "shop_default".to_owned())];
        changes("shop_web", (stands, written), &networks).into_iter().map(|change| change.field).collect()
    }

    #[test]
    fn what_an_engine_puts_there_itself_is_no_difference() {
        let stands = json!({
            "Name": "shop_web", "Labels": {"longshore.job": "1", "com.docker.stack.image": "a:1", "team": "a"},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "a:1@sha256:0", "Env": ["B=2", "A=1"], "Isolation": "default",
                    "Privileges": {"CredentialSpec": null, "SELinuxContext": null},
                    "Configs": [{"File": {"Name": "/p"}, "ConfigID": "x1", "ConfigName": "page"}],
                },
                "Placement": {"Platforms": [{"OS": "linux"}]}, "Resources": {}, "ForceUpdate": 3, "Runtime": "container",
                "Networks": [{"Target": "n1", "Aliases": ["web"]}],
            },
            "Mode": {"Replicated": {"Replicas": 2}}, "EndpointSpec": {"Mode": "vip"},
        });
        let written = json!({
            "Name": "shop_web", "Labels": {"com.docker.stack.image": "a:2", "team": "a"},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "a:2", "Env": ["A=1", "B=2"],
                    "Configs": [{"File": {"Name": "/p"}, "ConfigID": "planned-page", "ConfigName": "page"}],
                },
                "Placement": {}, "ForceUpdate": 0, "Networks": [{"Target": "shop_default", "Aliases": ["web"]}],
            },
            "Mode": {"Replicated": {"Replicas": 2}}, "EndpointSpec": {},
        });
        assert_eq!(fields(&stands, &written), Vec::<String>::new());
    }

    #[test]
    fn whatever_differs_is_told_and_no_value_of_a_variable() {
        let stands = json!({
            "Labels": {"team": "a"}, "Mode": {"Replicated": {"Replicas": 2}},
            "TaskTemplate": {"ContainerSpec": {"Env": ["DB=sup3rs3cret", "GONE=x"], "Args": ["a", "b"]}},
        });
        let written = json!({
            "Labels": {"team": "b"}, "Mode": {"Replicated": {}},
            "TaskTemplate": {"ContainerSpec": {"Env": ["DB=", "NEW=1"], "Args": ["b", "a"]}},
            "EndpointSpec": {"Ports": [{"TargetPort": 80}]},
        });
        let told = changes("shop_web", (&stands, &written), &[]);
        let fields: Vec<&str> = told.iter().map(|change| change.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "Labels.team",
                "TaskTemplate.ContainerSpec.Env.DB",
                "TaskTemplate.ContainerSpec.Env.GONE",
                "TaskTemplate.ContainerSpec.Env.NEW",
                "TaskTemplate.ContainerSpec.Args",
                "Mode.Replicated.Replicas",
                "EndpointSpec.Ports",
            ]
        );
        assert!(!format!("{told:?}").contains("sup3rs3cret"), "{told:?}");
    }

    #[test]
    fn what_comes_beside_services_is_told_once() {
        let network = ("networks", json!({"Name": "shop_back", "Driver": "overlay"}));
        let told = made(&[network.clone(), network]);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].of.as_str(), &told[0].from), ("network shop_back", &None));
    }
}
