//! What a person is told before the first deploy.

use crate::{fake_rancher::KEY, lab::Lab, stage::Stage};

#[tokio::test]
async fn what_is_there_and_what_is_missing_is_told_beforehand() {
    let lab = Lab::new();
    let stage = Stage::empty().await;
    let told = async |configuration: &str| {
        let told = worker::connect(&stage.settings(configuration)).await.unwrap();
        (told[0].found.join("\n"), told[0].missing.join("\n"))
    };
    let (found, missing) = told(&lab.configuration()).await;
    for line in [
        "Rancher v2.4.3",
        "asked with the key `token-admin`, which never expires",
        "cluster `c-l5nxb`: Kubernetes v1.36.0",
        "registry.lan/acme/web:1",
    ] {
        assert!(found.contains(line), "{line}\n---\n{found}");
    }
    assert_eq!(missing, "");
    let (_, missing) = told(&lab.configuration().replace(":web'", ":webb'")).await;
    assert!(missing.contains("deployment `webb` in the namespace `shop`"), "{missing}");
    assert!(missing.contains("target `default/demo`: ") && missing.contains("or mend its name"), "{missing}");
    assert!(found.contains("asked without TLS"), "{found}");
    lab.cluster().deny("patch", "deployments");
    let (_, missing) = told(&lab.configuration()).await;
    assert!(missing.contains("may not patch deployments in the namespace `shop`"), "{missing}");
    let wrong = lab.configuration().replace(KEY, "token-typo:x");
    let (_, missing) = told(&wrong).await;
    assert!(missing.contains("must authenticate") && missing.contains("mend the credentials"), "{missing}");
    assert_eq!(lab.cluster().writes(), Vec::new());
}
