//! What becomes of a message or of an image: the same modules read it and the same follows match it as in a running
//! ingress, be the targets those of a file or those that a server knows.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use proto::{
    FaultKind, Follow, ImageRef, TargetName,
    api::{TargetFault, TargetList},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    route::{Target, Targets, nothing_follows},
    settings::Settings,
    source::{Kind, Message, Reading, Rules, Sighting, Source, Unreadable},
};

/// The kind of a source to which nobody sends: workers look at registries, and tell of what they see.
pub const POLL: &str = "poll";

/// What would be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// A job for each of the targets.
    Deploy,
    /// Nothing, and the sender is told so with success.
    Ignore,
    /// Nothing yet: the event names no image, and the source has no `image`.
    Map,
    /// Nothing: the sender only tried the hook.
    Ack,
    /// The answer that the sender waits for before it sends events.
    Handshake,
    /// The sender is told that it is wrong.
    Reject,
}

/// What would be done, to what, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// What would be done.
    pub decision: Decision,
    /// The images, in full.
    pub images: Vec<ImageRef>,
    /// The targets that take one of them.
    pub targets: Vec<TargetName>,
    /// Targets that nearly do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nearly: Vec<Nearly>,
    /// Why, for people.
    pub reason: String,
}

/// A target that follows something like the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nearly {
    /// The target.
    pub target: TargetName,
    /// What it follows.
    pub follow: String,
    /// What is different.
    pub why: String,
}

/// A message to be explained.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// The kind of its source, or the name of a source of the configuration.
    pub source: &'a str,
    /// The registry to say instead of the source's own.
    pub registry: Option<&'a str>,
    /// Names and values of its headers. What no header can hold is left out.
    pub headers: &'a [(String, String)],
    /// Its body, whole.
    pub body: &'a [u8],
}

/// Why a message cannot be explained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownSource {
    /// Neither a kind nor a configured name.
    #[error("`{0}` is neither a kind of source nor the name of a configured one")]
    Neither(String),
    /// Several sources of the kind are configured, each with rules of its own.
    #[error("several sources are of the kind `{kind}`: {names}")]
    Several {
        /// The kind.
        kind: String,
        /// Their names.
        names: String,
    },
}

impl Explanation {
    /// Explains a message, as a source of the configuration takes it, or as one without settings.
    ///
    /// # Errors
    /// When it cannot be known which source is meant.
    pub fn of_letter(letter: &Letter<'_>, settings: Option<&Settings>) -> Result<Explanation, UnknownSource> {
        if letter.source == POLL {
            return Ok(Explanation::of_sighting(letter.body, settings));
        }
        let (kind, mut rules) = rules(letter.source, settings)?;
        if let Some(registry) = letter.registry {
            rules.registry = Some(registry.to_owned());
        }
        let headers: HeaderMap = letter.headers.iter().filter_map(header).collect();
        let described = described_tag(kind, letter.body);
        let message = Message { headers: &headers, body: letter.body, tag: described.as_deref() };
        Ok(Explanation::of_reading(rules.read(kind, &message), settings))
    }

    /// Explains which targets take an image.
    #[must_use]
    pub fn of_image(image: &ImageRef, settings: &Settings) -> Explanation {
        followed(&[pushed(image)], &settings.declared).among_those_of(settings)
    }

    /// Explains which of the targets take an image that a server lists: those of its file, and those that workers found.
    #[must_use]
    pub fn of_image_among(image: &ImageRef, listed: &TargetList) -> Explanation {
        let targets = listed.targets.iter().map(Target::listed).collect();
        let mut told = followed(&[pushed(image)], &Targets::new(targets));
        let is_it = |fault: &&TargetFault| {
            fault.kind == FaultKind::Look && fault.thing == format!("image `{}`", image.by_tag().familiar())
        };
        for fault in listed.faults.iter().filter(is_it) {
            told.reason.push_str(&format!("; what a look at its registry came to: {}", fault.text));
        }
        let no_targets = listed.faults.iter().filter(|fault| fault.kind == FaultKind::NoTarget);
        let faults = no_targets.count();
        if faults > 0 {
            told.reason.push_str(&format!(
                "; {faults} that were meant to be targets are none, `longshore targets` tells why"
            ));
        }
        told
    }

    /// The targets of a file are not all that there may be.
    fn among_those_of(mut self, settings: &Settings) -> Explanation {
        if !settings.searched.is_empty() {
            self.reason.push_str(
                "; services that workers find by their labels are not known here: a running server tells of them when it \
                 is asked without --config",
            );
        }
        self
    }

