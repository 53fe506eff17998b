//! The images of the cases, by names that say how they behave.

use std::collections::BTreeMap;

use proto::ImageRef;
use worker::target::Target;

use crate::{
    lab::{STAYS_UP, swarm},
    registry::Registry,
};

/// The health check of a case that has one is `test ! -e /sick`.
const KINDS: &[(&str, &[&str])] = &[
    ("good-1", STAYS_UP),
    ("good-2", STAYS_UP),
    ("good-3", STAYS_UP),
    ("exits-at-0", &["false"]),
    ("exits-well", &["true"]),
    ("exits-at-5", &["sh", "-c", "sleep 5; exit 3"]),
    ("exits-at-40", &["sh", "-c", "sleep 40; exit 4"]),
    ("no-command", &["/bin/none-such"]),
    ("sick", &["sh", "-c", "echo > /sick; sleep 1000000"]),
    ("sick-later", &["sh", "-c", "sleep 8; echo > /sick; sleep 1000000"]),
    // Stops only when its grace period is over.
    ("stubborn", &["sh", "-c", "trap '' TERM; sleep 1000000"]),
    // One takes its time, and until then the other does not stay up: they share a volume.
    ("slow", &["sh", "-c", "sleep 20; echo > /data/up; sleep 1000000"]),
    ("needs-slow", &["sh", "-c", "test -e /data/up || exit 5; sleep 1000000"]),
    // Comes up once in a volume, and never again.
    ("once", &["sh", "-c", "test -e /data/used && exit 7; echo > /data/used; sleep 1000000"]),
];

/// Every image a case may name.
pub(crate) struct Images {
    by_name: BTreeMap<String, ImageRef>,
    _registries: [Registry; 2],
}

impl Images {
    pub(crate) fn make() -> Images {
        let (open, private) = (Registry::start(), Registry::start_private());
        let mut by_name: BTreeMap<String, ImageRef> = KINDS
            .iter()
            .map(|(name, command)| ((*name).to_owned(), open.push(&format!("truth:{name}"), command)))
            .collect();
        let nowhere = "1".repeat(64);
        let odd = [
            ("missing", format!("{}/truth:none-such", open.host())),
            ("wrong-digest", format!("{}/truth:good-2@sha256:{nowhere}", open.host())),
            ("private", private.push_with_login("truth:1", STAYS_UP).to_string()),
        ];
        by_name.extend(odd.map(|(name, image)| (name.to_owned(), image.parse().unwrap())));
        Images { by_name, _registries: [open, private] }
    }

    pub(crate) fn named(&self, name: &str) -> &ImageRef {
        self.by_name.get(name).unwrap_or_else(|| panic!("no image is called {name}"))
    }

    /// With its digest, as it stands on a service after a deploy.
    pub(crate) async fn pinned(&self, name: &str) -> ImageRef {
        swarm().service("any").resolve(self.named(name)).await.unwrap()
    }
}
