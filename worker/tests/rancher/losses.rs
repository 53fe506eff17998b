//! What a body copied once out of a browser does to a workload, and what a deploy of ours does not. The script is the
//! one that people have: a PUT of the whole workload in Rancher's own form, with another image in it, and any 200 is
//! good.

use proto::State;
use serde_json::{Value, json};

use crate::{
    fake_rancher::{KEY, PROJECT},
    lab::{Lab, image, set},
    stage::carried_out,
};

/// What the script holds, since the day when somebody copied it.
async fn copied(lab: &Lab) -> Value {
    let url = lab.rancher.workload_url(PROJECT, "deployment:shop:web");
    let shown = reqwest::Client::new().get(url).header("Accept", "application/json").bearer_auth(KEY);
    shown.send().await.unwrap().json().await.unwrap()
}

/// The script: what it answers counts for it.
async fn script(lab: &Lab, project: &str, mut body: Value, tag: &str) -> (u16, Value) {
    for container in body["containers"].as_array_mut().unwrap() {
        if container["name"] == "web" {
            container["image"] = json!(image(tag));
        }
    }
    let url = lab.rancher.workload_url(project, "deployment:shop:web");
    let put = reqwest::Client::new().put(url).header("Accept", "application/json").bearer_auth(KEY);
    let answer = put.json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// After the day of the copy: an init container, a probe, and an autoscaler that makes do with more.
fn live_on(lab: &Lab) {
    lab.cluster().change("deployments", "web", |deployment| {
        let pod = &mut deployment["spec"]["template"]["spec"];
        pod["initContainers"].as_array_mut().unwrap().push(json!({"name": "later", "image": "acme/later:1"}));
        pod["containers"][0]["livenessProbe"] = json!({"exec": {"command": ["alive"]}});
        deployment["spec"]["replicas"] = json!(7);
    });
}

/// What of a deployment people would miss.
fn kept(lab: &Lab) -> Value {
    let deployment = lab.deployment();
    let template = &deployment["spec"]["template"];
    let (pod, web) = (&template["spec"], &template["spec"]["containers"][0]);
    let named: Vec<&Value> =
        pod["initContainers"].as_array().into_iter().flatten().map(|container| &container["name"]).collect();
    json!({
        "pull secrets": pod["imagePullSecrets"], "init containers": named, "replicas": deployment["spec"]["replicas"],
        "liveness": web["livenessProbe"], "readiness": web["readinessProbe"], "arguments": web["args"],
        "variables": web["env"], "context": web["securityContext"], "team": template["metadata"]["annotations"]["team"],
    })
}

#[tokio::test]
async fn a_copied_put_loses_what_a_deploy_keeps() {
    let lab = Lab::new();
    let body = copied(&lab).await;
    live_on(&lab);
    let before = kept(&lab);
    assert_eq!(before["init containers"], json!(["migrate", "later"]));

    // Ours: nothing but the image.
    let stage = lab.stage().await;
    let end = carried_out(&stage, &set("2")).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert_eq!(lab.image(), "registry.lan/acme/web:2");
    assert_eq!(kept(&lab), before);

    // The script: "ok", and everything else is gone.
    let (status, said) = script(&lab, PROJECT, body, "3").await;
    assert_eq!((status, &said["state"]), (200, &json!("active")));
    let after = kept(&lab);
    assert_eq!(lab.image(), "registry.lan/acme/web:3");
    assert_eq!(after["pull secrets"], Value::Null, "the body carried them");
    assert_eq!(after["init containers"], json!(["migrate"]));
    assert_eq!(after["liveness"], Value::Null);
    assert_eq!(after["replicas"], 2);
    assert_eq!(after["arguments"], json!(["kept as it is"]), "{}", before["arguments"]);
    assert_eq!(after["context"], Value::Null);
    assert_eq!(after["variables"], json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]));
}

#[tokio::test]
async fn a_put_to_a_wrong_project_says_null_and_is_carried_out_all_the_same() {
    let lab = Lab::new();
    let body = copied(&lab).await;
    let (status, said) = script(&lab, "p-wrong", body, "3").await;
    assert_eq!((status, said), (200, Value::Null));
    assert_eq!(lab.image(), "registry.lan/acme/web:3");
}
