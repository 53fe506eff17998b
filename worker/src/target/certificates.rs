//! Whether a connection was not made over a certificate that nobody we trust vouches for.

use std::error::Error;

/// Whether a connection failed over a certificate that is not to be trusted.
pub(in crate::target) fn is_of_certificates(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(_)) = tls(error) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error of I/O holds another without calling it its source.
fn tls<'a>(mut error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    loop {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        error = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    }
}
