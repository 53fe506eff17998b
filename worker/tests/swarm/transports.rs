//! The three ways to an engine: a socket, TCP, and TLS that both sides prove themselves in.

use std::{path::Path, process::Command, sync::Arc};

use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};
use worker::target::{
    End, Target, TargetError,
    swarm::{Registries, Swarm, SwarmSettings},
};

use crate::{
    lab::{STAYS_UP, Service, deploy, environment, pinned, wanted},
    registry::Registry,
    wire::Wire,
};

/// The engine behind TLS, for those who show a certificate of its authority.
pub(crate) struct Front {
    host: String,
    folder: TempDir,
    accepting: JoinHandle<()>,
}

impl Front {
    pub(crate) async fn open() -> Front {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("tcp://{}", listener.local_addr().unwrap());
        let acceptor = TlsAcceptor::from(Arc::new(server(folder.path())));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let path = environment("LONGSHORE_TEST_DOCKER").trim_start_matches("unix://").to_owned();
                    let mut engine = UnixStream::connect(path).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut engine).await;
                });
            }
        });
        Front { host, folder, accepting }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// The settings that trust `authority` and show the certificate `shown`.
    pub(crate) fn settings(&self, authority: &str, shown: Option<&str>) -> SwarmSettings {
        let mut settings = json!({"host": self.host, "ca": self.read(&format!("{authority}.pem"))});
        if let Some(name) = shown {
            settings["cert"] = json!(self.read(&format!("{name}.pem")));
            settings["key"] = json!(self.read(&format!("{name}.key")));
        }
        serde_json::from_value(settings).unwrap()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn server(folder: &Path) -> ServerConfig {
    let certificates = |name: &str| -> Vec<CertificateDer<'static>> {
        let pem = std::fs::read(folder.join(name)).unwrap();
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap()
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.pem"));
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&std::fs::read(folder.join("server.key")).unwrap()).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates("server.pem"), key)
        .unwrap()
}

/// Two authorities; of the first a certificate for the engine and one for us, of the second one for nobody.
fn make_certificates(folder: &Path) {
    std::fs::write(folder.join("names"), "subjectAltName = IP:127.0.0.1\n").unwrap();
    for authority in ["ca", "other-ca"] {
        let (subject, key, certificate) =
            (format!("/CN=test {authority}"), format!("{authority}.key"), format!("{authority}.pem"));
        let made =
            ["-x509", "-nodes", "-days", "2", "-subj", &subject, "-keyout", &key, "-out", &certificate];
        openssl(folder, &[&["req", "-newkey", "rsa:2048"], &made[..]].concat());
    }
    for (name, authority) in [("server", "ca"), ("client", "ca"), ("stranger", "other-ca")] {
        let (key, request, certificate) =
            (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        let made = ["-nodes", "-subj", &subject, "-keyout", &key, "-out", &request];
        openssl(folder, &[&["req", "-newkey", "rsa:2048"], &made[..]].concat());
        let (ca, ca_key) = (format!("{authority}.pem"), format!("{authority}.key"));
        let signing =
            ["-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-out", &certificate];
        openssl(folder, &[&["x509", "-req", "-days", "2", "-extfile", "names"], &signing[..]].concat());
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let made = Command::new("openssl").current_dir(folder).args(arguments).output().expect("openssl runs");
    assert!(made.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
}

fn swarm(settings: &SwarmSettings) -> Swarm {
    Swarm::new("swarm", settings, Registries::default()).unwrap()
}

#[tokio::test]
async fn a_deploy_goes_the_same_by_socket_tcp_and_tls() {
    let registry = Registry::start();
    let (wire, front) = (Wire::lay().await, Front::open().await);
    let ways = [
        ("socket", crate::lab::settings(&environment("LONGSHORE_TEST_DOCKER"))),
        ("tcp", crate::lab::settings(&wire.host)),
        ("tls", front.settings("ca", Some("client"))),
    ];
    let first = registry.push("web:0", STAYS_UP);
    let service = Service::create(&first.to_string(), |_| ()).await;
    for (way, settings) in ways {
        let image = registry.push(&format!("web:{way}"), STAYS_UP);
        let target = swarm(&settings).service(&service.name);
        let wanted = wanted(&target, &image).await;
        let outcome = deploy(&target, &wanted).await;
        assert_eq!(outcome.end, End::Converged, "by {way}: {outcome:?}");
        assert_eq!(service.image().await, pinned(&wanted).to_string(), "by {way}");
        assert_eq!(target.look().await.unwrap().tasks.unwrap().running, 2, "by {way}");
    }
}

#[tokio::test]
async fn an_engine_behind_tls_lets_in_who_shows_its_own_certificate_and_is_trusted_by_its_authority() {
    let front = Front::open().await;
    let image = "a/b:1".parse().unwrap();
    let read = async |settings: SwarmSettings| {
        swarm(&settings).service("no-such-service").read(&crate::lab::job(&image)).await.err()
    };
    let error = read(front.settings("ca", Some("client"))).await;
    assert!(matches!(error, Some(TargetError::NotFound { .. })), "{error:?}");
    for shown in [None, Some("stranger")] {
        let error = read(front.settings("ca", shown)).await;
        let Some(TargetError::CredentialsRefused { system, answer }) = error else {
            panic!("{shown:?}: {error:?}")
        };
        assert_eq!(system, "swarm");
        assert!(answer.contains("it refuses our certificate"), "{answer}");
    }
    let error = read(front.settings("other-ca", Some("client"))).await;
    assert!(matches!(error, Some(TargetError::Unreachable { .. })), "{error:?}");
}
