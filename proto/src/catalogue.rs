//! What a system of a pool has to deploy to, as its workers tell it: only they can look there.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Follow, PoolName, SOURCE, TargetName};

/// `type` of every catalogue.
const TYPE: &str = "longshore.catalogue";

/// The targets of one system, in the structured JSON form of CloudEvents 1.0. The newest counts, as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Catalogue {
    /// Always `1.0`.
    pub specversion: String,
    /// Another for each.
    pub id: Uuid,
    /// Always [`SOURCE`].
    pub source: String,
    /// Always `longshore.catalogue`.
    #[serde(rename = "type")]
    pub type_name: CatalogueType,
    /// `<pool>/<system>`
    pub subject: String,
    /// When it was said.
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// What is told.
    pub data: Inventory,
}

/// The one type a catalogue has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CatalogueType {
    /// `longshore.catalogue`
    #[serde(rename = "longshore.catalogue")]
    Catalogue,
}

/// What a system has. No address, no secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    /// The pool whose workers reach it.
    pub pool: PoolName,
    /// The system, as the configuration calls it.
    pub system: String,
    /// What kind of system it is, as in `swarm`.
    pub kind: String,
    /// What can be deployed, by name.
    pub targets: Vec<Listing>,
    /// What was meant to be a target and is none, and what else does not work there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<ListingFault>,
    /// It could not be looked through yet: which targets are found on it is not known, and what was told of them before
    /// stands.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsearched: bool,
}

/// A target of a catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Listing {
    /// Its name.
    pub target: TargetName,
    /// What kind of thing it is, as in `swarm-service`.
    pub kind: String,
    /// The images it takes.
    pub follows: Vec<Follow>,
    /// What stands between a push and its deploy.
    #[serde(default, skip_serializing_if = "TargetGates::is_open")]
    pub gates: TargetGates,
    /// Found on the system by its labels; else a configuration declares it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub discovered: bool,
}

/// What a target asks for beyond the image it follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetGates {
    /// Somebody has to approve each deploy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approve: bool,
    /// The window in which it may be deployed, as the configuration calls it; several separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// How long after it was seen an image may be deployed at the earliest, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_age_s: Option<u64>,
    /// Whether it goes back to the last image that ran well when a deploy fails, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<bool>,
}

/// What the inventory is called in which those who look at registries tell of their looks; no system.
pub const LOOKS: &str = "longshore-poll";

/// Something that cannot be a target, or does not work, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListingFault {
    /// What it is, as in ``service `web` ``.
    pub thing: String,
    /// What is wrong.
    pub text: String,
    /// How to mend it.
    pub hint: String,
    /// What it keeps from working.
    #[serde(default, skip_serializing_if = "FaultKind::is_no_target")]
    pub kind: FaultKind,
    /// The targets that are concerned, where it is not the system as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetName>,
}

/// What a fault keeps from working.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Something that was meant to be a target is none.
    #[default]
    NoTarget,
    /// The system: it cannot be reached, or the key to it is about to end.
    System,
    /// Looking at a registry for what targets follow.
    Look,
}

impl FaultKind {
    fn is_no_target(&self) -> bool {
        *self == FaultKind::NoTarget
    }
}

impl ListingFault {
    /// Something that was meant to be a target and is none.
    #[must_use]
    pub fn no_target(thing: String, text: String, hint: String) -> ListingFault {
        ListingFault { thing, text, hint, kind: FaultKind::NoTarget, targets: Vec::new() }
    }

    /// What is wrong with a system as a whole.
    #[must_use]
    pub fn of_system(thing: String, text: String, hint: String) -> ListingFault {
        ListingFault { kind: FaultKind::System, ..ListingFault::no_target(thing, text, hint) }
    }

    /// What is wrong with looking for what these targets follow.
    #[must_use]
    pub fn of_looks(thing: String, text: String, hint: String, targets: Vec<TargetName>) -> ListingFault {
        ListingFault { kind: FaultKind::Look, targets, ..ListingFault::no_target(thing, text, hint) }
    }
}

impl TargetGates {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == TargetGates::default()
    }
}

impl Catalogue {
    /// Tells what a system has now.
    #[must_use]
    pub fn of(data: Inventory) -> Catalogue {
        Catalogue {
            specversion: "1.0".to_owned(),
            id: Uuid::now_v7(),
            source: SOURCE.to_owned(),
            type_name: CatalogueType::Catalogue,
            subject: format!("{}/{}", data.pool, data.system),
            time: Timestamp::now(),
            datacontenttype: "application/json".to_owned(),
            data,
        }
    }

    /// The message that carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Infallible: string keys only, and no type here has a failing Serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads one from a message.
    ///
    /// # Errors
    /// When it is none that this version knows.
    pub fn decode(body: &[u8]) -> Result<Catalogue, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// What messages call the type.
    #[must_use]
    pub fn type_name() -> &'static str {
        TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Job};

    #[test]
    fn a_catalogue_comes_back_as_it_went_and_is_nothing_else() {
        let catalogue = Catalogue::of(Inventory {
            pool: "office".parse().unwrap(),
            system: "swarm".to_owned(),
            kind: "swarm".to_owned(),
            targets: vec![Listing {
                target: "office/web".parse().unwrap(),
                kind: "swarm-service".to_owned(),
                follows: vec!["acme/web:dev-*".parse().unwrap()],
                gates: TargetGates { approve: true, rollback: Some(false), ..TargetGates::default() },
                discovered: true,
            }],
            faults: vec![
                ListingFault::no_target("service `api`".to_owned(), "wrong".to_owned(), "mend it".to_owned()),
                ListingFault::of_looks(
                    "image `acme/web:1`".to_owned(),
                    "refused".to_owned(),
                    "mend the key".to_owned(),
                    vec!["office/web".parse().unwrap()],
                ),
            ],
            unsearched: true,
        });
        let body = catalogue.encode();
        assert_eq!(Catalogue::decode(&body).unwrap(), catalogue);
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["type"], Catalogue::type_name());
        assert_eq!(value["subject"], "office/swarm");
        assert!(Event::decode(&body).is_err() && Job::decode(&body).is_err());
        assert!(Catalogue::decode(br#"{"type":"longshore.job.accepted"}"#).is_err());
    }
}
