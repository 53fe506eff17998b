//! Whom a worker trusts: an authority that it was given, or one that Rancher shows and whose digest it knows.

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

use crate::{
    fake_http::Mishap,
    fake_rancher::KEY,
    lab::{Lab, carried_out, configured, set, text},
    stage::Stage,
};

/// TLS before a fake Rancher.
struct Front {
    url: String,
    folder: TempDir,
    accepting: JoinHandle<()>,
}

impl Front {
    async fn open(lab: &Lab) -> Front {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let acceptor = TlsAcceptor::from(Arc::new(server(folder.path())));
        let behind = lab.rancher.url().trim_start_matches("http://").to_owned();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut rancher = TcpStream::connect(behind).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut rancher).await;
                });
            }
        });
        lab.rancher.show_authorities(&std::fs::read_to_string(folder.path().join("ca.pem")).unwrap());
        Front { url, folder, accepting }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// As people make it: the setting's text through `sha256sum`.
    fn digest(&self, name: &str) -> String {
        let told = Command::new("sha256sum").arg(self.path(name)).output().unwrap();
        String::from_utf8(told.stdout).unwrap().split(' ').next().unwrap().to_owned()
    }

    fn configuration(&self, lab: &Lab, trust: &str) -> String {
        configured(&self.url, &format!("token: '{KEY}'{trust}"), &lab.short())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn server(folder: &Path) -> ServerConfig {
    let pem = std::fs::read(folder.join("server.pem")).unwrap();
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&std::fs::read(folder.join("server.key")).unwrap()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

/// Two authorities, and a certificate of the first.
fn make_certificates(folder: &Path) {
    std::fs::write(folder.join("names"), "subjectAltName = IP:127.0.0.1\n").unwrap();
    for authority in ["ca", "other-ca"] {
        let (subject, key, pem) =
            (format!("/CN=test {authority}"), format!("{authority}.key"), format!("{authority}.pem"));
        let made = ["-x509", "-nodes", "-days", "2", "-subj", &subject, "-keyout", &key, "-out", &pem];
        openssl(folder, &[&["req", "-newkey", "rsa:2048"], &made[..]].concat());
    }
    let made = ["-nodes", "-subj", "/CN=rancher", "-keyout", "server.key", "-out", "server.csr"];
    openssl(folder, &[&["req", "-newkey", "rsa:2048"], &made[..]].concat());
    let signing =
        ["-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem"];
    openssl(folder, &[&["x509", "-req", "-days", "2", "-extfile", "names"], &signing[..]].concat());
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let made = Command::new("openssl").current_dir(folder).args(arguments).output().expect("openssl runs");
    assert!(made.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test]
async fn an_authority_is_given_or_known_by_its_digest_or_nobody_is_asked_for_one() {
    let lab = Lab::new();
    let front = Front::open(&lab).await;
    let fingerprint = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in", &front.path("ca.pem")])
        .output()
        .unwrap();
    let fingerprint = String::from_utf8(fingerprint.stdout).unwrap();
    for (n, trust) in [
        format!(", ca_file: '{}'", front.path("ca.pem")),
        format!(", ca_sha256: '{}'", front.digest("ca.pem")),
        format!(", ca_sha256: '{}'", fingerprint.trim()),
        ", insecure_tls: true".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let stage = Stage::new(&front.configuration(&lab, &trust)).await;
        let tag = format!("trusted-{n}");
        let end = carried_out(&stage, &set(&tag)).await;
        assert_eq!(end.state(), State::Succeeded, "{trust}: {end:?}");
        assert!(lab.image().ends_with(&tag));
    }
}

#[tokio::test]
async fn authorities_that_do_not_come_are_asked_for_again() {
    let lab = Lab::new();
    let front = Front::open(&lab).await;
    for (n, mishap) in [Mishap::CutBefore, Mishap::Instead(502, "")].into_iter().enumerate() {
        lab.rancher.server().befall_next("GET /v3/settings/cacerts", mishap);
        let trust = format!(", ca_sha256: '{}'", front.digest("ca.pem"));
        let stage = Stage::new(&front.configuration(&lab, &trust)).await;
        let end = carried_out(&stage, &set(&format!("again-{n}"))).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
    }
}

#[tokio::test]
async fn whoever_is_not_trusted_is_not_told_the_key() {
    let lab = Lab::new();
    let front = Front::open(&lab).await;
    for (trust, why) in [
        (String::new(), "its certificate is not trusted"),
        (
            format!(", ca_file: '{}'", front.path("other-ca.pem")),
            "give its authority as `ca_file` or `ca_sha256`",
        ),
        (
            format!(", ca_sha256: '{}'", front.digest("other-ca.pem")),
            "which is not the one in `ca_sha256`: either it has new ones, or something else answers in its place",
        ),
    ] {
        let stage = Stage::new(&front.configuration(&lab, &trust)).await;
        let job = set("2");
        stage.accept(&job).await;
        let retrying = stage.until_said(&job, State::Retrying).await;
        assert!(text(&retrying).contains(why), "{trust}: {}", text(&retrying));
    }
    // What is asked before anybody is trusted is the authorities alone, without a key.
    let asked = lab.rancher.server().requests();
    assert!(asked.iter().all(|line| line == "GET /v3/settings/cacerts"), "{asked:?}");
    lab.rancher.show_authorities("");
    let trust = format!(", ca_sha256: '{}'", front.digest("ca.pem"));
    let stage = Stage::new(&front.configuration(&lab, &trust)).await;
    let job = set("2");
    stage.accept(&job).await;
    let retrying = stage.until_said(&job, State::Retrying).await;
    assert!(text(&retrying).contains("it shows no authorities of its own"), "{}", text(&retrying));
}
