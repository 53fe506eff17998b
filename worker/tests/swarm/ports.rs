//! What others publish of a service stays, whatever we do to it.

use proto::Operation;
use serde_json::{Value, json};
use worker::target::End;

use crate::{
    carry_out::{carry_out, job_to},
    lab::{STAYS_UP, Service},
    registry::{Registry, free_address},
};

/// With a virtual address, and ports on every node, and on that of the task alone.
fn with_ports(spec: &mut Value) {
    let [mesh, other, host] = std::array::from_fn(|_| free_address().port());
    spec["EndpointSpec"] = json!({"Mode": "vip", "Ports": [
        {"Name": "web", "Protocol": "tcp", "TargetPort": 80, "PublishedPort": mesh, "PublishMode": "ingress"},
        {"Protocol": "udp", "TargetPort": 53, "PublishedPort": other, "PublishMode": "ingress"},
        // The engine chooses one, and keeps it.
        {"Protocol": "tcp", "TargetPort": 81, "PublishMode": "ingress"},
        {"Protocol": "tcp", "TargetPort": 443, "PublishedPort": host, "PublishMode": "host"}
    ]});
    spec["Mode"] = json!({"Replicated": {"Replicas": 1}});
}

#[tokio::test]
async fn ports_of_all_kinds_outlive_updates() {
    let registry = Registry::start();
    let images = [registry.push("web:1", STAYS_UP), registry.push("web:2", STAYS_UP)];
    let service = Service::create(&images[0].to_string(), with_ports).await;
    let target = service.target();
    let before = service.inspect().await;
    assert_eq!(before["Spec"]["EndpointSpec"]["Ports"].as_array().map(Vec::len), Some(4), "{before:#}");
    let image = images[1].clone();
    let rollback = Operation::Rollback { service: None, job: None, image: None };
    for operation in [
        Operation::SetImage { image, service: None },
        rollback,
        Operation::Restart,
        Operation::Stop,
        Operation::Start,
        Operation::Redeploy,
    ] {
        let outcome = carry_out(&target, &job_to(operation.clone())).await.unwrap();
        assert_eq!(outcome.end, End::Converged, "{operation:?}: {outcome:?}");
        let after = service.inspect().await;
        assert_eq!(after["Spec"]["EndpointSpec"], before["Spec"]["EndpointSpec"], "{operation:?}");
        assert_eq!(
            after["Endpoint"]["Ports"], before["Endpoint"]["Ports"],
            "{operation:?}: those that are published"
        );
    }
}
