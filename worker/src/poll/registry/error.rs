//! Why registries do not tell.

use std::time::Duration;

/// Why a registry does not tell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    /// It cannot be reached, or its answer broke off.
    #[error("cannot ask the registry {host}")]
    Unreachable {
        /// Which.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It was asked too much.
    #[error("the registry {host} is left alone for another {} s: it was asked too much", for_another.as_secs())]
    Limited {
        /// Which.
        host: String,
        /// How long.
        for_another: Duration,
    },
    /// It refuses our key, or asks for one.
    #[error("the registry {host} refuses the credentials: {answer}")]
    CredentialsRefused {
        /// Which.
        host: String,
        /// Its words.
        answer: String,
    },
    /// It says something else than it should.
    #[error("cannot understand the registry {host}: {answer}")]
    BadAnswer {
        /// Which.
        host: String,
        /// What it said.
        answer: String,
    },
}

impl RegistryError {
    /// Which registry.
    pub(crate) fn host(&self) -> &str {
        match self {
            RegistryError::Unreachable { host, .. }
            | RegistryError::Limited { host, .. }
            | RegistryError::CredentialsRefused { host, .. }
            | RegistryError::BadAnswer { host, .. } => host,
        }
    }
}
