//! Why no broker could be reached, host by host and in words that say what to mend.

use std::{error::Error, fmt};

use super::connect::CONNECT_WITHIN;
use crate::{QueueError, settings::Host};

/// What became of the attempt at each host.
#[derive(Debug, Default)]
pub(super) struct Unreached(Vec<String>);

impl Unreached {
    /// Adds what one host said, or did not say.
    pub(super) fn add(&mut self, host: &Host, with_tls: bool, error: &QueueError) {
        self.0.push(format!("{host}: {}", words(error, with_tls)));
        // Whoever answers first, the same is told in the same words.
        self.0.sort_unstable();
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl Error for Unreached {}

/// The causes of an error, and what they mean where their own words do not say it.
fn words(error: &QueueError, with_tls: bool) -> String {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<tokio::time::error::Elapsed>() {
            return format!("no answer within {} s", CONNECT_WITHIN.as_secs());
        }
        let text = error.to_string();
        // Some repeat what is below them.
        if !causes.iter().any(|known: &String| known.contains(&text)) {
            causes.push(text);
        }
        cause = error.source();
    }
    let told = causes.join(": ");
    match with_tls {
        true if told.contains("CertificateRequired") => {
            format!("it asks for a client certificate: name one with `cert_file` and `key_file` ({told})")
        }
        true if told.contains("UnknownIssuer") => format!(
            "its certificate is of an authority that is not trusted here: name the authority's with `ca_file` ({told})"
        ),
        true if told.contains("NotValidForName") => {
            format!("its certificate is for another name: name the broker as its certificate does ({told})")
        }
        // The alert that says so is often lost with the connection.
        true if told.contains("Connection reset") => format!(
            "{told}, as of a broker that asks for a client certificate (`cert_file`, `key_file`) or does not know the one it got"
        ),
        true if told.contains("InvalidContentType") => {
            "it does not speak TLS on this port (5672 is usually the one without, 5671 the one with)".to_owned()
        }
        false if told.contains("failed to parse") => {
            "it does not speak AMQP on this port, or only within TLS (5671 is usually the port for that; say `tls: true`)"
                .to_owned()
        }
        true | false => told,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::{super::connect::connect, words};
    use crate::{AmqpSettings, QueueError, TlsSettings};

    /// Somebody who says this to whatever comes, and hangs up.
    async fn somebody(says: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let mut first = [0; 8];
                let _ = caller.read_exact(&mut first).await;
                let _ = caller.write_all(says).await;
            }
        });
        address
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_told_with_the_key_that_mends_it() {
        let told = |said: &str| {
            let error = QueueError::Unavailable { attempted: "connect", source: said.into() };
            words(&error, true)
        };
        for (said, key) in [
            ("received fatal alert: CertificateRequired", "`cert_file`"),
            ("IO error: Connection reset by peer (os error 104)", "`cert_file`"),
            ("invalid peer certificate: UnknownIssuer", "`ca_file`"),
            ("invalid peer certificate: certificate not valid for name: NotValidForName", "another name"),
        ] {
            let told = told(said);
            assert!(told.contains(key) && told.contains(said), "{told}");
        }
    }

    async fn told(hosts: Vec<String>, tls: Option<TlsSettings>) -> String {
        let settings =
            AmqpSettings { tls, ..AmqpSettings::new(hosts, "guest", config::Secret::new("hunter2")) };
        let error = connect(&settings).await.err().unwrap();
        std::error::Error::source(&error).unwrap().to_string()
    }

    #[tokio::test]
    async fn each_host_is_told_with_its_cause() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = silent.local_addr().unwrap().to_string();
        let told = told(vec![silent.clone(), "127.0.0.1:1".to_owned()], None).await;
        let refused = "127.0.0.1:1: IO error: Connection refused (os error 111)";
        let mut expected = [refused.to_owned(), format!("{silent}: no answer within 5 s")];
        expected.sort_unstable();
        assert_eq!(told, expected.join("; "));
    }

    #[tokio::test]
    async fn tls_on_one_side_alone_is_told_as_that() {
        // The alert of a server that was greeted with something else, and the greeting of one without TLS.
        let with_tls = somebody(&[0x15, 3, 3, 0, 2, 2, 50]).await;
        assert!(told(vec![with_tls], None).await.contains("or only within TLS"));
        let plain = somebody(b"AMQP\0\0\x09\x01").await;
        let tls = TlsSettings { authorities: None, certificate: None };
        assert!(told(vec![plain], Some(tls)).await.contains("does not speak TLS on this port"));
    }
}
