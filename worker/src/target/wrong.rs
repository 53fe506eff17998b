//! What is wrong with the settings of a system, found before anybody connects.

use std::borrow::Cow;

use config::{Faults, Node};

/// What is wrong with settings: the key it is under, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Wrong {
    /// The keys it may stand under, the likeliest first; none where the whole is meant.
    keys: &'static [&'static str],
    pub(crate) what: Cow<'static, str>,
    pub(crate) hint: Cow<'static, str>,
}

impl Wrong {
    pub(crate) fn new(
        keys: &'static [&'static str],
        what: impl Into<Cow<'static, str>>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Wrong {
        Wrong { keys, what: what.into(), hint: hint.into() }
    }

    /// Something about certificates, and an address without them.
    pub(crate) fn no_tls(keys: &'static [&'static str]) -> Wrong {
        Wrong::new(keys, "the address speaks no TLS", "write `https://…`, or leave this out")
    }

    /// Somebody to trust, and everybody is trusted.
    pub(crate) fn anyone_beside_authorities(keys: &'static [&'static str]) -> Wrong {
        Wrong::new(keys, "authorities to trust, and every certificate is taken", "remove `insecure_tls`")
    }

    /// Authorities that are none.
    pub(crate) fn no_authorities(keys: &'static [&'static str]) -> Wrong {
        let hint = "it begins with `-----BEGIN CERTIFICATE-----`";
        Wrong::new(keys, "the authorities hold no certificate in PEM", hint)
    }

    /// Adds it to the faults, at the first of its keys that is there.
    pub(crate) fn tell(self, node: &Node, faults: &mut Faults) {
        let place = self.keys.iter().find_map(|key| node.get(key)).unwrap_or(node);
        faults.push(place.fault(self.what).hint(self.hint));
    }
}
