//! The form that Rancher gives to a workload, and what it makes of one that is put in that form. What gets lost on the
//! way gets lost here too: each loss was seen on a real Rancher 2.2 or 2.4.3.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Where Rancher notes the ports of a pod.
const PORTS: &str = "field.cattle.io/ports";

/// A workload as its own API shows it. `generation` and `resourceVersion` are not: nobody can tell from this whether
/// a rollout is theirs.
pub(super) fn shown(object: &Value, project: &str) -> Value {
    let (metadata, template) = (&object["metadata"], template(object));
    let pod = &template["spec"];
    let kind = object["kind"].as_str().unwrap_or_default();
    let mut containers: Vec<Value> = Vec::new();
    for (list, is_init) in [("containers", false), ("initContainers", true)] {
        let all = pod[list].as_array().into_iter().flatten();
        containers.extend(all.map(|container| shown_container(container, is_init)));
    }
    let status = &object["status"];
    let is_ready = status["replicas"].as_u64() == status["readyReplicas"].as_u64();
    let mut workload = json!({
        "id": format!("{}:{}:{}", kind.to_lowercase(), text(&metadata["namespace"]), text(&metadata["name"])),
        "type": lower_first(kind), "baseType": "workload",
        "name": metadata["name"], "namespaceId": metadata["namespace"], "projectId": format!("c-l5nxb:{project}"),
        "uuid": metadata["uid"],
        "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"],
        "workloadLabels": metadata["labels"], "workloadAnnotations": metadata["annotations"],
        "containers": containers, "imagePullSecrets": pod["imagePullSecrets"],
        "scale": object["spec"]["replicas"], "selector": object["spec"]["selector"],
        "restartPolicy": pod["restartPolicy"],
        // `active` in the middle of a rollout as well.
        "state": if is_ready { "active" } else { "updating" },
        "transitioning": if is_ready { "no" } else { "yes" },
    });
    if let Some(selector) = pod["nodeSelector"].as_object() {
        let rules: Vec<String> =
            selector.iter().map(|(key, value)| format!("{key} = {}", text(value))).collect();
        workload["scheduling"] = json!({"node": {"requireAll": rules}});
    }
    workload[format!("{}Status", lower_first(kind))] = status.clone();
    without_nulls(workload)
}

/// What is not there is not shown.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let told = fields.into_iter().filter(|(_, value)| !value.is_null());
            told.map(|(name, value)| (name, without_nulls(value))).collect()
        }
        Value::Array(all) => all.into_iter().map(without_nulls).collect(),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

/// Probes are flattened, a command is an entry point, arguments are a command, and variables are a map.
fn shown_container(container: &Value, is_init: bool) -> Value {
    let mut shown = json!({
        "name": container["name"], "image": container["image"], "initContainer": is_init,
        "imagePullPolicy": container["imagePullPolicy"], "resources": container["resources"],
        "entrypoint": container["command"], "command": container["args"],
        "volumeMounts": container["volumeMounts"],
    });
    let mut environment = Map::new();
    for variable in container["env"].as_array().into_iter().flatten() {
        environment.insert(text(&variable["name"]), variable["value"].clone());
    }
    if !environment.is_empty() {
        shown["environment"] = Value::Object(environment);
    }
    if let Some(ports) = container["ports"].as_array() {
        let port = |port: &Value| json!({"containerPort": port["containerPort"], "name": port["name"], "kind": "ClusterIP"});
        shown["ports"] = ports.iter().map(port).collect();
    }
    for probe in ["readinessProbe", "livenessProbe"] {
        if let Some(get) = container[probe]["httpGet"].as_object() {
            shown[probe] = json!({"path": get.get("path"), "port": get.get("port")});
        }
    }
    shown
}

/// What becomes of the object that stands there when `body` is put: objects are merged, lists and free maps replaced.
pub(super) fn written(
    body: &Value,
    live: &Value,
    registries: &BTreeMap<String, String>,
) -> Result<Value, String> {
    let mut object = live.clone();
    if let Some(scale) = body["scale"].as_u64() {
        // What was copied once undoes an autoscaler.
        object["spec"]["replicas"] = json!(scale);
    }
    let touches_pods =
        ["imagePullSecrets", "restartPolicy", "scheduling"].iter().any(|key| !body[*key].is_null());
    let Some(put) = body["containers"].as_array() else {
        if touches_pods {
            return Err("spec.template.spec.containers: Required value".to_owned());
        }
        let template = template_mut(&mut object);
        replace_free(template, body);
        return Ok(object);
    };
    let before = images(template(live));
    let template = template_mut(&mut object);
    put_containers(template, put);
    let is_new = images(template) != before;
    put_pull_secrets(template, body, is_new, registries);
    let has_ports =
        put.iter().any(|container| container["ports"].as_array().is_some_and(|all| !all.is_empty()));
    if has_ports {
        // Whatever else was noted on the pods goes, unless the body brings it along.
        let kept = body["annotations"].as_object().cloned().unwrap_or_default();
        template["metadata"]["annotations"] = Value::Object(kept);
        template["metadata"]["annotations"][PORTS] = json!("[[]]");
    } else {
        replace_free(template, body);
    }
    if !body["scheduling"]["node"]["requireAll"].is_null() {
        let rules = body["scheduling"]["node"]["requireAll"].clone();
        template["spec"]["affinity"] = json!({"nodeAffinity": {"required": rules}});
    }
    Ok(object)
}