    /// Explains what a worker that looked at a registry tells the ingresses.
    fn of_sighting(body: &[u8], settings: Option<&Settings>) -> Explanation {
        match proto::Sighting::decode(body) {
            Ok(proto::Sighting { image, service, .. }) => {
                let seen = Sighting { image, service, delivery: None };
                Explanation::of_reading(Ok(Reading::Sightings(vec![seen])), settings)
            }
            Err(error) => Explanation {
                decision: Decision::Reject,
                images: Vec::new(),
                targets: Vec::new(),
                nearly: Vec::new(),
                reason: with_cause(&error),
            },
        }
    }

    fn of_reading(read: Result<Reading, Unreadable>, settings: Option<&Settings>) -> Explanation {
        let without = |decision, reason| Explanation {
            decision,
            images: Vec::new(),
            targets: Vec::new(),
            nearly: Vec::new(),
            reason,
        };
        match read {
            Err(error) => without(Decision::Reject, with_cause(&error)),
            Ok(Reading::Ignored(why)) => without(Decision::Ignore, why),
            Ok(Reading::NeedsRule(why)) => without(Decision::Map, why),
            Ok(Reading::Acknowledged(why)) => without(Decision::Ack, why),
            Ok(Reading::Handshake(answer)) => without(Decision::Handshake, format!("the answer is {answer}")),
            Ok(Reading::Sightings(sightings)) => match settings {
                Some(settings) => followed(&sightings, &settings.declared).among_those_of(settings),
                None => Explanation {
                    images: images(&sightings),
                    ..without(
                        Decision::Deploy,
                        "it names what was pushed; a configuration says which targets take it".to_owned(),
                    )
                },
            },
        }
    }
}

/// The source of this name, else the one of this kind, else the kind without settings.
fn rules(name: &str, settings: Option<&Settings>) -> Result<(Kind, Rules), UnknownSource> {
    let sources = settings.map(|settings| &settings.sources);
    if let Some(source) = sources.and_then(|sources| sources.get(name)) {
        return Ok((source.kind, source.rules.clone()));
    }
    let kind = Kind::of_name(name).ok_or_else(|| UnknownSource::Neither(name.to_owned()))?;
    let of_kind: Vec<&Source> = sources
        .into_iter()
        .flat_map(|sources| sources.values())
        .filter(|source| source.kind == kind)
        .collect();
    match of_kind.as_slice() {
        [] => Ok((kind, Rules::default())),
        [source] => Ok((kind, source.rules.clone())),
        several => {
            let names: Vec<&str> = several.iter().map(|source| source.name.as_str()).collect();
            Err(UnknownSource::Several { kind: name.to_owned(), names: names.join(", ") })
        }
    }
}

fn header((name, value): &(String, String)) -> Option<(HeaderName, HeaderValue)> {
    Some((name.trim().parse().ok()?, HeaderValue::from_bytes(value.trim().as_bytes()).ok()?))
}

/// A call without a body is described by its method, path and query instead.
fn described_tag(kind: Kind, body: &[u8]) -> Option<String> {
    let described: Value = serde_json::from_slice(body).ok().filter(|_| kind == Kind::Portainer)?;
    let query = described.pointer("/_request/query")?.as_str()?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "tag").map(|(_, tag)| tag.into_owned())
}

fn pushed(image: &ImageRef) -> Sighting {
    Sighting { image: image.clone(), service: None, delivery: None }
}

fn followed(sightings: &[Sighting], targets: &Targets) -> Explanation {
    let wishes = targets.wishes(sightings);
    let mut takers: Vec<TargetName> = wishes.iter().map(|wish| wish.target.name.clone()).collect();
    takers.sort();
    takers.dedup();
    let nearly = nearly(sightings, targets, &takers);
    let images = images(sightings);
    let (decision, reason) = match takers.as_slice() {
        [] => (Decision::Ignore, nothing_follows(sightings)),
        some => {
            let told: Vec<String> = some.iter().map(|name| told(name, sightings, targets)).collect();
            (Decision::Deploy, format!("followed by {}", told.join(", ")))
        }
    };
    Explanation { decision, images, targets: takers, nearly, reason }
}

/// A target's name, with what its deploys wait for, and under which condition it takes what was seen.
fn told(name: &TargetName, sightings: &[Sighting], targets: &Targets) -> String {
    let Some(target) = targets.get(name) else { return name.to_string() };
    let gates = target.gates.clone();
    let waits = [
        gates.approve.then(|| "an approval".to_owned()),
        gates.window.map(|window| format!("the window {window}")),
        gates.min_age_s.map(|seconds| format!("{seconds} s to pass")),
    ];
    let waits: Vec<String> = waits.into_iter().flatten().collect();
    let waits = (!waits.is_empty()).then(|| format!("waits for {}", waits.join(" and ")));
    let taken = sightings.iter().find_map(|sighting| how_taken(target, &sighting.image));
    let notes: Vec<String> = waits.into_iter().chain(taken).collect();
    if notes.is_empty() { name.to_string() } else { format!("{name} ({})", notes.join("; ")) }
}

