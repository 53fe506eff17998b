//! The section `sources`.

use std::collections::BTreeMap;

use config::{Faults, Key, Node, Secret};
use proto::{PoolName, TargetName};

use super::keys;
use crate::{
    access::TokenHash,
    authenticate::{Door, Scheme, Signing, standard_key},
    section::{
        BackfillSection, BuildSource, GiteaSource, GithubSource, Names, PlainSource, PollSource,
        RegistrySource, RepositoriesSource, SignedBuildSource, SignedSource,
    },
    source::{Kind, PLACEHOLDERS, Rules, Source, Template, is_registry_host},
};

/// Reads every source, whatever is wrong with the one before. `exposed`: others than this machine come in.
///
/// What can be used and will hardly be meant goes to `warnings`.
pub(super) fn read(
    node: Option<&Node>,
    exposed: bool,
    warnings: &mut Vec<String>,
    faults: &mut Faults,
) -> Option<BTreeMap<String, Source>> {
    let entries = super::section(node, faults)?;
    let (polls, entries): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(_, node)| node.get("kind").and_then(Node::text) == Some("poll"));
    // All of them before any is given up: what is wrong with one hides nothing of another.
    let polls: Vec<Option<PollSource>> =
        polls.into_iter().map(|(_, node)| node.without(&["kind"]).read(faults)).collect();
    let read: Vec<Option<Source>> =
        entries.into_iter().map(|(key, node)| source(key, node, exposed, warnings, faults)).collect();
    polls.into_iter().collect::<Option<Vec<PollSource>>>()?;
    let sources: Vec<Source> = read.into_iter().collect::<Option<_>>()?;
    warnings.extend(keys::shared(&sources));
    Some(sources.into_iter().map(|source| (source.name.clone(), source)).collect())
}

fn source(
    key: &Key,
    node: &Node,
    exposed: bool,
    warnings: &mut Vec<String>,
    faults: &mut Faults,
) -> Option<Source> {
    // The same letters as a target's name: it stands in a path.
    if let Err(error) = TargetName::new(PoolName::default(), &key.text) {
        let hint = "rename the source, as in `sources: {docker-hub: {…}}`: its name stands in the hook's URL";
        faults.push(node.fault(error.to_string()).hint(hint));
    }
    let (kind, typed) = read_source(node, faults)?;
    check_secrets(&typed, node, faults);
    for key_in in keys::short(&typed) {
        let why = keys::TOO_SHORT;
        if exposed {
            let at = node.get(key_in).or(node.get(&format!("{key_in}_file"))).unwrap_or(node);
            faults.push(at.fault(format!("the {key_in} {why}")).hint(keys::LONGER));
        } else {
            warnings.push(format!("the {key_in} of the source `{}` {why}: {}", key.text, keys::LONGER));
        }
    }
    warnings.extend(deploys_nothing(kind, &typed).map(|why| format!("the source `{}` {why}", key.text)));
    check_registry(&typed, kind, node, faults);
    let image = typed.image.as_deref().map(|text| template(text, kind, node, faults));
    let image = match image {
        Some(read) => Some(read?),
        None => None,
    };
    let branches = typed.branches.map(names).unwrap_or_default();
    let workflows = typed.workflows.map(names).unwrap_or_default();
    let events = typed.events.map(names).unwrap_or_default();
    check_events(&events, node, faults);
    let repositories = typed.repositories.map(names).unwrap_or_default();
    warnings.extend(
        takes_what_is_pulled(kind, &repositories).map(|why| format!("the source `{}` {why}", key.text)),
    );
    let signing = kind.scheme().zip(typed.secret.as_ref());
    let door = Door {
        keys: lines(typed.key.as_ref()).map(TokenHash::of).collect(),
        authorizations: lines(typed.authorization.as_ref()).map(TokenHash::of).collect(),
        signing: signing.map(|(scheme, secret)| self::signing(scheme, secret, node, faults)),
        open: typed.open,
        loopback_only: typed.loopback_only,
    };
    let (registry, prereleases) = (typed.registry, typed.prereleases);
    let rules = Rules { registry, image, branches, workflows, events, prereleases, repositories };
    let backfill = typed.backfill.map(|section| super::backfill::read(section, node, faults));
    let backfill = match backfill {
        Some(read) => Some(read?),
        None => None,
    };
    Some(Source { name: key.text.clone(), kind, rules, door, backfill })
}

