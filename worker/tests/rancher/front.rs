//! TLS before a fake, with certificates made for the test.

use std::{path::Path, process::Command, sync::Arc};

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

/// What speaks TLS and passes on to a fake that does not.
pub(crate) struct Front {
    pub(crate) url: String,
    folder: TempDir,
    accepting: JoinHandle<()>,
}

impl Front {
    /// One before `fake`, which is at `http://host:port`, that shows the certificate `server` of the authority `ca`,
    /// or `itself`, which vouches for itself; there is an `other-ca` too.
    pub(crate) async fn before(fake: &str, shown: &str) -> Front {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let acceptor = TlsAcceptor::from(Arc::new(server(folder.path(), shown)));
        let behind = fake.trim_start_matches("http://").to_owned();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut fake = TcpStream::connect(behind).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut fake).await;
                });
            }
        });
        Front { url, folder, accepting }
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
