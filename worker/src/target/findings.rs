//! What `check --connect` finds at a system.

use proto::TargetName;

use super::TargetError;
use crate::verdict::chain;

/// What was found when a system was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// What is there, line by line.
    pub(crate) found: Vec<String>,
    /// What is missing or will not work, line by line.
    pub(crate) missing: Vec<String>,
    /// Where the system is, as the configuration has it.
    address: String,
}

impl Findings {
    /// Nothing yet, of a system at this address. `insecure`: whoever answers there is believed.
    pub(crate) fn at(address: &str, insecure: bool) -> Findings {
        let mut found = Vec::new();
        if insecure {
            found.push(
                "any certificate is taken (insecure_tls): whoever stands in between can read the credentials; give \
                 `ca_file` instead"
                    .to_owned(),
            );
        } else if !address.starts_with("https://") {
            found.push("it is asked without TLS: whoever listens can read the credentials".to_owned());
        }
        Findings { found, missing: Vec::new(), address: address.to_owned() }
    }

    /// Notes what is missing, at the system as a whole or of one target, and what to do about it.
    pub(crate) fn lacks(&mut self, target: Option<&TargetName>, error: &TargetError) {
        let of = target.map(|target| format!("target `{target}`: ")).unwrap_or_default();
        let mend = self.mend(error).map(|mend| format!(" ({mend})")).unwrap_or_default();
        self.missing.push(format!("{of}{}{mend}", chain(error)));
    }

    /// What to do about an error; nothing where it says that itself.
    fn mend(&self, error: &TargetError) -> Option<String> {
        let said = match error {
            TargetError::Unreachable { .. } | TargetError::NoAnswer { .. } | TargetError::GivenUp { .. } => {
                return Some(format!(
                    "it is looked for at {}: start it, or mend its address in the configuration, or the way there from this \
                     machine",
                    self.address
                ));
            }
            TargetError::Untrusted { .. } => {
                Some("give its certificate, or that of the authority behind it, as `ca_file`")
            }
            TargetError::CredentialsRefused { .. } => {
                Some("mend the credentials in the configuration, or in the file that it names")
            }
            TargetError::NotFound { .. } => Some("create it, or mend its name in the configuration"),
            TargetError::NoPart { .. } => Some("name one of those that are there"),
            TargetError::Unavailable { .. }
            | TargetError::Busy { .. }
            | TargetError::ImageNotFound { .. }
            | TargetError::Conflict
            | TargetError::Refused { .. }
            | TargetError::OtherServer { .. }
            | TargetError::Rewritten { .. }
            | TargetError::Declined { .. }
            | TargetError::BadAnswer { .. } => None,
        };
        said.map(str::to_owned)
    }
}
