//! Who pushes: the producers of webhooks, each with its own body.
//!
//! A source's kind is configured, never guessed: several producers imitate each other's headers. Each module reads
//! one producer's messages into a [`Reading`].

mod aliyun_acr;
mod aws_ecr;
mod azure_acr;
mod cdevents;
mod cloud_event;
mod cloudevents;
mod distribution;
mod diun;
mod dockerhub;
mod drone;
mod forge;
mod gitea;
mod github;
mod gitlab;
mod google_ar;
mod harbor;
mod image;
mod jenkins;
mod jfrog;
mod keel;
mod kind;
mod message;
mod nexus;
mod plain;
mod portainer;
mod quay;
mod run;
mod template;
mod woodpecker;

use proto::{ImageError, ImageRef};
use serde_json::Value;

use crate::{authenticate::Door, backfill::BackfillSettings};
use image::image_of;

pub(crate) use cloud_event::{all as events_of, check as check_event, delivery as name_of_event};
pub(crate) use image::{delivery as delivery_named, is_registry_host};
pub use kind::Kind;
pub(crate) use message::{Message, without_mark};
pub(crate) use plain::{KEYS as KEYS_OF_A_PUSH, seen as seen_plainly};
pub(crate) use template::{PLACEHOLDERS, Template};

/// A configured source: `POST /hooks/<name>`.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) rules: Rules,
    pub(crate) door: Door,
    /// How deliveries are fetched that never came.
    pub(crate) backfill: Option<BackfillSettings>,
}

/// How a source's messages are understood.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// The registry host to say instead of the one in the body, or where the body has none.
    pub(crate) registry: Option<String>,
    /// The image that belongs to an event that names none.
    pub(crate) image: Option<Template>,
    /// The branches whose events count, as globs; all of them when empty.
    pub(crate) branches: Vec<String>,
    /// The workflows whose runs count, as globs; all of them when empty.
    pub(crate) workflows: Vec<String>,
    /// What may have started a run, as globs; what is usual for its producer when empty.
    pub(crate) events: Vec<String>,
    /// Whether pre-releases deploy as releases do.
    pub(crate) prereleases: bool,
    /// The repositories of the registry whose events count, as globs; all of them when empty.
    pub(crate) repositories: Vec<String>,
}

/// An image that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) image: ImageRef,
    /// The service the sender means, where the producer can say one.
    pub(crate) service: Option<String>,
    /// The sender's own name for the delivery, the same when it sends again.
    pub(crate) delivery: Option<String>,
}

/// What an authenticated message says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reading {
    /// Images were pushed; at least one.
    Sightings(Vec<Sighting>),
    /// Nothing to deploy, and why.
    Ignored(String),
    /// A trial of the hook, to be answered with success; what it was.
    Acknowledged(String),
    /// A question whether this server wants events, and the answer to it.
    Handshake(Value),
    /// It names no image, and the source has no `image` for such events.
    NeedsRule(String),
}

/// Longest name of a service, in characters.
const LONGEST_SERVICE: usize = 255;

/// Why a body is refused, which only our own plain form does for more than bad JSON: other senders stop for
/// ever after an answer they do not like.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// Not JSON.
    #[error("the body is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// A plain body that names no image at all.
    #[error("the body names no image")]
    NoImage,
    /// A plain body with a key that nothing would be made of.
    #[error("a push has no key `{0:.100}`")]
    UnknownKey(String),
    /// A plain body that says something by another thing than a text.
    #[error("`{0}` is not a text")]
    NotText(&'static str),
    /// A plain body whose service cannot be one's name.
    #[error("a `service` is the name of one, without `*` and of 255 characters at most")]
    BadService,
    /// A plain body whose image has a digest and no tag, which no target can follow.
    #[error("`{}` names no tag, and targets follow tags: name the tag too", .0.familiar())]
    NoTag(ImageRef),
    /// A plain body whose image is none.
    #[error("`{given}` is no image")]
    BadImage {
        /// What was given.
        given: String,
        /// What is wrong with it.
        #[source]
        source: ImageError,
    },
}

impl Source {
    /// Reads a message of this source's kind.
    pub(crate) fn read(&self, message: &Message<'_>) -> Result<Reading, Unreadable> {
        self.rules.read(self.kind, message)
    }
}

impl Rules {
    /// Reads a message of `kind`.
    pub(crate) fn read(&self, kind: Kind, message: &Message<'_>) -> Result<Reading, Unreadable> {
        kind.read(message, self)
    }

    /// The registry to say, or else the host that the message has.
    fn host<'a>(&'a self, said: Option<&'a str>) -> Result<&'a str, String> {
        let host = self.registry.as_deref().or(said.filter(|host| !host.is_empty()));
        host.ok_or_else(|| "the event does not say its registry; give the source a `registry`".to_owned())
    }

    /// Refuses what happened in a repository that does not count: one that the source does not list, or, where it lists
    /// none, one whose name ends as those do that pull through.
    fn counts(&self, repository: &str, pulls_through: &str) -> Result<(), String> {
        if self.repositories.is_empty() {
            return match repository.ends_with(pulls_through) {
                true => Err(format!("`{repository:.100}` holds what was pulled through, nothing was pushed")),
                false => Ok(()),
            };
        }
        match run::matches(&self.repositories, repository) {
            true => Ok(()),
            false => Err(format!("`{repository:.100}` is none of the source's `repositories`")),
        }
    }
}

impl Reading {
    /// What is to be deployed of several events in one body; the first reason when nothing is.
    fn of_all(read: impl IntoIterator<Item = Result<Sighting, String>>) -> Reading {
        let (mut sightings, mut why) = (Vec::new(), None);
        for one in read {
            match one {
                Ok(sighting) => sightings.push(sighting),
                Err(reason) => why = why.or(Some(reason)),
            }
        }
        if sightings.is_empty() {
            return Reading::Ignored(why.unwrap_or_else(|| "the body tells of no event".to_owned()));
        }
        Reading::Sightings(sightings)
    }

    fn of_one(read: Result<Sighting, String>) -> Reading {
        Reading::of_all([read])
    }
}

impl Sighting {
    fn new(image: ImageRef, delivery: Option<String>) -> Sighting {
        Sighting { image, service: None, delivery }
    }
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
