//! What every system has in common that is reached over HTTP or HTTPS: its address, whom to trust, how it is connected.

use reqwest::{Url, redirect::Policy};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{pinned, wire::CONNECT_TIMEOUT};

/// Why a text is no address of a web server. It never repeats the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressError {
    /// It has another form.
    Form,
    /// Somebody is to be logged in, which goes into keys of its own.
    UserInfo,
}

/// The address of a web server, with a path before its API where it has one, and without a slash at the end.
pub(crate) fn address(text: &str) -> Result<String, AddressError> {
    let url = Url::parse(text).map_err(|_| AddressError::Form)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::UserInfo);
    }
    let is_web = matches!(url.scheme(), "http" | "https");
    let plain = url.query().is_none() && url.fragment().is_none();
    if !is_web || !plain || url.host_str().is_none_or(str::is_empty) {
        return Err(AddressError::Form);
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Whose certificates are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust<'a> {
    /// Those that the machine trusts.
    Machine,
    /// These alone, in PEM, and those of these authorities.
    Authorities(&'a str),
    /// Any.
    Anyone,
    /// There are none to take: it is asked without TLS.
    InTheClear,
}

impl<'a> Trust<'a> {
    /// As settings say it.
    pub(crate) fn of(url: &str, authorities: Option<&'a str>, insecure: bool) -> Trust<'a> {
        match authorities {
            Some(pem) => Trust::Authorities(pem),
            None if insecure => Trust::Anyone,
            None if url.starts_with("http://") => Trust::InTheClear,
            None => Trust::Machine,
        }
    }
}

/// Whether a text is certificates in PEM, all of them whole.
#[must_use]
pub fn holds_certificates(pem: &str) -> bool {
    let mut certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).peekable();
    certificates.peek().is_some() && certificates.all(|certificate| certificate.is_ok())
}

/// Why no client could be made, or no connection.
type Unusable = Box<dyn std::error::Error + Send + Sync>;

/// The error with what is most often behind it, where it tells no more than that a handshake made no sense.
pub(crate) fn with_a_guess(source: Unusable) -> Unusable {
    let told = crate::verdict::chain(&*source);
    if told.contains("InvalidContentType") {
        return format!("what answers there speaks no TLS; is its address one with `http://`? ({told})")
            .into();
    }
    source
}

/// A client that keeps no cookies and follows nobody elsewhere: with a cookie, systems ask for what only browsers have,
/// and a write that is sent elsewhere loses its body. `identity`: the certificate and the key by which it says who asks,
/// in PEM.
pub(crate) fn client(trust: Trust<'_>, identity: Option<&str>) -> Result<reqwest::Client, Unusable> {
    let mut builder = plain();
    if let Trust::Authorities(pem) = trust {
        return Ok(builder.tls_backend_preconfigured(pinned::trusting(pem, identity)?).build()?);
    }
    if let Some(pem) = identity {
        builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes())?);
    }
    Ok(match trust {
        Trust::Machine | Trust::Authorities(_) => builder,
        Trust::Anyone => builder.tls_danger_accept_invalid_certs(true),
        // What the machine trusts is not even read.
        Trust::InTheClear => builder.tls_certs_only([]),
    }
    .build()?)
}

fn plain() -> reqwest::ClientBuilder {
    // Fails where another part of the process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        // Some systems answer browsers with pages.
        .user_agent(concat!("longshore/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(Policy::none())
        .http1_only()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_web_servers_and_names_nobody() {
        assert_eq!(address("https://p.lan:9443/x/").as_deref(), Ok("https://p.lan:9443/x"));
        for text in ["", "p.lan:9443", "tcp://p.lan", "https://", "https://p?x=1", "https://p/#/home"] {
            assert_eq!(address(text), Err(AddressError::Form), "{text}");
        }
        assert_eq!(address("https://u:secret@p.lan"), Err(AddressError::UserInfo));
    }

    #[test]
    fn authorities_come_before_a_machines_own() {
        assert_eq!(Trust::of("https://p", Some("pem"), false), Trust::Authorities("pem"));
        assert_eq!(Trust::of("https://p", None, true), Trust::Anyone);
        assert_eq!(Trust::of("https://p", None, false), Trust::Machine);
        assert_eq!(Trust::of("http://p", None, false), Trust::InTheClear);
        assert!(!holds_certificates("x") && !holds_certificates(""));
    }
}