/// What is to be known of the rule by which a target takes an image.
fn how_taken(target: &Target, image: &ImageRef) -> Option<String> {
    let tag = image.tag()?;
    let follow = target.follows.iter().find(|follow| follow.takes(image))?;
    if target.goes_upward_to(image) {
        return Some(format!("{tag} is a version within its range; rejected where a higher one runs"));
    }
    let groups = follow.groups(tag).into_iter();
    let groups: Vec<String> = groups.map(|(name, text)| format!("`{name}` is `{text}`")).collect();
    (!groups.is_empty()).then(|| format!("of {tag}, {}", groups.join(", ")))
}

fn nearly(sightings: &[Sighting], targets: &Targets, takers: &[TargetName]) -> Vec<Nearly> {
    let mut nearly = Vec::new();
    for target in targets.iter().filter(|target| !takers.contains(&target.name)) {
        let differences = |follow: &Follow| {
            let why = sightings.iter().find_map(|sighting| difference(follow, &sighting.image))?;
            Some(near(target, follow, why))
        };
        nearly.extend(target.follows.iter().filter_map(differences));
    }
    nearly
}

fn near(target: &Target, follow: &Follow, why: String) -> Nearly {
    Nearly { target: target.name.clone(), follow: follow.to_string(), why }
}

/// What keeps a follow from taking an image that is much like it; none when they have little in common.
fn difference(follow: &Follow, image: &ImageRef) -> Option<String> {
    let (wanted, given) = (follow.repository(), image.repository());
    if wanted == given {
        return match image.tag() {
            Some(tag) => follow.refuses(tag),
            None => Some("it goes by tags, and the image has none".to_owned()),
        };
    }
    if wanted.path() == given.path() {
        return Some(format!("it follows the registry `{}`, not `{}`", wanted.host(), given.host()));
    }
    let last = |path: &str| path.rsplit('/').next().map(str::to_owned);
    (last(wanted.path()) == last(given.path()))
        .then(|| format!("it follows the repository `{}`, not `{}`", wanted.familiar(), given.familiar()))
}

fn images(sightings: &[Sighting]) -> Vec<ImageRef> {
    let mut images: Vec<ImageRef> = Vec::new();
    for sighting in sightings {
        if !images.contains(&sighting.image) {
            images.push(sighting.image.clone());
        }
    }
    images
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
systems: {s: {kind: rehearsal}}
targets:
  shop: {at: s, follow: {image: acme/web, tags: {semver: ">=1.4, <2"}}}
  any: {at: s, follow: {image: acme/web, tags: {semver: ">=1.4, <2"}, allow_downgrade: true}}
  built: {at: s, follow: {image: acme/api, tags: {regex: "release-(?<build>[0-9]+)"}}}
"#;

    fn explained(image: &str) -> (Decision, String, Vec<String>) {
        let told = Explanation::of_image(&image.parse().unwrap(), &Settings::sample(TEXT));
        let nearly = told.nearly.into_iter().map(|near| format!("{}: {}", near.target, near.why));
        (told.decision, told.reason, nearly.collect())
    }

    #[test]
    fn a_rule_for_versions_is_told_with_what_it_depends_on() {
        let (decision, reason, nearly) = explained("acme/web:v1.4.2");
        assert_eq!(decision, Decision::Deploy);
        let upward = "default/shop (v1.4.2 is a version within its range; rejected where a higher one runs)";
        assert!(reason.contains(upward) && reason.contains("followed by default/any, "), "{reason}");
        assert!(nearly.is_empty(), "{nearly:?}");
        for (tag, why) in [
            ("2.0.0", "default/shop: it takes versions within `>=1.4, <2`, not `2.0.0`"),
            ("1.5.0-rc.1", "default/shop: it takes versions within `>=1.4, <2`, which names no pre-release"),
            (
                "latest",
                "default/shop: it takes versions as in `1.4.2` within `>=1.4, <2`, and `latest` is none",
            ),
        ] {
            let (decision, _, nearly) = explained(&format!("acme/web:{tag}"));
            assert_eq!(decision, Decision::Ignore);
            assert!(nearly.iter().any(|near| near.starts_with(why)), "{tag}: {nearly:?}");
        }
    }

    #[test]
    fn an_expression_is_told_with_what_its_groups_are() {
        let (decision, reason, _) = explained("acme/api:release-42");
        assert_eq!(decision, Decision::Deploy);
        assert!(reason.contains("default/built (of release-42, `build` is `42`)"), "{reason}");
        let (decision, _, nearly) = explained("acme/api:release-42-slim");
        assert_eq!(decision, Decision::Ignore);
        assert!(nearly[0].contains("matches as a whole, not `release-42-slim`"), "{nearly:?}");
    }
}
