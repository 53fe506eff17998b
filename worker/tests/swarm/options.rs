//! What others set on a service stays, whatever we do to it.

use proto::Operation;
use serde_json::{Value, json};
use worker::target::{End, Target};

use crate::{
    carry_out::{carry_out, job_to},
    lab::{STAYS_UP, Service, docker, unique_name},
    registry::Registry,
};

/// A network, a secret and a config of the test's own, removed when dropped.
struct Attachments {
    name: String,
    network: String,
    secret: String,
    config: String,
}

impl Attachments {
    fn create() -> Attachments {
        let name = unique_name();
        let id = |text: String| text.trim().to_owned();
        Attachments {
            network: id(docker(&["network", "create", "--driver", "overlay", &name])),
            secret: id(docker(&["secret", "create", &name, "/etc/hostname"])),
            config: id(docker(&["config", "create", &name, "/etc/hostname"])),
            name,
        }
    }
}

impl Drop for Attachments {
    fn drop(&mut self) {
        for kind in ["secret", "config", "network"] {
            let host = crate::lab::environment("LONGSHORE_TEST_DOCKER");
            let mut remove = std::process::Command::new("docker");
            let _ = remove.args([kind, "rm", &self.name]).env("DOCKER_HOST", host).output();
        }
    }
}

/// Every option of a service that the oldest engine offers on Linux and that needs no special machine.
fn with_every_option(spec: &mut Value, with: &Attachments) {
    let second = 1_000_000_000u64;
    let file = |path: &str| json!({"Name": path, "UID": "0", "GID": "0", "Mode": 0o440});
    *spec = json!({
        "Labels": {"team": "a", "traefik.enable": "true", "empty": ""},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": spec["TaskTemplate"]["ContainerSpec"]["Image"],
                "Labels": {"of": "the container"},
                "Command": ["sleep"], "Args": ["1000000"],
                "Hostname": "web-{{.Task.Slot}}",
                "Env": ["A=1", "EMPTY=", "QUOTED=\"x y\""],
                "Dir": "/tmp", "User": "0:0", "Groups": ["0"],
                "Privileges": {"CredentialSpec": null, "SELinuxContext": {"Disable": true, "User": "", "Role": "", "Type": "", "Level": ""}},
                "TTY": true, "OpenStdin": true, "ReadOnly": true,
                "Mounts": [
                    {"Type": "bind", "Source": "/etc", "Target": "/bound", "ReadOnly": true,
                     "BindOptions": {"Propagation": "rprivate"}},
                    {"Type": "volume", "Source": with.name, "Target": "/kept",
                     "VolumeOptions": {"NoCopy": true, "Labels": {"kept": "yes"}, "DriverConfig": {"Name": "local"}}},
                    {"Type": "tmpfs", "Target": "/scratch", "TmpfsOptions": {"SizeBytes": 1_048_576, "Mode": 0o700}}
                ],
                "StopSignal": "SIGKILL", "StopGracePeriod": second,
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": second, "Timeout": second,
                                "StartPeriod": second, "Retries": 3},
                "Hosts": ["10.9.8.7 elsewhere"],
                "DNSConfig": {"Nameservers": ["127.0.0.1"], "Search": ["lan"], "Options": ["timeout:1"]},
                "Secrets": [{"File": file("/run/secrets/key"), "SecretID": with.secret, "SecretName": with.name}],
                "Configs": [{"File": file("/etc/app.conf"), "ConfigID": with.config, "ConfigName": with.name}],
                "Isolation": "default", "Init": true,
                "Sysctls": {"net.core.somaxconn": "128"},
                "CapabilityAdd": ["CAP_NET_RAW"], "CapabilityDrop": ["CAP_MKNOD"],
                "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 2048}]
            },
            "Resources": {
                "Limits": {"NanoCPUs": 500_000_000, "MemoryBytes": 67_108_864, "Pids": 100},
                "Reservations": {"NanoCPUs": 1_000_000, "MemoryBytes": 4_194_304}
            },
            "RestartPolicy": {"Condition": "any", "Delay": 200_000_000, "MaxAttempts": 50, "Window": 5 * second},
            "Placement": {
                "Constraints": ["node.role==manager"],
                "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.zone"}}],
                "MaxReplicas": 9
            },
            "Networks": [{"Target": with.network, "Aliases": ["the-web"], "DriverOpts": {"a": "b"}}],
            "LogDriver": {"Name": "json-file", "Options": {"max-size": "1m", "max-file": "2"}},
            "ForceUpdate": 7, "Runtime": "container"
        },
        "Mode": {"Replicated": {"Replicas": 2}},
        "UpdateConfig": {"Parallelism": 2, "Delay": 1_000_000, "FailureAction": "pause", "Monitor": 100_000_000,
                         "MaxFailureRatio": 0.25, "Order": "start-first"},
        "RollbackConfig": {"Parallelism": 1, "Delay": 2_000_000, "FailureAction": "continue", "Monitor": 200_000_000,
                           "MaxFailureRatio": 0.5, "Order": "stop-first"},
        "EndpointSpec": {"Mode": "dnsrr"}
    });
}

/// What others have set: everything but the image, our notes and the count of forced rollouts.
fn of_others(mut spec: Value) -> Value {
    spec["TaskTemplate"]["ContainerSpec"]["Image"] = Value::Null;
    spec["TaskTemplate"]["ForceUpdate"] = Value::Null;
    spec["Labels"].as_object_mut().unwrap().retain(|label, _| !label.starts_with("longshore."));
    spec
}

/// How many leaves the JSON has: that so many options are there is part of the test.
fn leaves(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields.values().map(leaves).sum(),
        Value::Array(items) => items.iter().map(leaves).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

#[tokio::test]
async fn every_option_outlives_ten_updates_and_everything_else_we_do() {
    let registry = Registry::start();
    let with = Attachments::create();
    let images = [registry.push("web:1", STAYS_UP), registry.push("web:2", STAYS_UP)];
    let service = Service::create(&images[0].to_string(), |spec| with_every_option(spec, &with)).await;
    let target = service.target();
    let before = of_others(service.inspect().await["Spec"].clone());
    assert!(leaves(&before) > 85, "the engine kept only {} of the options: {before:#}", leaves(&before));

    for round in 1..=10 {
        let image = images[round % 2].clone();
        let job = job_to(Operation::SetImage { image: image.clone(), service: None });
        let outcome = carry_out(&target, &job).await.unwrap();
        assert_eq!(outcome.end, End::Converged, "update {round}: {outcome:?}");
        assert!(service.image().await.starts_with(&image.to_string()));
        assert_eq!(of_others(service.inspect().await["Spec"].clone()), before, "after update {round}");
    }
    let rollback = Operation::Rollback { service: None, job: None, image: None };
    for operation in [Operation::Restart, Operation::Stop, Operation::Start, Operation::Redeploy, rollback] {
        let outcome = carry_out(&target, &job_to(operation.clone())).await.unwrap();
        assert_eq!(outcome.end, End::Converged, "{operation:?}: {outcome:?}");
    }
    assert_eq!(of_others(service.inspect().await["Spec"].clone()), before);
    assert_eq!(target.look().await.unwrap().tasks.unwrap().running, 2);
}