/// The kind of a source, and what it says as it was typed.
pub(crate) fn read_source(node: &Node, faults: &mut Faults) -> Option<(Kind, Typed)> {
    let Some(kind) = node.get("kind") else {
        faults.push(
            node.fault("the source has no `kind`")
                .hint("say who sends: `kind: plain`, `github`, `harbor`, `distribution`, …"),
        );
        return None;
    };
    let kind: Kind = kind.read(faults)?;
    Some((kind, Typed::read(kind, &node.without(&["kind"]), faults)?))
}

/// All that a source of any kind may say.
#[derive(Default)]
pub(crate) struct Typed {
    pub(crate) key: Option<Secret>,
    pub(crate) authorization: Option<Secret>,
    pub(crate) secret: Option<Secret>,
    open: bool,
    pub(crate) loopback_only: bool,
    registry: Option<String>,
    image: Option<String>,
    branches: Option<Names>,
    workflows: Option<Names>,
    events: Option<Names>,
    prereleases: bool,
    repositories: Option<Names>,
    backfill: Option<BackfillSection>,
}

impl Typed {
    fn read(kind: Kind, node: &Node, faults: &mut Faults) -> Option<Typed> {
        match (kind, kind.scheme().is_some(), kind.takes_template()) {
            (Kind::Plain, _, _) => node.read::<PlainSource>(faults).map(Typed::from),
            (Kind::Github, _, _) => node.read::<GithubSource>(faults).map(Typed::from),
            (Kind::Jfrog | Kind::Nexus, _, _) => node.read::<RepositoriesSource>(faults).map(Typed::from),
            (Kind::Gitea, _, _) => node.read::<GiteaSource>(faults).map(Typed::from),
            (_, true, true) => node.read::<SignedBuildSource>(faults).map(Typed::from),
            (_, false, true) => node.read::<BuildSource>(faults).map(Typed::from),
            (_, true, false) => node.read::<SignedSource>(faults).map(Typed::from),
            (_, false, false) => node.read::<RegistrySource>(faults).map(Typed::from),
        }
    }
}

macro_rules! typed_from {
    ($($section:ident { $($field:ident),* })*) => {
        $(impl From<$section> for Typed {
            #[allow(clippy::needless_update, reason = "one kind may say all of it")]
            fn from(section: $section) -> Typed {
                let $section { key, authorization, open, loopback_only, $($field),* } = section;
                Typed { key, authorization, open, loopback_only, $($field,)* ..Typed::default() }
            }
        })*
    };
}

typed_from! {
    PlainSource { secret }
    RegistrySource { registry }
    SignedSource { secret, registry }
    RepositoriesSource { secret, registry, repositories }
    BuildSource { image, branches }
    SignedBuildSource { secret, image, branches, events }
    GiteaSource { secret, registry, image, branches, workflows, events, prereleases }
    GithubSource { secret, registry, image, branches, workflows, events, prereleases, backfill }
}

/// The secrets of a text, one in each of its lines: several while one is being replaced.
pub(super) fn lines(secret: Option<&Secret>) -> impl Iterator<Item = &str> {
    let lines = secret.into_iter().flat_map(|secret| secret.expose().lines());
    lines.map(str::trim).filter(|line| !line.is_empty())
}

