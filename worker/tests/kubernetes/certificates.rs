//! Somebody who shows a certificate in place of a token, to an API server that lets in nobody without one.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use proto::State;

use crate::{
    fake_http::{Answer, FakeServer, Request, Service},
    fake_kubernetes::Cluster,
    front::Front,
    lab::ROLLOUT,
    stage::{Stage, carried_out, code, job},
};

/// Whoever got so far has shown a certificate.
struct Inside(Arc<Cluster>);

impl Service for Inside {
    fn answer(&self, request: &Request) -> Answer {
        assert_eq!(request.header("authorization"), None);
        self.0.answer_at(&request.path, request)
    }
}

fn image(tag: u8) -> String {
    format!("registry.lan/acme/web:{tag}@sha256:{}", tag.to_string().repeat(64))
}

fn configured(system: &str) -> String {
    format!(
        "systems:\n  docks: {{kind: kubernetes, {system}}}\n\
         targets:\n  demo: {{at: docks, workload: shop/deployment/web, stable: 200ms}}\n"
    )
}

/// As clusters hand one out, with everything in it.
fn kubeconfig(front: &Front, shown: &str) -> String {
    let data = |file: &str| STANDARD.encode(front.pem(file));
    format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: '{}', certificate-authority-data: {}}}}}]\n\
         users: [{{name: u, user: {{client-certificate-data: {}, client-key-data: {}}}}}]\n",
        front.url,
        data("ca.pem"),
        data(&format!("{shown}.pem")),
        data(&format!("{shown}.key")),
    )
}

#[tokio::test]
async fn a_certificate_lets_in_and_no_token_does() {
    let cluster = Arc::new(Cluster::new(ROLLOUT));
    cluster.add_workload("deployments", "web", 2, &image(1));
    let server = FakeServer::start(Arc::new(Inside(Arc::clone(&cluster)))).unwrap();
    let front = Front::demanding(&server.url()).await;
    let folder = tempfile::tempdir().unwrap();
    for name in ["client", "stranger"] {
        std::fs::write(folder.path().join(name), kubeconfig(&front, name)).unwrap();
    }
    let of = |name: &str| format!("kubeconfig_file: {}", folder.path().join(name).display());
    let at = format!("url: '{}', ca_file: {}", front.url, front.path("ca.pem"));
    let by_files = format!(
        "{at}, client_certificate_file: {}, client_key_file: {}",
        front.path("client.pem"),
        front.path("client.key")
    );
    for (system, tag) in [(of("client"), 2), (by_files, 3)] {
        let stage = Stage::new(&configured(&system)).await;
        let end = carried_out(&stage, &job("demo", &image(tag))).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
        assert_eq!(cluster.image("deployments", "web", "web"), image(tag));
    }
    let asked = server.requests().len();
    for system in [of("stranger"), format!("{at}, token: t")] {
        let stage = Stage::new(&configured(&system)).await;
        let job = job("demo", &image(4));
        stage.accept(&job).await;
        let retrying = stage.until_said(&job, State::Retrying).await;
        assert_eq!(code(&retrying), "unreachable", "{system}: {retrying:?}");
    }
    assert_eq!(server.requests().len(), asked, "nobody got in");
}
