//! Updates that go well.

use std::time::{Duration, Instant};

use proto::{ImageRef, Tasks};
use serde_json::{Value, json};
use worker::target::{End, Standing, Target, TargetError};

use crate::{
    lab::{STAYS_UP, Service, apply, deploy, docker, job, pinned, wanted, watch},
    registry::Registry,
};

#[tokio::test]
async fn a_good_update_converges_with_its_digest_and_says_how_far_it_is() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let new = registry.push("web:2", STAYS_UP);
    let service = Service::create(&old.to_string(), |_| ()).await;
    let target = service.target();

    let first = wanted(&target, &old).await;
    assert_eq!(deploy(&target, &first).await.end, End::Converged);
    let second = wanted(&target, &new).await;
    assert_ne!(pinned(&first).digest(), pinned(&second).digest());
    let found = target.read(&second.job).await.unwrap();
    assert_eq!(found.image().as_ref(), Some(pinned(&first)));
    apply(&target, &second).await.unwrap();
    let (outcome, said) = watch(&target, &second).await.unwrap();

    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    assert_eq!(outcome.tasks, Some(Tasks { running: 2, wanted: 2 }));
    assert_eq!(outcome.output.last().map(String::as_str), Some("verify: Service converged"));
    assert!(outcome.output.contains(&"overall progress: 2 out of 2 tasks".to_owned()), "{outcome:?}");
    assert!(said.iter().any(|step| step.tasks == Tasks { running: 1, wanted: 2 }), "{said:?}");
    assert_eq!(service.image().await, pinned(&second).to_string());
    assert_eq!(service.label("longshore.job").await, Some(second.job.id.to_string()));
    assert_eq!(service.label("longshore.good").await, Some(pinned(&first).to_string()));
    for task in service.tasks().await {
        assert_eq!(task["Spec"]["ContainerSpec"]["Image"], pinned(&second).to_string());
        assert_eq!(task["Status"]["State"], "running");
    }
    // The status and the way back that the engine itself offers are left to people.
    assert_eq!(service.state_of_update().await.as_deref(), Some("completed"));
    let previous = &service.inspect().await["PreviousSpec"]["TaskTemplate"]["ContainerSpec"]["Image"];
    assert_eq!(*previous, pinned(&first).to_string());
}

#[tokio::test]
async fn resolving_pins_what_the_tag_points_to_and_looks_digests_up() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    let target = crate::lab::swarm().service("any");
    let pinned = target.resolve(&image).await.unwrap();
    assert_eq!(pinned.tag(), Some("1"));
    assert!(pinned.digest().is_some());
    assert_eq!(target.resolve(&pinned).await.unwrap(), pinned);

    let moved = registry.push("web:1", &["sleep", "2000000"]);
    assert_ne!(target.resolve(&moved).await.unwrap().digest(), pinned.digest());
    assert_eq!(target.resolve(&pinned).await.unwrap(), pinned);

    let missing: ImageRef = format!("{}/web:none", registry.host()).parse().unwrap();
    let unknown = pinned.with_digest(format!("sha256:{}", "1".repeat(64)).parse().unwrap());
    for image in [missing, unknown] {
        match target.resolve(&image).await {
            Err(TargetError::ImageNotFound { image: named, answer }) => {
                assert_eq!(named, image);
                assert!(answer.contains("manifest unknown"), "{answer}");
            }
            other => panic!("{other:?}"),
        }
    }
    let nowhere: ImageRef = "127.0.0.1:1/web:1".parse().unwrap();
    let error = target.resolve(&nowhere).await.unwrap_err();
    assert!(
        matches!(&error, TargetError::Unavailable { system, .. } if system == "127.0.0.1:1"),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_runs_already_converges_at_once_and_replaces_no_task() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    let service = Service::create(&image.to_string(), |_| ()).await;
    let target = service.target();
    let first = wanted(&target, &image).await;
    assert_eq!(deploy(&target, &first).await.end, End::Converged);
    let ids = |tasks: Vec<Value>| tasks.iter().map(|task| task["ID"].to_string()).collect::<Vec<_>>();
    let before = ids(service.tasks().await);

    let again = wanted(&target, &image).await;
    let begun = Instant::now();
    assert_eq!(deploy(&target, &again).await.end, End::Converged);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(service.label("longshore.job").await, Some(first.job.id.to_string()));
    assert_eq!(ids(service.tasks().await), before);
}