/// Labels and annotations are replaced whole.
fn replace_free(template: &mut Value, body: &Value) {
    for key in ["labels", "annotations"] {
        if let Some(map) = body[key].as_object() {
            template["metadata"][key] = Value::Object(map.clone());
        }
    }
}

/// Every container that is not in the body goes, and of those that are, everything that is not.
fn put_containers(template: &mut Value, put: &[Value]) {
    let (init, plain): (Vec<&Value>, Vec<&Value>) =
        put.iter().partition(|container| container["initContainer"] == true);
    let all = |list: Vec<&Value>| Value::Array(list.into_iter().map(put_container).collect());
    if init.is_empty() {
        if let Some(pod) = template["spec"].as_object_mut() {
            pod.remove("initContainers");
        }
    } else {
        template["spec"]["initContainers"] = all(init);
    }
    template["spec"]["containers"] = all(plain);
}

fn put_container(put: &Value) -> Value {
    let mut container = json!({"name": put["name"], "image": put["image"]});
    for (from, to) in [
        ("imagePullPolicy", "imagePullPolicy"),
        ("resources", "resources"),
        ("volumeMounts", "volumeMounts"),
        ("entrypoint", "command"),
    ] {
        if !put[from].is_null() {
            container[to] = put[from].clone();
        }
    }
    // What its own form says of its kinds is not Kubernetes'.
    if let Some(resources) = container["resources"].as_object_mut() {
        resources.remove("type");
    }
    if let Some(words) = put["command"].as_array() {
        // Blanks at both ends of an argument go.
        container["args"] = words.iter().map(|word| json!(text(word).trim())).collect();
    }
    if let Some(map) = put["environment"].as_object() {
        // In the order of the map, not in that of the list that it was.
        let sorted: BTreeMap<&String, &Value> = map.iter().collect();
        container["env"] = sorted.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    }
    if let Some(ports) = put["ports"].as_array().filter(|ports| !ports.is_empty()) {
        // A port without a name gets one.
        let named = |port: &Value| match port["name"].as_str() {
            Some(name) => name.to_owned(),
            None => format!("{}tcp01", port["containerPort"]),
        };
        container["ports"] = ports
            .iter()
            .map(|port| json!({"name": named(port), "containerPort": port["containerPort"]}))
            .collect();
    }
    for probe in ["readinessProbe", "livenessProbe"] {
        if put[probe].is_object() {
            container[probe] = json!({"httpGet": {"path": put[probe]["path"], "port": put[probe]["port"]}});
        }
    }
    container
}

/// Secrets for pulling are reckoned anew whenever an image differs, though the body carries them (rancher#36971,
/// #18408, #15994; the same code from 2.0.7 to 2.15): Rancher's own for the new image's registry, or none.
fn put_pull_secrets(template: &mut Value, body: &Value, is_new: bool, registries: &BTreeMap<String, String>) {
    let secrets = if is_new {
        let hosts = images(template);
        let of = |image: &String| image.split_once('/').and_then(|(host, _)| registries.get(host)).cloned();
        let own: Vec<Value> = hosts.iter().filter_map(of).map(|name| json!({"name": name})).collect();
        (!own.is_empty()).then_some(Value::Array(own))
    } else if body["imagePullSecrets"].is_null() {
        return;
    } else {
        Some(body["imagePullSecrets"].clone())
    };
    if let Some(pod) = template["spec"].as_object_mut() {
        pod.remove("imagePullSecrets");
        if let Some(secrets) = secrets {
            pod.insert("imagePullSecrets".to_owned(), secrets);
        }
    }
}

fn images(template: &Value) -> Vec<String> {
    let lists = ["containers", "initContainers"].iter().filter_map(|list| template["spec"][*list].as_array());
    lists.flatten().map(|container| text(&container["image"])).collect()
}

fn template(object: &Value) -> &Value {
    match object["kind"] == "CronJob" {
        true => &object["spec"]["jobTemplate"]["spec"]["template"],
        false => &object["spec"]["template"],
    }
}

fn template_mut(object: &mut Value) -> &mut Value {
    match object["kind"] == "CronJob" {
        true => &mut object["spec"]["jobTemplate"]["spec"]["template"],
        false => &mut object["spec"]["template"],
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn lower_first(kind: &str) -> String {
    let mut letters = kind.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}
