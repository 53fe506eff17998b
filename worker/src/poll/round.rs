//! One look at everything that the targets of a pool follow.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures::future::join_all;
use proto::{CauseKind, Digest, Follow, ImageRef, PoolName, Repository, Sighting, TagPolicy, TargetName};

use super::registry::{RegistryClient, RegistryError};
use crate::{execute::Executor, verdict::chain};

/// What is looked for in a pool, and what was seen.
pub(super) struct Round {
    pool: PoolName,
    source: String,
    registries: RegistryClient,
    /// What each target was told of, or was seen to run.
    told: HashMap<(TargetName, ImageRef), Digest>,
    /// The tags of repositories of which patterns are followed, as they were.
    tags: HashMap<Repository, BTreeSet<String>>,
    /// What went wrong the last time, so that it is said once.
    /// What went wrong in this round.
    complaints: HashSet<String>,
    /// What went wrong in the round before.
    known_complaints: HashSet<String>,
}

/// Who follows which tags.
#[derive(Default)]
struct Plan {
    /// Tags that are followed by name.
    images: BTreeMap<ImageRef, BTreeSet<TargetName>>,
    /// Patterns of tags, by repository.
    patterns: BTreeMap<Repository, Vec<(TargetName, Follow)>>,
}

/// What one registry had to tell.
#[derive(Default)]
struct Seen {
    images: Vec<(ImageRef, Digest)>,
    lists: Vec<(Repository, BTreeSet<String>)>,
    /// What was asked for in vain.
    failed: Vec<ImageRef>,
    errors: Vec<RegistryError>,
}

impl Round {
    pub(super) fn new(pool: PoolName, source: String, registries: RegistryClient) -> Round {
        let (told, tags) = (HashMap::new(), HashMap::new());
        let (complaints, known_complaints) = (HashSet::new(), HashSet::new());
        Round { pool, source, registries, told, tags, complaints, known_complaints }
    }

    /// Looks once at every tag that is followed, and tells of what is new.
    pub(super) async fn look(&mut self, executor: &Executor) {
        self.known_complaints = std::mem::take(&mut self.complaints);
        let mut plan = self.plan(executor);
        let still = plan.targets();
        self.told.retain(|(target, image), _| {
            still.contains(target) && plan.images.get(image).is_none_or(|who| who.contains(target))
        });
        let lists = self.look_for_tags(&plan).await;
        self.add_new_tags(executor, &mut plan, lists).await;
        for seen in self.look_for_images(&plan).await {
            for (image, digest) in seen.images {
                let followers = plan.images.get(&image).into_iter().flatten();
                self.tell(executor, &image, &digest, followers).await;
            }
            seen.failed.iter().for_each(|image| self.forget_tag(image));
            self.complain(seen.errors);
        }
    }

    fn plan(&self, executor: &Executor) -> Plan {
        let mut plan = Plan::default();
        let inventories = executor.fleet.roster().inventories();
        let known = inventories.borrow();
        let listings = known.values().filter(|inventory| inventory.pool == self.pool);
        for listing in listings.flat_map(|inventory| &inventory.targets) {
            for follow in &listing.follows {
                match follow.tags() {
                    TagPolicy::Exact(tag) => plan.follow(follow.repository(), tag, &listing.target),
                    TagPolicy::Glob(_) | TagPolicy::Semver(_) | TagPolicy::Regex(_) => {
                        let patterns = plan.patterns.entry(follow.repository().clone()).or_default();
                        patterns.push((listing.target.clone(), follow.clone()));
                    }
                }
            }
        }
        plan
    }

    async fn look_for_tags(&mut self, plan: &Plan) -> Vec<(Repository, BTreeSet<String>)> {
        let repositories = by_host(plan.patterns.keys(), Repository::host);
        let looks = repositories.into_values().map(|repositories| async {
            let mut seen = Seen::default();
            for repository in repositories {
                match self.registries.tags(repository).await {
                    Ok(tags) => seen.lists.push((repository.clone(), tags)),
                    Err(error) => seen.errors.push(error),
                }
            }
            seen
        });
        let all = join_all(looks).await;
        let mut lists = Vec::new();
        for seen in all {
            lists.extend(seen.lists);
            self.complain(seen.errors);
        }
        lists
    }

    /// Of the tags that match a pattern: those that were not there the last time, and the one that runs now.
    async fn add_new_tags(
        &mut self,
        executor: &Executor,
        plan: &mut Plan,
        lists: Vec<(Repository, BTreeSet<String>)>,
    ) {
        let patterns = std::mem::take(&mut plan.patterns);
        for (repository, tags) in lists {
            let former = self.tags.insert(repository.clone(), tags.clone());
            for (target, follow) in patterns.get(&repository).into_iter().flatten() {
                if let Some(former) = &former {
                    let new = tags.difference(former).filter(|tag| follow.takes_tag(tag));
                    new.for_each(|tag| plan.follow(&repository, tag, target));
                }
                for image in running(executor, target).await.unwrap_or_default() {
                    let tag = image.tag().filter(|tag| follow.takes_tag(tag));
                    if let Some(tag) = tag.filter(|_| image.repository().path() == repository.path()) {
                        plan.follow(&repository, tag, target);
                    }
                }
            }
        }
    }

    /// One registry beside the other, its tags one after the other.
    async fn look_for_images(&self, plan: &Plan) -> Vec<Seen> {
        let images = by_host(plan.images.keys(), |image| image.repository().host());
        let looks = images.into_values().map(|images| async {
            let mut seen = Seen::default();
            for image in images {
                match self.registries.digest(image).await {
                    Ok(Some(digest)) => seen.images.push((image.clone(), digest)),
                    // Not pushed yet, or gone: what runs goes on.
                    Ok(None) => tracing::debug!(image = image.familiar(), "is not in its registry"),
                    Err(error) => {
                        seen.failed.push(image.clone());
                        seen.errors.push(error);
                    }
                }
            }
            seen
        });
        join_all(looks).await
    }

