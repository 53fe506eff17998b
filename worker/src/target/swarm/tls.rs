//! Engines that speak TLS and let in who shows a certificate.

use std::{error::Error, io, sync::Arc};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use config::{Faults, Node};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy, rt::TokioExecutor};
use rustls::{
    AlertDescription, ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{SwarmHost, SwarmSettings, answer::Failure};
use crate::target::wrong::Wrong;

const CA: &[&str] = &["ca_file", "ca"];
const CERT: &[&str] = &["cert_file", "cert"];
const KEY: &[&str] = &["key_file", "key"];
const BEGINS: &str = "it begins with `-----BEGIN CERTIFICATE-----`";

impl SwarmSettings {
    /// Adds a fault at each certificate or key that cannot be used.
    pub(crate) fn check(&self, node: &Node, faults: &mut Faults) {
        if let Err(wrong) = configured(self) {
            wrong.tell(node, faults);
        }
    }
}

/// How TLS is spoken to the engine; none where it is reached in the clear.
pub(super) fn configured(settings: &SwarmSettings) -> Result<Option<ClientConfig>, Wrong> {
    let SwarmSettings { host, ca, cert, key, .. } = settings;
    if ca.is_none() && cert.is_none() && key.is_none() {
        return Ok(None);
    }
    if let SwarmHost::Unix(_) = host {
        let hint = "leave `ca_file`, `cert_file` and `key_file` out, or write `host: tcp://…`";
        return Err(Wrong::new(&["host"], "a socket of this machine takes no certificates", hint));
    }
    let ca = ca
        .as_deref()
        .ok_or_else(|| Wrong::new(CERT, "a certificate without the engine's authority", "add `ca_file`"))?;
    let roots = roots(ca)
        .ok_or_else(|| Wrong::new(CA, "the engine's authorities hold no certificate in PEM", BEGINS))?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| Wrong::new(CA, "TLS cannot be set up", "report this: it is a fault of Longshore"))?
        .with_root_certificates(roots);
    let config = match (cert, key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert).ok_or_else(|| {
                Wrong::new(CERT, "the certificate to show the engine is none in PEM", BEGINS)
            })?;
            let unusable = || {
                Wrong::new(
                    KEY,
                    "the key of that certificate is none in PEM, or it is encrypted, or of another certificate",
                    "it begins with `-----BEGIN PRIVATE KEY-----`; `openssl pkey` takes a passphrase off",
                )
            };
            let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| unusable())?;
            builder.with_client_auth_cert(chain, key).map_err(|_| unusable())?
        }
        (Some(_), None) => {
            return Err(Wrong::new(CERT, "a certificate without its key", "give `key_file` beside it"));
        }
        (None, Some(_)) => {
            return Err(Wrong::new(KEY, "a key without its certificate", "give `cert_file` beside it"));
        }
    };
    Ok(Some(config))
}

fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().ok()?;
    (!all.is_empty()).then_some(all)
}

fn roots(pem: &str) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(pem)?);
    (added > 0).then_some(roots)
}

/// The library's client over such a connection; its own way of setting TLS up trusts all that the machine does.
pub(super) fn docker(address: &str, config: &ClientConfig, seconds: u64) -> Result<Docker, Failure> {
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(config.clone()).https_only().enable_http1().build();
    let client = legacy::Client::builder(TokioExecutor::new()).build(connector);
    let transport = move |request: BollardRequest| {
        let client = client.clone();
        async move { client.request(request).await.map_err(bollard::errors::Error::from) }
    };
    let address = format!("https://{address}");
    Ok(Docker::connect_with_custom_transport(transport, Some(address), seconds, API_DEFAULT_VERSION)?)
}

/// The engine's words where it refuses our certificate: nothing will change that by itself.
pub(super) fn refusal(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = error
            .downcast_ref::<rustls::Error>()
            .or_else(|| inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()));
        if let Some(rustls::Error::AlertReceived(alert)) = tls {
            return is_of_our_certificate(*alert).then(|| format!("it refuses our certificate ({alert:?})"));
        }
        cause = error.source();
    }
    None
}

fn is_of_our_certificate(alert: AlertDescription) -> bool {
    [
        AlertDescription::CertificateRequired,
        AlertDescription::BadCertificate,
        AlertDescription::UnsupportedCertificate,
        AlertDescription::CertificateRevoked,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateUnknown,
        AlertDescription::UnknownCA,
        AlertDescription::AccessDenied,
    ]
    .contains(&alert)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let text = format!("system: {text}");
        let document = config::Document::parse("longshore.yaml", &text).unwrap();
        let mut faults = Faults::new();
        let node = document.root().get("system").unwrap();
        if let Some(settings) = node.read::<SwarmSettings>(&mut faults) {
            settings.check(node, &mut faults);
        }
        faults.to_string()
    }

    #[test]
    fn each_mistake_with_certificates_is_told_at_its_key() {
        for (text, said) in [
            ("{host: 'unix:///x', ca: a}", "system.host: a socket of this machine takes no certificates"),
            (
                "{host: 'tcp://a', cert: a, key: b}",
                "system.cert: a certificate without the engine's authority",
            ),
            ("{host: 'tcp://a', ca: a}", "system.ca: the engine's authorities hold no certificate in PEM"),
        ] {
            assert!(told(text).contains(said), "{text}\n---\n{}", told(text));
        }
        assert_eq!(told("{host: 'tcp://a'}"), "");
    }
}
