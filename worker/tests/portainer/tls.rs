//! Portainer behind TLS, vouched for by an authority of one's own, by itself, or by nobody.

use std::{path::Path, process::Command, sync::Arc};

use proto::State;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use worker::target::{
    Target, TargetError,
    portainer::{Portainer, PortainerSettings},
};

use crate::{
    fake_portainer::API_KEY,
    lab::{FILE, Lab, carried_out, set},
    stage::Stage,
};

/// The fake behind TLS.
struct Front {
    url: String,
    folder: TempDir,
    accepting: JoinHandle<()>,
}

impl Front {
    /// Shows the certificate of that name.
    async fn open(lab: &Lab, shown: &str) -> Front {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let acceptor = TlsAcceptor::from(Arc::new(server(folder.path(), shown)));
        let behind = lab.portainer.url().trim_start_matches("http://").to_owned();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut portainer = TcpStream::connect(behind).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut portainer).await;
                });
            }
        });
        Front { url, folder, accepting }
    }

    /// The keys of a system that finds it, and trusts as `more` says.
    fn access(&self, more: &str) -> String {
        let folder = self.folder.path().display();
        format!("api_key: {API_KEY}, environment: production{}", more.replace("DIR", &folder.to_string()))
    }

    fn configuration(&self, lab: &Lab, more: &str) -> String {
        lab.configured(&self.access(more), "").replace(&lab.portainer.url(), &self.url)
    }

    async fn look(&self, ca: Option<&str>) -> Result<(), TargetError> {
        let ca = ca.map(|name| std::fs::read_to_string(self.folder.path().join(name)).unwrap());
        let settings = serde_json::json!({
            "url": self.url, "api_key": API_KEY, "environment": "production", "ca": ca,
        });
        let settings: PortainerSettings = serde_json::from_value(settings).unwrap();
        Portainer::new("docks", &settings)?.stack("shop").look().await.map(drop)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn server(folder: &Path, shown: &str) -> ServerConfig {
    let pem = std::fs::read(folder.join(format!("{shown}.pem"))).unwrap();
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap();
    let key = std::fs::read(folder.join(format!("{shown}.key"))).unwrap();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, PrivateKeyDer::from_pem_slice(&key).unwrap())
        .unwrap()
}

/// Two authorities, a certificate by the first of them, and one that vouches for itself, as Portainer makes them.
fn make_certificates(folder: &Path) {
    std::fs::write(folder.join("names"), "subjectAltName = IP:127.0.0.1\n").unwrap();
    let names = ["-addext", "subjectAltName = IP:127.0.0.1"];
    for (name, more) in [("ca", &[][..]), ("other-ca", &[]), ("itself", &names)] {
        let (subject, key, pem) = (format!("/CN=test {name}"), format!("{name}.key"), format!("{name}.pem"));
        let made = ["req", "-newkey", "rsa:2048", "-x509", "-nodes", "-days", "2", "-subj", &subject];
        openssl(folder, &[&made[..], &["-keyout", &key, "-out", &pem], more].concat());
    }
    let made = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=server", "-keyout", "server.key"];
    openssl(folder, &[&made[..], &["-out", "server.csr"]].concat());
    let signing = ["x509", "-req", "-days", "2", "-extfile", "names", "-in", "server.csr", "-CA", "ca.pem"];
    let signed = ["-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem"];
    openssl(folder, &[&signing[..], &signed].concat());
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let made = Command::new("openssl").current_dir(folder).args(arguments).output().expect("openssl runs");
    assert!(made.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test]
async fn a_deploy_goes_through_tls_that_is_vouched_for_or_explicitly_not_looked_at() {
    for (shown, more) in [
        ("server", ", ca_file: DIR/ca.pem"),
        ("itself", ", ca_file: DIR/itself.pem"),
        ("server", ", insecure_tls: true"),
    ] {
        let lab = Lab::swarm(FILE);
        let front = Front::open(&lab, shown).await;
        let stage = Stage::new(&front.configuration(&lab, more)).await;
        let end = carried_out(&stage, &set("acme/web:2")).await;
        assert_eq!(end.state(), State::Succeeded, "{shown} {more}: {end:?}");
        assert!(lab.image("web").starts_with("acme/web:2"));
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_gets_no_access_token() {
    let lab = Lab::swarm(FILE);
    for (shown, ca) in [
        ("server", None),
        ("server", Some("other-ca.pem")),
        ("server", Some("itself.pem")),
        ("itself", None),
        ("itself", Some("ca.pem")),
    ] {
        let front = Front::open(&lab, shown).await;
        let error = front.look(ca).await.err();
        assert!(matches!(error, Some(TargetError::Unreachable { .. })), "{shown} {ca:?}: {error:?}");
    }
    assert!(lab.portainer.requests().is_empty(), "{:?}", lab.portainer.requests());
}
