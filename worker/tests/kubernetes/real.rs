//! The same before a real cluster, where one is named: `LONGSHORE_TEST_KUBE_URL`, with a bearer token in
//! `LONGSHORE_TEST_KUBE_TOKEN`, the path of its authority's certificate in `LONGSHORE_TEST_KUBE_CA_FILE` (any certificate
//! is taken without), a workload of one container that may be changed in `LONGSHORE_TEST_KUBE_WORKLOAD`
//! (`namespace/deployment/name`), and two images that its nodes can run in `LONGSHORE_TEST_KUBE_IMAGES` (`repo:one,repo:two`).

use std::env::var;

use proto::{Operation, State};

use crate::{
    fake_kubernetes::TOKEN,
    lab::Lab,
    stage::{Stage, carried_out, job, wish},
};

/// Where it is, and the images; without one, the fake stands in with the same steps.
fn place(lab: &Lab) -> (String, [String; 2]) {
    let Ok(url) = var("LONGSHORE_TEST_KUBE_URL") else {
        return (lab.configuration(", rollback: true"), [lab.image("2"), lab.image("3")]);
    };
    let named =
        |name: &str| var(format!("LONGSHORE_TEST_KUBE_{name}")).unwrap_or_else(|_| panic!("no {name}"));
    let images = named("IMAGES");
    let (one, two) = images.split_once(',').expect("two images");
    let trust = match var("LONGSHORE_TEST_KUBE_CA_FILE") {
        Ok(path) => {
            let pem = std::fs::read_to_string(path).expect("the authority's certificate");
            format!(", ca: {}", serde_json::to_string(&pem).expect("a text"))
        }
        Err(_) if url.starts_with("https") => ", insecure_tls: true".to_owned(),
        Err(_) => String::new(),
    };
    let configuration = format!(
        "systems:\n  docks: {{kind: kubernetes, url: '{url}', token: '{}'{trust}}}\n\
         targets:\n  demo: {{at: docks, workload: '{}', stable: 2s, rollback: true}}\n",
        named("TOKEN"),
        named("WORKLOAD"),
    );
    (configuration, [one.to_owned(), two.to_owned()])
}

#[tokio::test]
async fn a_workload_lives_through_every_operation() {
    let lab = Lab::deployment();
    let (configuration, [one, two]) = place(&lab);
    let stage = Stage::new(&configuration).await;
    for job in [
        job("demo", &one),
        job("demo", &two),
        wish(Operation::Restart),
        wish(Operation::Rollback { service: None, job: None, image: None }),
        wish(Operation::Redeploy),
        wish(Operation::Stop),
        wish(Operation::Start),
        job("demo", &two),
    ] {
        let end = carried_out(&stage, &job).await;
        assert_eq!(end.state(), State::Succeeded, "{:?}: {end:?}", job.operation);
    }
}

#[tokio::test]
async fn what_is_there_and_what_is_missing_is_told_beforehand() {
    let lab = Lab::deployment();
    let stage = Stage::empty().await;
    let told = async |configuration: &str| {
        let told = worker::connect(&stage.settings(configuration)).await.unwrap();
        (told[0].found.join("\n"), told[0].missing.join("\n"))
    };
    let (found, missing) = told(&lab.configuration("")).await;
    for line in ["Kubernetes v1.36.0", "deployment `web` in the namespace `shop`: web (", "3 of 3 pods run"] {
        assert!(found.contains(line), "{line}\n---\n{found}");
    }
    assert_eq!(missing, "");
    lab.cluster().deny("patch", "deployments");
    lab.cluster().deny("list", "pods");
    let (_, missing) = told(&lab.configuration("")).await;
    assert!(
        missing.contains("may not patch deployments in the namespace `shop`, so it cannot be deployed"),
        "{missing}"
    );
    assert!(missing.contains("may not list pods"), "{missing}");
    let (_, missing) = told(&lab.configured("workload: shopp/deployment/web", TOKEN, "")).await;
    assert!(missing.contains("docks has no namespace `shopp`"), "{missing}");
    let (_, missing) = told(&lab.configured("workload: shop/deployment/web, container: x", TOKEN, "")).await;
    assert!(missing.contains("no container `x`") && missing.contains("`web`"), "{missing}");
    let (_, missing) = told(&lab.configured("workload: shop/deployment/web", "wrong", "")).await;
    assert!(missing.contains("refuses the credentials: Unauthorized"), "{missing}");
    assert_eq!(lab.cluster().writes(), []);
}
