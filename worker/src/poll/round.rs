//! One look at everything that the targets of a pool follow.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::join_all;
use proto::{CauseKind, Digest, Follow, ImageRef, PoolName, Repository, Sighting, TagPolicy, TargetName};

use super::{
    choice::{Tags, passed_over, worth_a_look},
    memory,
    registry::{RegistryClient, RegistryError},
};
use crate::{execute::Executor, verdict::chain};

/// What is looked for in a pool, and what was seen.
pub(super) struct Round {
    pool: PoolName,
    source: String,
    registries: RegistryClient,
    /// What each target was told of, or was seen to run.
    told: HashMap<(TargetName, ImageRef), Digest>,
    /// The tags of repositories of which patterns are followed, as they were: a tag is among them once it was dealt with.
    tags: Arc<Mutex<memory::Tags>>,
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
    pub(super) fn new(
        pool: PoolName,
        source: String,
        registries: RegistryClient,
        tags: Arc<Mutex<memory::Tags>>,
    ) -> Round {
        let (complaints, known_complaints) = (HashSet::new(), HashSet::new());
        Round { pool, source, registries, told: HashMap::new(), tags, complaints, known_complaints }
    }

    /// Looks once at every tag that is followed, and tells of what is new.
    pub(super) async fn look(&mut self, executor: &Executor) {
        self.known_complaints = std::mem::take(&mut self.complaints);
        let mut plan = self.plan(executor);
        let still = plan.targets();
        self.told.retain(|(target, image), _| {
            still.contains(target) && plan.images.get(image).is_none_or(|who| who.contains(target))
        });
        let mut lists = self.look_for_tags(&plan).await;
        self.add_from_patterns(executor, &mut plan, &lists).await;
        for seen in self.look_for_images(&plan).await {
            for (image, digest) in seen.images {
                let followers = plan.images.get(&image).into_iter().flatten();
                if !self.tell(executor, &image, &digest, followers).await {
                    forget_tag(&mut lists, &image);
                }
            }
            seen.failed.iter().for_each(|image| forget_tag(&mut lists, image));
            self.complain(seen.errors);
        }
        // At the very end: what is cut off half-way, by another configuration, is looked at anew.
        self.tags.lock().unwrap_or_else(PoisonError::into_inner).extend(lists);
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

    async fn look_for_tags(&mut self, plan: &Plan) -> memory::Tags {
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
        let mut lists = memory::Tags::new();
        for seen in all {
            lists.extend(seen.lists);
            self.complain(seen.errors);
        }
        lists
    }

    /// Adds the tags of patterns and of ranges that are worth a look.
    async fn add_from_patterns(&self, executor: &Executor, plan: &mut Plan, lists: &memory::Tags) {
        let former = self.tags.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (repository, follows) in std::mem::take(&mut plan.patterns) {
            let Some(now) = lists.get(&repository) else { continue };
            let tags = Tags { now, former: former.get(&repository) };
            for (target, follow) in follows {
                let images = running(executor, &target).await.unwrap_or_default();
                let of_it = |image: &&ImageRef| self.registries.is_same(image.repository(), &repository);
                let images: Vec<&ImageRef> = images.iter().filter(of_it).collect();
                let chosen = worth_a_look(&follow, &images, &tags);
                let passed_over = passed_over(&follow, &tags, &chosen);
                if passed_over > 0 {
                    tracing::info!(
                        %target,
                        follow = %follow,
                        tags = passed_over,
                        "the first look: tags that were there before are not deployed, and nothing tells whether one was \
                         pushed since somebody looked last"
                    );
                }
                chosen.into_iter().for_each(|tag| plan.follow(&repository, tag, &target));
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

    /// Hands in a sighting where a follower runs something else and was not told before. Whether all of them are dealt
    /// with.
    async fn tell(
        &mut self,
        executor: &Executor,
        image: &ImageRef,
        digest: &Digest,
        followers: impl Iterator<Item = &TargetName>,
    ) -> bool {
        let (mut news, mut all) = (Vec::new(), true);
        for target in followers {
            let name = (target.clone(), image.clone());
            // What died is told again: that it could not be carried out says nothing of the image.
            if self.told.get(&name) == Some(digest) && !executor.index.died_long_ago(target, image) {
                continue;
            }
            // What cannot be looked at now is looked at the next time.
            let Some(running) = running(executor, target).await else {
                all = false;
                continue;
            };
            if self.is_in_step(&running, image, digest) {
                self.told.insert(name, digest.clone());
            } else {
                news.push(name);
            }
        }
        if news.is_empty() {
            return all;
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
                all
            }
            Err(error) => {
                tracing::warn!(
                    image = image.familiar(),
                    error = chain(&error),
                    "seen, and could not be told"
                );
                false
            }
        }
    }

    /// Whether a target runs what the tag of `image` points to: every part of it that runs the repository. One of
    /// several that was left behind is news.
    fn is_in_step(&self, running: &[ImageRef], image: &ImageRef, digest: &Digest) -> bool {
        let is_of_it =
            |running: &&ImageRef| self.registries.is_same(running.repository(), image.repository());
        let mut followers = running.iter().filter(is_of_it).peekable();
        followers.peek().is_some() && followers.all(|running| running.digest() == Some(digest))
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

/// What could not be dealt with is new again the next time, where it is a new tag of a pattern.
fn forget_tag(lists: &mut memory::Tags, image: &ImageRef) {
    if let (Some(tags), Some(tag)) = (lists.get_mut(image.repository()), image.tag()) {
        tags.remove(tag);
    }
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
    use crate::settings::Registry;

    #[test]
    fn a_target_is_in_step_once_all_of_it_is() {
        let [new, old] = ["a", "b"].map(|digit| format!("sha256:{}", digit.repeat(64)));
        let image: ImageRef = "r.lan/app:1".parse().unwrap();
        let digest: Digest = new.parse().unwrap();
        let vpc = Registry { pull_from: Some("vpc.lan".to_owned()), ..Registry::default() };
        let registries = RegistryClient::new(BTreeMap::from([("r.lan".to_owned(), vpc)]));
        let round = Round::new(PoolName::default(), "poll".to_owned(), registries, Arc::default());
        let runs = |images: &[String]| {
            let images: Vec<ImageRef> = images.iter().map(|image| image.parse().unwrap()).collect();
            round.is_in_step(&images, &image, &digest)
        };
        let (at_new, at_old) = (format!("r.lan/app:1@{new}"), format!("r.lan/app:1@{old}"));
        let other = format!("r.lan/db:1@{old}");
        assert!(runs(&[at_new.clone(), other.clone()]));
        assert!(runs(&[format!("vpc.lan/app:1@{new}")]), "pulled from the registry's other address");
        assert!(
            runs(&[at_new.clone(), format!("else.lan/app:1@{old}")]),
            "another registry's is another image"
        );
        assert!(!runs(&[at_new.clone(), at_old.clone()]), "one service was left behind");
        assert!(!runs(&[at_new, "r.lan/app:1".to_owned()]), "what is not pinned may be anything");
        assert!(!runs(&[at_old]) && !runs(&[other]) && !runs(&[]));
    }
}