#[tokio::test]
async fn a_service_scaled_to_nothing_takes_the_image() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let new = registry.push("web:2", STAYS_UP);
    let service = Service::create(&old.to_string(), |spec| {
        spec["Mode"]["Replicated"]["Replicas"] = json!(0);
    })
    .await;
    let target = service.target();
    let wanted = wanted(&target, &new).await;
    let outcome = deploy(&target, &wanted).await;
    assert_eq!(outcome.end, End::Converged);
    assert_eq!(outcome.tasks, Some(Tasks { running: 0, wanted: 0 }));
    assert_eq!(service.image().await, pinned(&wanted).to_string());
    assert_eq!(service.label("longshore.good").await, None);
}

#[tokio::test]
async fn a_global_service_runs_once_on_each_node() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let new = registry.push("web:2", STAYS_UP);
    let service = Service::create(&old.to_string(), |spec| spec["Mode"] = json!({"Global": {}})).await;
    let target = service.target();
    let wanted = wanted(&target, &new).await;
    let outcome = deploy(&target, &wanted).await;
    assert_eq!(outcome.end, End::Converged);
    assert_eq!(outcome.tasks, Some(Tasks { running: 1, wanted: 1 }));
}

#[tokio::test]
async fn a_one_shot_service_is_refused_untouched() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    let service = Service::create(&image.to_string(), |spec| {
        spec["Mode"] = json!({"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}});
        spec.as_object_mut().unwrap().remove("UpdateConfig");
        spec["TaskTemplate"]["RestartPolicy"] = json!({"Condition": "none"});
    })
    .await;
    let target = service.target();
    let wanted = wanted(&target, &image).await;
    let before = service.inspect().await;
    let error = apply(&target, &wanted).await.unwrap_err();
    assert!(
        matches!(&error, TargetError::Refused { answer, .. } if answer.contains("runs to its end")),
        "{error:?}"
    );
    assert_eq!(service.inspect().await["Version"], before["Version"]);
}

/// What an engine keeps of a service that was made with every option it has.
#[tokio::test]
async fn every_option_survives_ten_updates() {
    let registry = Registry::start();
    let images: Vec<ImageRef> =
        (0..=10).map(|number| registry.push(&format!("web:{number}"), STAYS_UP)).collect();
    let things = Things::create();
    let service = Service::create(&images[0].to_string(), |spec| every_option(spec, &things)).await;
    let target = service.target();
    let before = service.inspect().await;

    for image in &images[1..] {
        let wanted = wanted(&target, image).await;
        let outcome = deploy(&target, &wanted).await;
        assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    }

    let after = service.inspect().await;
    assert_eq!(
        after["Spec"]["Labels"]["longshore.good"],
        target.resolve(&images[9]).await.unwrap().to_string()
    );
    assert_eq!(but_for_our_changes(after["Spec"].clone()), but_for_our_changes(before["Spec"].clone()));
    let health = &after["Spec"]["TaskTemplate"]["ContainerSpec"]["Healthcheck"]["Test"];
    assert_eq!(*health, json!(["CMD", "true"]));
    drop(service);
    things.remove();
}

fn but_for_our_changes(mut spec: Value) -> Value {
    spec["TaskTemplate"]["ContainerSpec"]["Image"] = Value::Null;
    spec["TaskTemplate"]["ForceUpdate"] = Value::Null;
    let labels = spec["Labels"].as_object_mut().unwrap();
    labels.retain(|label, _| !label.starts_with("longshore."));
    spec
}

/// What a service can refer to.
struct Things {
    network: String,
    secret: String,
    config: String,
}

impl Things {
    fn create() -> Things {
        let name = format!("swarm-test-things-{}", std::process::id());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "x").unwrap();
        let path = file.path().to_str().unwrap();
        let line = |text: String| text.trim().to_owned();
        Things {
            network: line(docker(&["network", "create", "--driver", "overlay", &name])),
            secret: line(docker(&["secret", "create", &name, path])),
            config: line(docker(&["config", "create", &name, path])),
        }
    }

    fn remove(&self) {
        docker(&["secret", "rm", &self.secret]);
        docker(&["config", "rm", &self.config]);
        // The network goes once the engine has taken its tasks down; the engine itself goes after the tests.
    }
}

