//! What a text uses that has to be there already: networks, configs and secrets that it calls external.
//!
//! The docker command would find out as well, but late: a rollout that the text was to follow has been taken from its
//! watch by then, for nothing.

use proto::StackText;

use super::{
    FoundText,
    compose::{Compose, Map, Tree},
};
use crate::target::TargetError;

const KINDS: [&str; 3] = ["networks", "configs", "secrets"];

impl FoundText {
    pub(super) async fn refuse_without_externals(&self) -> Result<(), TargetError> {
        let mut missing = Vec::new();
        for (kind, name) in externals(&self.compose, &self.text) {
            if !self.stack.swarm.client.is_there(kind, &name).await? {
                missing.push(format!("the {} `{name}`", kind.trim_end_matches('s')));
            }
        }
        match missing.as_slice() {
            [] => Ok(()),
            missing => Err(self.stack.declined(format!(
                "the compose text names as external what the swarm does not have: {}; make it first, or remove `external`",
                missing.join(", ")
            ))),
        }
    }
}

/// Those that a service uses: the docker command does not look at others either. What cannot be told is left to it.
fn externals(compose: &Compose, text: &StackText) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for kind in KINDS {
        let Some(Tree::Map(declared)) = value(&compose.root, kind) else { continue };
        for (key, body) in declared {
            let Some(name) = external_name(key, body) else { continue };
            let Ok(name) = text.filled(name) else { continue };
            if !name.is_empty() && is_used(compose, kind, key) {
                found.push((kind, name));
            }
        }
    }
    found
}

/// `external: true` with or without a `name` beside it, or the older `external: {name: …}`.
fn external_name<'a>(key: &'a str, body: &'a Tree) -> Option<&'a str> {
    let Tree::Map(body) = body else { return None };
    match value(body, "external")? {
        Tree::Scalar { text, plain: true } if text.eq_ignore_ascii_case("true") => {
            value(body, "name").map_or(Some(key), scalar)
        }
        Tree::Map(older) => value(older, "name").or_else(|| value(body, "name")).map_or(Some(key), scalar),
        Tree::Scalar { .. } | Tree::List(_) => None,
    }
}

fn is_used(compose: &Compose, kind: &str, key: &str) -> bool {
    let Some(Tree::Map(services)) = value(&compose.root, "services") else { return false };
    let names_it = |item: &Tree| match item {
        Tree::Scalar { text, .. } => text == key,
        Tree::Map(long) => value(long, "source").and_then(scalar) == Some(key),
        Tree::List(_) => false,
    };
    services.iter().any(|(_, body)| {
        let Tree::Map(body) = body else { return false };
        match value(body, kind) {
            Some(Tree::List(items)) => items.iter().any(names_it),
            Some(Tree::Map(items)) => items.iter().any(|(name, _)| name == key),
            Some(Tree::Scalar { .. }) | None => false,
        }
    })
}

fn value<'a>(map: &'a Map, key: &str) -> Option<&'a Tree> {
    map.iter().find(|(known, _)| known == key).map(|(_, value)| value)
}

fn scalar(tree: &Tree) -> Option<&str> {
    match tree {
        Tree::Scalar { text, .. } => Some(text),
        Tree::List(_) | Tree::Map(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_to_be_there_is_found_in_every_form_it_is_written_in() {
        let mut text = StackText::of(
            "services:\n  web:\n    image: a:1\n    networks: [plain, named]\n    configs: [{source: page, target: /p}]\n  \
             db:\n    image: b:1\n    networks: {older: {aliases: [x]}}\n    secrets: [key]\nnetworks:\n  plain: {external: \
             true}\n  named: {external: true, name: 'net-${STAGE}'}\n  older: {external: {name: old-net}}\n  unused: \
             {external: true}\n  own: {}\nconfigs:\n  page: {external: true}\nsecrets:\n  key: {external: false}\n"
                .to_owned(),
        );
        text.env.insert("STAGE".to_owned(), proto::Given::Value("dev".to_owned()));
        let compose = Compose::read(&text).unwrap();
        let told: Vec<String> =
            externals(&compose, &text).iter().map(|(kind, name)| format!("{kind} {name}")).collect();
        assert_eq!(told, ["networks plain", "networks net-dev", "networks old-net", "configs page"]);
    }
}