fn signing(scheme: Scheme, secret: &Secret, node: &Node, faults: &mut Faults) -> Signing {
    let secrets: Vec<Secret> = lines(Some(secret)).map(Secret::new).collect();
    if secrets.is_empty() || secrets.iter().any(|secret| standard_key(secret.expose()).is_none()) {
        let at = node.get("secret").or(node.get("secret_file")).unwrap_or(node);
        let fault = at.fault("the secret cannot be used: what begins with `whsec_` goes on in base64");
        faults.push(fault.hint("copy the whole secret as the sender shows it"));
    }
    Signing { scheme, secrets }
}

fn check_secrets(typed: &Typed, node: &Node, faults: &mut Faults) {
    let keys = lines(typed.key.as_ref()).chain(lines(typed.authorization.as_ref())).count();
    let has_secret = keys > 0 || typed.secret.is_some();
    if !has_secret && !typed.open {
        let fault = node.fault("the source has no secret, anyone could deploy through it");
        faults.push(
            fault.hint("give it `key_file`, `authorization_file`, or `secret_file` where its senders sign; if everyone may, say `open: true`"),
        );
    }
    if has_secret && typed.open {
        let fault = node.fault("the source has a secret and is open, so the secret would not be asked for");
        faults.push(fault.hint("leave out `open`, or the secret"));
    }
}

/// Why a source can never deploy anything; none when it can. It is answered all the same: it may be there to be tried.
fn deploys_nothing(kind: Kind, typed: &Typed) -> Option<&'static str> {
    match typed {
        Typed { registry: None, .. } if kind.needs_registry() => {
            Some("deploys nothing: its messages do not say their registry. Give it `registry`")
        }
        Typed { image: None, .. } if kind.needs_template() => Some(
            "deploys nothing: its messages name no image. Give it `image`, as in `registry.example.com/{path}:{tag}`",
        ),
        Typed { .. } => None,
    }
}

/// Why a source may deploy what nobody pushed.
fn takes_what_is_pulled(kind: Kind, repositories: &[String]) -> Option<&'static str> {
    (kind.hides_what_is_pulled() && repositories.is_empty()).then_some(
        "takes the events of every repository: where one of them stands for another registry, whoever pulls through it deploys. \
         Name those that are pushed to, as in `repositories: [docker-hosted]`",
    )
}

/// A change that anybody may propose is tried by a run as well.
fn check_events(events: &[String], node: &Node, faults: &mut Faults) {
    let Some(event) =
        events.iter().find(|event| event.contains("pull_request") || event.contains("merge_request"))
    else {
        return;
    };
    let fault = node.get("events").unwrap_or(node).fault(format!("a run for a `{event}` never deploys"));
    faults.push(fault.hint("leave it out: anybody may propose a change, and what is taken over is a `push`"));
}

fn check_registry(typed: &Typed, kind: Kind, node: &Node, faults: &mut Faults) {
    let Some(registry) = typed.registry.as_deref() else { return };
    // One kind says more of a registry than its host.
    let host = if kind == Kind::Jfrog { registry.split('/').next().unwrap_or_default() } else { registry };
    if !is_registry_host(host) {
        let fault = node.get("registry").unwrap_or(node).fault(format!("`{registry}` is no registry host"));
        faults.push(
            fault.hint("write the host as it stands in image names, as in `registry.example.com:5000`"),
        );
    }
}

fn template(text: &str, kind: Kind, node: &Node, faults: &mut Faults) -> Option<Template> {
    let at = node.get("image").unwrap_or(node);
    let read = text.parse::<Template>().and_then(|template| template.check(kind).map(|()| template));
    match read {
        Ok(template) => Some(template),
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            let fault = at.fault(format!("`{text}` cannot be used: {error}{cause}"));
            faults.push(fault.hint(format!(
                "write it as in `ghcr.io/{{owner}}/{{repo}}:{{tag}}`; known are `{{{}}}`",
                PLACEHOLDERS.join("}`, `{")
            )));
            None
        }
    }
}

pub(super) fn names(names: Names) -> Vec<String> {
    let names = match names {
        Names::One(text) => text.split(',').map(str::to_owned).collect(),
        Names::Several(names) => names,
    };
    names.into_iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}
