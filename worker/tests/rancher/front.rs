//! TLS before a fake, with certificates made for the test.

use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    },
};

/// The protocol that is taken, where both sides know it.
const HTTP2: &[u8] = b"h2";

/// What speaks TLS and passes on to a fake that does not. It offers HTTP/2, as servers and what stands before them do:
/// whoever takes it is not understood behind it.
pub(crate) struct Front {
    pub(crate) url: String,
    /// The protocol of each connection, as it was agreed on; empty where nothing was.
    spoken: Arc<Mutex<Vec<Vec<u8>>>>,
    folder: TempDir,
    accepting: JoinHandle<()>,
}

impl Front {
    /// The same, which lets in only who shows a certificate of the authority `ca`: there is a `client` with one, and a
    /// `stranger` with one of another authority.
    pub(crate) async fn demanding(fake: &str) -> Front {
        Front::with(fake, |folder| {
            let mut roots = RootCertStore::empty();
            let ca = std::fs::read(folder.join("ca.pem")).unwrap();
            roots.add(CertificateDer::from_pem_slice(&ca).unwrap()).unwrap();
            let provider = Arc::new(ring::default_provider());
            let known =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            server(folder, "server", known)
        })
        .await
    }

    /// One before `fake`, which is at `http://host:port`, that shows the certificate `server` of the authority `ca`,
    /// or `itself`, which vouches for itself, or `first-start`, which does so under names that nobody uses, as what a
    /// Portainer makes at its first start; there is an `other-ca` too.
    pub(crate) async fn before(fake: &str, shown: &str) -> Front {
        Front::with(fake, |folder| server(folder, shown, WebPkiClientVerifier::no_client_auth())).await
    }

    async fn with(fake: &str, server: impl FnOnce(&Path) -> ServerConfig) -> Front {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let mut server = server(folder.path());
        server.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let spoken: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let noted = Arc::clone(&spoken);
        let behind = fake.trim_start_matches("http://").to_owned();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, behind, noted) = (acceptor.clone(), behind.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let protocol = client.get_ref().1.alpn_protocol().unwrap_or_default().to_vec();
                    noted.lock().unwrap_or_else(PoisonError::into_inner).push(protocol);
                    let mut fake = TcpStream::connect(behind).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut fake).await;
                });
            }
        });
        Front { url, spoken, folder, accepting }
    }

    /// How many connections there were, and how many of them speak HTTP/2.
    pub(crate) fn connections(&self) -> (usize, usize) {
        let spoken = self.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        (spoken.len(), spoken.iter().filter(|protocol| *protocol == HTTP2).count())
    }

    /// Connects as somebody does who knows HTTP/2, and gets it; the front shows the certificate `server`.
    pub(crate) async fn connect_with_http2(&self) {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem("ca.pem").as_bytes()).unwrap()).unwrap();
        let mut client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![HTTP2.to_vec()];
        let stream = TcpStream::connect(self.url.trim_start_matches("https://")).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connected = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
        assert_eq!(connected.get_ref().1.alpn_protocol(), Some(HTTP2));
    }

    /// Where the certificate or the key of that file name is.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub(crate) fn pem(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn server(folder: &Path, shown: &str, known: Arc<dyn ClientCertVerifier>) -> ServerConfig {
    let pem = std::fs::read(folder.join(format!("{shown}.pem"))).unwrap();
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap();
    let key = std::fs::read(folder.join(format!("{shown}.key"))).unwrap();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(known)
        .with_single_cert(certificates, PrivateKeyDer::from_pem_slice(&key).unwrap())
        .unwrap()
}

/// Two authorities, certificates by them, and one that vouches for itself, as Portainer makes them.
fn make_certificates(folder: &Path) {
    std::fs::write(folder.join("names"), "subjectAltName = IP:127.0.0.1\n").unwrap();
    let names = ["-addext", "subjectAltName = IP:127.0.0.1"];
    let unused = ["-addext", "subjectAltName = DNS:localhost, IP:0.0.0.0"];
    for (name, more) in [("ca", &[][..]), ("other-ca", &[]), ("itself", &names), ("first-start", &unused)] {
        let (subject, key, pem) = (format!("/CN=test {name}"), format!("{name}.key"), format!("{name}.pem"));
        let made = ["req", "-newkey", "rsa:2048", "-x509", "-nodes", "-days", "2", "-subj", &subject];
        openssl(folder, &[&made[..], &["-keyout", &key, "-out", &pem], more].concat());
    }
    for (name, by) in [("server", "ca"), ("client", "ca"), ("stranger", "other-ca")] {
        let file = |name: &str, ending: &str| format!("{name}.{ending}");
        let (subject, key, asked) = (format!("/CN={name}"), file(name, "key"), file(name, "csr"));
        let made =
            ["req", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-keyout", &key, "-out", &asked];
        openssl(folder, &made);
        let (ca, ca_key, pem) = (file(by, "pem"), file(by, "key"), file(name, "pem"));
        let signing = ["x509", "-req", "-days", "2", "-extfile", "names", "-in", &asked, "-CA", &ca];
        openssl(folder, &[&signing[..], &["-CAkey", &ca_key, "-CAcreateserial", "-out", &pem]].concat());
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let made = Command::new("openssl").current_dir(folder).args(arguments).output().expect("openssl runs");
    assert!(made.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
}
