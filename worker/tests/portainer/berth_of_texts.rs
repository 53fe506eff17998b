//! Stacks that are made of texts, by the contract of all targets that take some.

use proto::StackText;
use serde_json::json;

use crate::{
    contract::{
        Berth, Kind,
        texts::{TextBerth, keeps_the_contract_of_texts},
    },
    fake_portainer::{BAD, COMPOSE, Family, MISSING, Mishap, SWARM},
    forward::writes,
    lab::{FILE, Lab},
};

/// The stack `blog`, which is not there yet.
struct Blog(Lab);

impl Blog {
    async fn lay(family: Family, environment: u64) -> Blog {
        Blog(Lab::of(family, environment, FILE))
    }

    fn runs(&self) -> String {
        self.0.portainer.image(self.0.environment, "blog", "web")
    }
}

impl Berth for Blog {
    fn configuration(&self, more: &str) -> String {
        self.0.configuration(more).replace("stack: shop", "stack: blog")
    }

    fn image(&self, kind: Kind) -> String {
        match kind {
            Kind::Good(n) => format!("acme/web:{n}"),
            Kind::Nowhere => format!("acme/web:2{MISSING}"),
            Kind::Broken => format!("acme/web:2{BAD}"),
        }
    }

    fn nowhere(&self) -> &'static str {
        "manifest unknown"
    }

    fn stands(&self) -> Option<String> {
        Some(self.runs())
    }

    fn writes(&self) -> usize {
        writes(&self.0.portainer.requests())
    }

    fn cut_next_write(&self) {
        self.0.portainer.befall_next("PUT /api/stacks/", Mishap::CutAfter);
    }
}

impl TextBerth for Blog {
    fn text(&self, kind: Kind) -> StackText {
        StackText::of(format!("# the front\nservices:\n  web:\n    image: {}   # here\n", self.image(kind)))
    }

    async fn somebody_deploys(&self, kind: Kind) {
        self.0.portainer.add_stack(self.0.environment, "blog", &self.text(kind).compose, json!([]));
    }

    fn left(&self) -> Vec<String> {
        let record = self.0.portainer.has_stack("blog").then(|| "its record".to_owned());
        record.into_iter().chain(Some(self.runs()).filter(|runs| !runs.is_empty())).collect()
    }

    /// Portainer forgets it: nobody but the engine tells that it runs.
    async fn hold_back(&self) -> String {
        self.0.portainer.forget(self.0.stack + 1);
        "under that name runs what it does not know".to_owned()
    }

    fn let_go(&self) {
        self.0.portainer.stop_by_hand(self.0.environment, "blog");
    }
}

mod swarm {
    use super::{Blog, Family, SWARM};
    super::keeps_the_contract_of_texts!(Blog::lay(Family::Synchronous, SWARM));
}

mod compose {
    use super::{Blog, COMPOSE, Family};
    super::keeps_the_contract_of_texts!(Blog::lay(Family::Synchronous, COMPOSE));
}

mod asynchronous {
    use super::{Blog, COMPOSE, Family};
    super::keeps_the_contract_of_texts!(Blog::lay(Family::Asynchronous, COMPOSE));
}
