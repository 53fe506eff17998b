//! How a broker is trusted, and how it knows us.

use config::{Faults, Node, Secret};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// How to trust the broker, and what to show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Certificates of the authorities to trust, in PEM; the machine's own without.
    pub authorities: Option<String>,
    /// What is shown to a broker that asks who connects.
    pub certificate: Option<Box<ClientCertificate>>,
}

/// A certificate of ours and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those between it and its authority, in PEM.
    pub chain: String,
    /// Its private key, in PEM and not encrypted.
    pub key: Secret,
}

const NO_AUTHORITY: &str = "the broker's authorities hold no certificate in PEM";
const NO_CERTIFICATE: &str = "the certificate to show the broker is none in PEM";
const NO_KEY: &str = "the key of that certificate is none in PEM, or it is encrypted";

/// Makes settings of what is typed, with a fault at each text that is not what it should be.
pub(super) fn read(
    section: &Node,
    (authorities, chain, key): (Option<String>, Option<String>, Option<Secret>),
    faults: &mut Faults,
) -> TlsSettings {
    let at = |key: &str| {
        let file = format!("{key}_file");
        section.get(&file).or_else(|| section.get(key)).unwrap_or(section)
    };
    if authorities.as_ref().is_some_and(|pem| !has_certificates(pem)) {
        faults.push(at("ca").fault(NO_AUTHORITY).hint("it begins with `-----BEGIN CERTIFICATE-----`"));
    }
    if chain.as_ref().is_some_and(|pem| !has_certificates(pem)) {
        faults.push(at("cert").fault(NO_CERTIFICATE).hint("it begins with `-----BEGIN CERTIFICATE-----`"));
    }
    if key.as_ref().is_some_and(|pem| !has_key(pem)) {
        let hint = "it begins with `-----BEGIN PRIVATE KEY-----`; `openssl pkey` takes a passphrase off";
        faults.push(at("key").fault(NO_KEY).hint(hint));
    }
    let certificate = match (chain, key) {
        (Some(chain), Some(key)) => Some(Box::new(ClientCertificate { chain, key })),
        (None, None) => None,
        (Some(_), None) => {
            faults.push(at("cert").fault("a certificate without its key").hint("give `key_file` beside it"));
            None
        }
        (None, Some(_)) => {
            faults.push(at("key").fault("a key without its certificate").hint("give `cert_file` beside it"));
            None
        }
    };
    TlsSettings { authorities, certificate }
}

impl TlsSettings {
    /// What keeps them from working at all.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        let certificate = self.certificate.as_ref();
        if self.authorities.as_ref().is_some_and(|pem| !has_certificates(pem)) {
            Some(NO_AUTHORITY)
        } else if certificate.is_some_and(|certificate| !has_certificates(&certificate.chain)) {
            Some(NO_CERTIFICATE)
        } else if certificate.is_some_and(|certificate| !has_key(&certificate.key)) {
            Some(NO_KEY)
        } else {
            None
        }
    }
}

fn has_certificates(pem: &str) -> bool {
    let mut certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).peekable();
    certificates.peek().is_some() && certificates.all(|certificate| certificate.is_ok())
}

fn has_key(pem: &Secret) -> bool {
    PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()).is_ok()
}

#[cfg(test)]
pub(super) mod tests {
    use config::Document;

    use super::*;
    use crate::Settings;

    pub(in crate::settings) const CERTIFICATE: &str =
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----";

    fn read_with(files: &[(&str, &str)]) -> Result<TlsSettings, String> {
        let directory = tempfile::tempdir().unwrap();
        let mut text = "queue:\n  amqp: rabbit\n  user: u\n  password: p\n".to_owned();
        for (name, content) in files {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            text += &format!("  {name}: {}\n", path.display());
        }
        let document = Document::parse("l.yaml", &text).unwrap();
        let mut faults = Faults::new();
        match Settings::read(document.root(), &mut faults) {
            Some(Settings::Amqp(settings)) => Ok(settings.tls.expect("TLS is spoken")),
            Some(Settings::Embedded(_)) => panic!("a broker is named"),
            None => Err(faults.to_string()),
        }
    }

    #[test]
    fn a_certificate_and_its_key_come_from_files_and_speak_tls() {
        let tls = read_with(&[("cert_file", CERTIFICATE), ("key_file", KEY)]).unwrap();
        let certificate = tls.certificate.as_ref().unwrap();
        assert_eq!((certificate.chain.as_str(), certificate.key.expose()), (CERTIFICATE, KEY));
        assert!(tls.authorities.is_none() && tls.wrong().is_none());
        assert!(!format!("{tls:?}").contains("c2VjcmV0"), "{tls:?}");
    }

    #[test]
    fn what_is_none_is_told_where_it_stands_and_not_shown() {
        let faults =
            read_with(&[("cert_file", KEY), ("key_file", "c2VjcmV0"), ("ca_file", "none")]).unwrap_err();
        for (line, fault) in [(5, NO_CERTIFICATE), (6, NO_KEY), (7, NO_AUTHORITY)] {
            assert!(faults.contains(&format!("l.yaml:{line}:")) && faults.contains(fault), "{faults}");
        }
        assert!(!faults.contains("c2VjcmV0"), "{faults}");
        let alone = read_with(&[("cert_file", CERTIFICATE)]).unwrap_err();
        assert!(alone.contains("without its key") && alone.contains("`key_file`"), "{alone}");
        let alone = read_with(&[("key_file", KEY)]).unwrap_err();
        assert!(alone.contains("without its certificate") && alone.contains("`cert_file`"), "{alone}");
    }
}
