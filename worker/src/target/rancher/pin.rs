//! Authorities that are known by their digest alone: fetched once from Rancher itself, compared, then trusted.

use std::str::FromStr;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::target::web;

/// The SHA-256 of what Rancher shows under `/v3/settings/cacerts`, as its own agents have it (`CATTLE_CA_CHECKSUM`), or
/// of one certificate in there, as `openssl x509 -fingerprint -sha256` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Pin([u8; 32]);

/// A text that is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no SHA-256\nhint: write its 64 hexadecimal digits; `curl -k https://RANCHER/v3/settings/cacerts | jq -r .value | \
     sha256sum` shows them"
)]
pub struct NoPin;

/// Why authorities that came are not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PinError {
    /// They have another digest.
    #[error(
        "its authorities have the SHA-256 {found}, which is not the one in `ca_sha256`: either it has new ones, or something \
         else answers in its place"
    )]
    Other {
        /// As Rancher's agents would have it.
        found: String,
    },
    /// It has none of its own.
    #[error(
        "it shows no authorities of its own, so there is nothing to compare with `ca_sha256`; remove it where a public \
         authority vouches for Rancher, or give `ca_file`"
    )]
    None,
}

impl Pin {
    /// Of the authorities that came, those to trust.
    pub(super) fn trusted(&self, authorities: &str) -> Result<String, PinError> {
        if !web::holds_certificates(authorities) {
            return Err(PinError::None);
        }
        // Tools end the text with a line break, or leave it as it is, or add one more.
        let bare = authorities.trim_end_matches('\n');
        let spellings = [format!("{bare}\n"), bare.to_owned(), format!("{authorities}\n")];
        if spellings.iter().any(|text| self.is_of(text.as_bytes())) {
            return Ok(authorities.to_owned());
        }
        // One certificate was meant: it alone is trusted.
        let mut all = CertificateDer::pem_slice_iter(authorities.as_bytes()).filter_map(Result::ok);
        match all.find(|one| self.is_of(one)) {
            Some(one) => Ok(pem(&one)),
            None => {
                let found = Pin(Sha256::digest(spellings[0].as_bytes()).into()).to_string();
                Err(PinError::Other { found })
            }
        }
    }

    fn is_of(&self, bytes: &[u8]) -> bool {
        Sha256::digest(bytes).as_slice() == self.0
    }
}

/// What of an answer is the authorities: a setting in JSON, or the text alone.
pub(super) fn authorities(body: &str) -> String {
    match serde_json::from_str::<Value>(body) {
        Ok(setting) => setting["value"].as_str().unwrap_or_default().to_owned(),
        Err(_) => body.to_owned(),
    }
}

fn pem(certificate: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(certificate))
}

impl FromStr for Pin {
    type Err = NoPin;

    /// Digits of either case, with colons between them or none.
    fn from_str(text: &str) -> Result<Self, NoPin> {
        let text = text.trim();
        let digits = text.rsplit_once('=').map_or(text, |(_, digits)| digits);
        let digits = digits.strip_prefix("sha256:").unwrap_or(digits);
        let digits: Vec<u8> = digits.bytes().filter(|byte| *byte != b':').collect();
        if digits.len() != 64 {
            return Err(NoPin);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NoPin)?;
            let is_hexadecimal = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(pair, 16).ok().filter(|_| is_hexadecimal).ok_or(NoPin)?;
        }
        Ok(Pin(bytes))
    }
}

impl TryFrom<String> for Pin {
    type Error = NoPin;

    fn try_from(text: String) -> Result<Self, NoPin> {
        text.parse()
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> Pin {
        Pin(Sha256::digest(bytes).into())
    }

    #[test]
    fn a_digest_is_read_however_tools_write_it() {
        let pin = digest(b"x");
        let plain = pin.to_string();
        let pairs: Vec<&str> = (0..32).map(|n| &plain[2 * n..2 * n + 2]).collect();
        let openssl = format!("SHA256 Fingerprint={}", pairs.join(":").to_uppercase());
        for text in [plain.clone(), openssl, format!("sha256:{plain}"), format!(" {plain} ")] {
            assert_eq!(text.parse(), Ok(pin), "{text}");
        }
        for text in
            ["", "9f2c…", &plain[1..], &format!("{plain}0"), &plain.replace('0', "g").replace('2', "+")]
        {
            assert_eq!(text.parse::<Pin>(), Err(NoPin), "{text}");
        }
    }

    #[test]
    fn authorities_are_trusted_only_as_pinned() {
        let (one, two) = (pem(b"one certificate"), pem(b"another"));
        let both = format!("{one}{two}");
        let bare = both.trim_end().to_owned();
        for pinned in [both.clone(), bare.clone()] {
            assert_eq!(digest(pinned.as_bytes()).trusted(&both), Ok(both.clone()));
            assert_eq!(digest(pinned.as_bytes()).trusted(&bare), Ok(bare.clone()));
        }
        assert_eq!(digest(b"another").trusted(&both), Ok(two));
        let other = digest(b"x").trusted(&both).unwrap_err();
        assert_eq!(other, PinError::Other { found: digest(both.as_bytes()).to_string() });
        for nothing in ["", "<html></html>"] {
            assert_eq!(digest(nothing.as_bytes()).trusted(nothing), Err(PinError::None));
        }
    }

    #[test]
    fn they_come_as_a_setting_or_as_a_text() {
        assert_eq!(authorities(r#"{"id":"cacerts","value":"PEM\n"}"#), "PEM\n");
        assert_eq!(authorities(r#"{"id":"cacerts","value":""}"#), "");
        assert_eq!(authorities("null"), "");
        assert_eq!(authorities("PEM\n"), "PEM\n");
    }
}
