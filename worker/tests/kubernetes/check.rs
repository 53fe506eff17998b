//! What a person is told before the first deploy.

use crate::{fake_kubernetes::TOKEN, lab::Lab, stage::Stage};

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

/// As at every start: whoever listens, or stands in between, can read the credentials.
#[tokio::test]
async fn who_may_listen_is_told_and_where_nobody_answers() {
    let stage = Stage::empty().await;
    let told = async |access: &str| {
        let configuration = format!(
            "systems:\n  docks: {{kind: kubernetes, token: x, {access}}}\n\
             targets:\n  demo: {{at: docks, workload: shop/deployment/web}}\n"
        );
        let told = worker::connect(&stage.settings(&configuration)).await.unwrap();
        (told[0].found.join("\n"), told[0].missing.join("\n"))
    };
    let (found, missing) = told("url: 'http://127.0.0.1:1'").await;
    assert!(found.contains("asked without TLS"), "{found}");
    assert!(missing.contains("it is looked for at http://127.0.0.1:1: start it"), "{missing}");
    let (found, _) = told("url: 'https://127.0.0.1:1', insecure_tls: true").await;
    assert!(found.contains("any certificate is taken"), "{found}");
    let (found, _) = told("url: 'https://127.0.0.1:1'").await;
    assert_eq!(found, "");
}
