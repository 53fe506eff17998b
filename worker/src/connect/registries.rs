//! What the registries of a configuration say when they are asked with its keys. Nothing is pulled.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use proto::{Follow, ImageRef, TagPolicy};

use super::{ANSWERED_WITHIN, Connected, no_answer};
use crate::{Settings, poll::registry::RegistryClient, verdict::chain};

/// Asks every registry that has a key here and, where somebody looks for new tags, every one in which a declared target
/// follows something. Without that the others are the engines' business: a worker need not reach them.
pub(super) async fn ask(settings: &Settings) -> Vec<Connected> {
    let client = RegistryClient::new(settings.registries.clone());
    let mut followed: BTreeMap<&str, Vec<&Follow>> = BTreeMap::new();
    for host in settings.registries.keys() {
        followed.insert(host, Vec::new());
    }
    for follow in settings.targets.iter().flat_map(|target| &target.follows) {
        let host = follow.repository().host();
        if settings.poll.is_some() || followed.contains_key(host) {
            followed.entry(host).or_default().push(follow);
        }
    }
    join_all(followed.into_iter().map(|(host, follows)| ask_one(&client, host, follows))).await
}

async fn ask_one(client: &RegistryClient, host: &str, follows: Vec<&Follow>) -> Connected {
    let mut told = Connected { name: host.to_owned(), found: Vec::new(), missing: Vec::new() };
    let asking = async {
        match client.greet(host).await {
            Ok(()) if client.has_key(host) => told.found.push("it takes the key".to_owned()),
            Ok(()) => told.found.push("it answers; there is no key for it here".to_owned()),
            // What it says of each image would be the same.
            Err(error) => return told.missing.push(chain(&error)),
        }
        let mut asked = BTreeSet::new();
        for follow in follows {
            if asked.insert(follow.to_string()) {
                match look(client, follow).await {
                    Ok(line) => told.found.push(line),
                    Err(line) => told.missing.push(line),
                }
            }
        }
    };
    if tokio::time::timeout(ANSWERED_WITHIN, asking).await.is_err() {
        told.missing.push(no_answer(host));
    }
    told
}

/// What there is of an image that is followed. A tag that was not pushed yet is no fault.
async fn look(client: &RegistryClient, follow: &Follow) -> Result<String, String> {
    let told = |error| format!("`{follow}`: {}", chain(&error));
    if let TagPolicy::Exact(tag) = follow.tags()
        && let Ok(image) = ImageRef::new(follow.repository().clone(), Some(tag), None)
    {
        return Ok(match client.digest(&image).await.map_err(told)? {
            Some(_) => format!("`{follow}` can be read"),
            None => format!("`{follow}` is not there, or not to be seen with this key"),
        });
    }
    let listed = client.tags(follow.repository()).await.map_err(told)?;
    let taken = listed.tags.iter().filter(|tag| follow.takes_tag(tag)).count();
    Ok(format!("`{follow}` takes {taken} of {} tags", listed.tags.len()))
}