    /// Hands in a sighting where a follower runs something else and was not told before.
    async fn tell(
        &mut self,
        executor: &Executor,
        image: &ImageRef,
        digest: &Digest,
        followers: impl Iterator<Item = &TargetName>,
    ) {
        let mut news = Vec::new();
        for target in followers {
            let name = (target.clone(), image.clone());
            // What died is told again: that it could not be carried out says nothing of the image.
            if self.told.get(&name) == Some(digest) && !executor.index.died_long_ago(target, image) {
                continue;
            }
            // What cannot be looked at now is looked at the next time.
            let Some(running) = running(executor, target).await else { continue };
            if is_in_step(&running, image, digest) {
                self.told.insert(name, digest.clone());
            } else {
                news.push(name);
            }
        }
        if news.is_empty() {
            return;
        }
        let sighting = Sighting {
            image: image.with_digest(digest.clone()),
            service: None,
            kind: CauseKind::Poll,
            source: Some(self.source.clone()),
            delivery: Some(uuid::Uuid::now_v7().to_string()),
            by: None,
        };
        match executor.queue.submit(sighting.encode().into()).await {
            Ok(()) => {
                tracing::info!(
                    image = sighting.image.familiar(),
                    targets = news.len(),
                    "seen in its registry"
                );
                self.told.extend(news.into_iter().map(|name| (name, digest.clone())));
            }
            Err(error) => {
                tracing::warn!(
                    image = image.familiar(),
                    error = chain(&error),
                    "seen, and could not be told"
                );
                self.forget_tag(image);
            }
        }
    }

    /// A new tag of a pattern that could not be dealt with is new again the next time.
    fn forget_tag(&mut self, image: &ImageRef) {
        if let (Some(tags), Some(tag)) = (self.tags.get_mut(image.repository()), image.tag()) {
            tags.remove(tag);
        }
    }

    /// Says what went wrong, once as long as it does: what went well in between is new when it goes wrong again.
    fn complain(&mut self, errors: Vec<RegistryError>) {
        for error in errors {
            // The seconds left of a pause would make each a new one.
            let about = match &error {
                RegistryError::Limited { host, .. } => format!("{host} limits"),
                RegistryError::Unreachable { .. }
                | RegistryError::CredentialsRefused { .. }
                | RegistryError::BadAnswer { .. } => chain(&error),
            };
            let is_known = self.known_complaints.contains(&about) || self.complaints.contains(&about);
            self.complaints.insert(about);
            match is_known {
                false => tracing::warn!(error = chain(&error), "a look at a registry failed"),
                true => tracing::debug!(error = chain(&error), "a look at a registry failed again"),
            }
        }
    }
}

impl Plan {
    fn targets(&self) -> HashSet<TargetName> {
        let patterns = self.patterns.values().flatten().map(|(target, _)| target);
        self.images.values().flatten().chain(patterns).cloned().collect()
    }

    fn follow(&mut self, repository: &Repository, tag: &str, target: &TargetName) {
        let image = ImageRef::new(repository.clone(), Some(tag), None);
        if let Ok(image) = image {
            self.images.entry(image).or_default().insert(target.clone());
        }
    }
}

/// Whether a target runs what the tag of `image` points to: every part of it that runs the repository. One of several
/// that was left behind is news.
fn is_in_step(running: &[ImageRef], image: &ImageRef, digest: &Digest) -> bool {
    let path = image.repository().path();
    let mut followers = running.iter().filter(|running| running.repository().path() == path).peekable();
    followers.peek().is_some() && followers.all(|running| running.digest() == Some(digest))
}

/// The images that a target is meant to run; none where it cannot be looked at.
async fn running(executor: &Executor, target: &TargetName) -> Option<Vec<ImageRef>> {
    match executor.fleet.target(target)?.images().await {
        Ok(images) => Some(images),
        Err(error) => {
            tracing::debug!(%target, error = chain(&error), "cannot be looked at");
            None
        }
    }
}

fn by_host<'a, T>(
    all: impl Iterator<Item = &'a T>,
    host: impl Fn(&T) -> &str,
) -> BTreeMap<String, Vec<&'a T>> {
    let mut hosts: BTreeMap<String, Vec<&T>> = BTreeMap::new();
    for one in all {
        hosts.entry(host(one).to_owned()).or_default().push(one);
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_in_step_once_all_of_it_is() {
        let [new, old] = ["a", "b"].map(|digit| format!("sha256:{}", digit.repeat(64)));
        let image: ImageRef = "r.lan/app:1".parse().unwrap();
        let digest: Digest = new.parse().unwrap();
        let runs = |images: &[String]| {
            let images: Vec<ImageRef> = images.iter().map(|image| image.parse().unwrap()).collect();
            is_in_step(&images, &image, &digest)
        };
        let (at_new, at_old) = (format!("r.lan/app:1@{new}"), format!("r.lan/app:1@{old}"));
        let other = format!("r.lan/db:1@{old}");
        assert!(runs(&[at_new.clone(), other.clone()]));
        assert!(runs(&[format!("vpc.lan/app:1@{new}")]), "pulled from the registry's other address");
        assert!(!runs(&[at_new.clone(), at_old.clone()]), "one service was left behind");
        assert!(!runs(&[at_new, "r.lan/app:1".to_owned()]), "what is not pinned may be anything");
        assert!(!runs(&[at_old]) && !runs(&[other]) && !runs(&[]));
    }
}