fn every_option(spec: &mut Value, things: &Things) {
    let file = |id: &str, key: &str| {
        json!([{
            "File": {"Name": format!("/{key}"), "UID": "0", "GID": "0", "Mode": 292},
            format!("{key}ID"): id,
            format!("{key}Name"): format!("swarm-test-things-{}", std::process::id())
        }])
    };
    spec["Labels"] = json!({"team": "a", "empty": ""});
    let image = spec["TaskTemplate"]["ContainerSpec"]["Image"].clone();
    spec["TaskTemplate"] = json!({
        "ContainerSpec": {
            "Image": image, "Init": true, "StopGracePeriod": 1_000_000, "StopSignal": "SIGKILL",
            "Labels": {"container": "label"}, "Command": ["sleep"], "Args": ["1000000"],
            "Hostname": "box-{{.Task.Slot}}", "Env": ["A=1", "B=two words", "EMPTY="], "Dir": "/tmp",
            "User": "0:0", "Groups": ["0", "7"], "TTY": true, "OpenStdin": true, "ReadOnly": false,
            "Privileges": {"CredentialSpec": null, "SELinuxContext": {"Disable": true}},
            "Mounts": [
                {"Type": "tmpfs", "Target": "/scratch", "TmpfsOptions": {"SizeBytes": 1_048_576, "Mode": 511}},
                {"Type": "volume", "Target": "/data", "VolumeOptions": {"NoCopy": true, "Labels": {"v": "1"}}},
                {"Type": "bind", "Source": "/usr", "Target": "/host", "ReadOnly": true,
                 "BindOptions": {"Propagation": "rprivate"}}
            ],
            "Healthcheck": {
                "Test": ["CMD", "true"], "Interval": 1_000_000_000u64, "Timeout": 1_000_000_000u64,
                "Retries": 3, "StartPeriod": 1_000_000_000u64
            },
            "Hosts": ["10.0.0.9 db.lan"],
            "DNSConfig": {"Nameservers": ["127.0.0.1"], "Search": ["lan"], "Options": ["timeout:1"]},
            "Secrets": file(&things.secret, "Secret"), "Configs": file(&things.config, "Config"),
            "Isolation": "default", "Sysctls": {"net.core.somaxconn": "256"},
            "CapabilityAdd": ["CAP_NET_RAW"], "CapabilityDrop": ["CAP_MKNOD"],
            "Ulimits": [{"Name": "nofile", "Soft": 1000, "Hard": 2000}]
        },
        "Resources": {
            "Limits": {"NanoCPUs": 500_000_000, "MemoryBytes": 67_108_864, "Pids": 50},
            "Reservations": {"NanoCPUs": 1_000_000, "MemoryBytes": 6_291_456}
        },
        "RestartPolicy": {"Condition": "on-failure", "Delay": 100_000_000, "MaxAttempts": 7, "Window": 9_000_000_000u64},
        "Placement": {
            "Constraints": ["node.role==manager"], "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.rack"}}],
            "MaxReplicas": 4, "Platforms": [{"Architecture": "amd64", "OS": "linux"}]
        },
        "Networks": [{"Target": things.network, "Aliases": ["other-name"]}],
        "LogDriver": {"Name": "json-file", "Options": {"max-size": "1m"}},
        "ForceUpdate": 2, "Runtime": "container"
    });
    spec["Mode"]["Replicated"]["Replicas"] = json!(1);
    spec["UpdateConfig"] = json!({
        "Parallelism": 2, "Delay": 1_000_000, "FailureAction": "rollback", "Monitor": 100_000_000,
        "MaxFailureRatio": 0.25, "Order": "start-first"
    });
    spec["RollbackConfig"] = json!({
        "Parallelism": 3, "Delay": 2_000_000, "FailureAction": "continue", "Monitor": 200_000_000,
        "MaxFailureRatio": 0.5, "Order": "stop-first"
    });
    spec["EndpointSpec"] = json!({
        "Mode": "vip",
        "Ports": [{"Name": "web", "Protocol": "tcp", "TargetPort": 8080, "PublishMode": "host"}]
    });
}

#[tokio::test]
async fn a_worker_that_died_after_its_write_is_taken_up_where_it_stood() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let new = registry.push("web:2", STAYS_UP);
    let service = Service::create(&old.to_string(), |_| ()).await;
    let wanted = wanted(&service.target(), &new).await;
    apply(&service.target(), &wanted).await.unwrap();

    let other_worker = service.target();
    let found = other_worker.read(&wanted.job).await.unwrap();
    assert_eq!(found.standing(wanted.job.id), Standing::Applied);
    let (outcome, _) = watch(&other_worker, &wanted).await.unwrap();
    assert_eq!(outcome.end, End::Converged);
    // And once more, long after the end.
    let found = other_worker.read(&wanted.job).await.unwrap();
    assert_eq!(found.standing(wanted.job.id), Standing::Applied);
    assert_eq!(watch(&other_worker, &wanted).await.unwrap().0.end, End::Converged);
    assert_eq!(found.standing(job(&new).id), Standing::Open);
}
