//! What vouches for a server's certificate: an authority, or the very certificate. Portainer makes itself one at its
//! first start that nobody else vouches for, people make theirs with `openssl req -x509`, and such a one is marked as an
//! authority as a rule, which no library takes for a server's.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

/// TLS with what these certificates vouch for, and with them themselves; with nothing else that the machine trusts.
/// `identity`: the certificate and the key by which we say who we are, in PEM.
pub(super) fn trusting(pem: &str, identity: Option<&str>) -> Result<ClientConfig, rustls::Error> {
    let pinned = certificates(pem, "the authorities hold no certificate in PEM")?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(pinned.clone());
    let provider = Arc::new(ring::default_provider());
    let authorities =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let authorities = authorities.map_err(|error| rustls::Error::General(error.to_string()))?;
    let verifier = Pinned { pinned, authorities, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let key = PrivateKeyDer::from_pem_slice(identity.as_bytes())
        .map_err(|_| rustls::Error::General("the client's certificate comes without its key".to_owned()))?;
    builder.with_client_auth_cert(certificates(identity, "there is no client's certificate in PEM")?, key)
}

fn certificates(pem: &str, none: &str) -> Result<Vec<CertificateDer<'static>>, rustls::Error> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    read.map_err(|_| rustls::Error::General(none.to_owned()))
}

#[derive(Debug)]
struct Pinned {
    pinned: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    /// The very certificate that was given is the one that is meant, whatever names and dates stand in it: who shows
    /// it still has to prove that the key is its own.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.authorities.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
