//! One look at everything that the targets of a pool follow.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use proto::{
    CauseKind, Digest, Follow, ImageRef, PoolName, Repository, Sighting, TagPolicy, TargetName, Timestamp,
};

use super::{
    choice::{Tags, passed_over, worth_a_look},
    memory::Remembered,
    notices::Notices,
    registry::{Listed, RegistryClient, RegistryError},
};
use crate::{execute::Executor, verdict::chain};

/// How long it may take until a job comes of what was told.
const JOB_WITHIN: Duration = Duration::from_secs(10);

/// What is looked for in a pool, and what was seen.
pub(super) struct Round {
    pool: PoolName,
    source: String,
    registries: RegistryClient,
    /// What each target was told of, or was seen to run, and since when.
    told: HashMap<(TargetName, ImageRef), (Digest, Instant)>,
    /// What was seen and dealt with.
    remembered: Arc<Mutex<Remembered>>,
    notices: Notices,
}

/// Who follows which tags.
#[derive(Default)]
struct Plan {
    /// Tags to look at.
    images: BTreeMap<ImageRef, BTreeSet<TargetName>>,
    /// Those of them that are followed by name.
    named: BTreeSet<ImageRef>,
    /// Patterns of tags, by repository.
    patterns: BTreeMap<Repository, Vec<(TargetName, Follow)>>,
}

/// What a registry told of one tag.
type Told = (ImageRef, Result<Option<Digest>, RegistryError>);

/// Where a target stands to what a tag points to.
enum Standing {
    /// It runs that.
    InStep,
    /// It has yet to be told.
    Behind,
    /// It was told at an earlier look, and nothing came or comes of it.
    PassedOver,
    /// It was told, and a job of it is under way or waits; or it cannot be looked at now.
    Unclear,
}

impl Round {
    pub(super) fn new(
        pool: PoolName,
        source: String,
        registries: RegistryClient,
        remembered: Arc<Mutex<Remembered>>,
    ) -> Round {
        Round { pool, source, registries, told: HashMap::new(), remembered, notices: Notices::default() }
    }

    /// Looks once at every tag that is followed, and tells of what is new.
    pub(super) async fn look(&mut self, executor: &Executor) {
        self.notices.begin();
        let mut plan = self.plan(executor);
        let still = plan.targets();
        self.told.retain(|(target, image), _| {
            still.contains(target) && plan.images.get(image).is_none_or(|who| who.contains(target))
        });
        let mut seen = self.look_for_tags(&plan).await;
        self.add_from_patterns(executor, &mut plan, &seen).await;
        for (image, answer) in self.look_for_images(&plan).await {
            let is_dealt_with = match &answer {
                Ok(Some(digest)) => self.tell(executor, (&image, digest), plan.followers(&image)).await,
                Ok(None) => {
                    self.miss(&plan, &image);
                    true
                }
                Err(error) => {
                    self.notices.image_untold(&image, error, plan.followers(&image));
                    false
                }
            };
            match answer {
                Ok(Some(digest)) if is_dealt_with => seen.note(image, digest, Timestamp::now()),
                Ok(_) | Err(_) if !is_dealt_with => seen.forget_tag(&image),
                Ok(_) | Err(_) => {}
            }
        }
        // At the very end: what is cut off half-way, by another configuration, is looked at anew.
        self.remembered().extend(seen);
        executor.fleet.roster().looked(&self.pool, Some(self.notices.faults()));
    }

    fn plan(&self, executor: &Executor) -> Plan {
        let mut plan = Plan::default();
        let inventories = executor.fleet.roster().inventories();
        let known = inventories.borrow();
        let listings = known.values().filter(|inventory| inventory.pool == self.pool);
        for listing in listings.flat_map(|inventory| &inventory.targets) {
            for follow in &listing.follows {
                match follow.tags() {
                    TagPolicy::Exact(tag) => {
                        let image = plan.follow(follow.repository(), tag, &listing.target);
                        plan.named.extend(image);
                    }
                    TagPolicy::Glob(_) | TagPolicy::Semver(_) | TagPolicy::Regex(_) => {
                        let patterns = plan.patterns.entry(follow.repository().clone()).or_default();
                        patterns.push((listing.target.clone(), follow.clone()));
                    }
                }
            }
        }
        plan
    }

    /// The tags of every repository of which patterns are followed.
    async fn look_for_tags(&mut self, plan: &Plan) -> Remembered {
        let repositories = by_host(plan.patterns.keys(), Repository::host);
        let looks = repositories.into_values().map(|repositories| async {
            let mut told = Vec::new();
            for repository in repositories {
                told.push((repository, self.registries.tags(repository).await));
            }
            told
        });
        let mut seen = Remembered::default();
        for (repository, told) in join_all(looks).await.into_iter().flatten() {
            let who =
                || plan.patterns.get(repository).into_iter().flatten().map(|(target, _)| target.clone());
            match told {
                Ok(Listed { tags, is_whole }) => {
                    if !is_whole {
                        self.notices.too_many_tags(repository, tags.len(), &who().collect());
                    }
                    seen.tags.insert(repository.clone(), tags);
                }
                Err(error) => self.notices.tags_untold(repository, &error, &who().collect()),
            }
        }
        seen
    }

    /// Adds the tags of patterns and of ranges that are worth a look.
    async fn add_from_patterns(&mut self, executor: &Executor, plan: &mut Plan, seen: &Remembered) {
        let former = self.remembered().tags.clone();
        for (repository, follows) in std::mem::take(&mut plan.patterns) {
            let Some(now) = seen.tags.get(&repository) else { continue };
            let tags = Tags { now, former: former.get(&repository) };
            for (target, follow) in follows {
                if !now.iter().any(|tag| follow.takes_tag(tag)) {
                    self.notices.no_tag(&follow, &target);
                }
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
                for tag in chosen {
                    plan.follow(&repository, tag, &target);
                }
            }
        }
    }

    /// One registry beside the other, its tags one after the other.
    async fn look_for_images(&self, plan: &Plan) -> Vec<Told> {
        let images = by_host(plan.images.keys(), |image| image.repository().host());
        let looks = images.into_values().map(|images| async {
            let mut told: Vec<Told> = Vec::new();
            for image in images {
                told.push((image.clone(), self.registries.digest(image).await));
            }
            told
        });
        join_all(looks).await.into_iter().flatten().collect()
    }

    /// A tag that is not there: of a pattern it was taken away since, and what runs goes on.
    fn miss(&mut self, plan: &Plan, image: &ImageRef) {
        if plan.named.contains(image) {
            self.notices.no_such_tag(image, plan.followers(image));
        }
    }

    /// Hands in a sighting where a follower runs something else and was not told before. Whether all of them are dealt
    /// with.
    async fn tell(
        &mut self,
        executor: &Executor,
        (image, digest): (&ImageRef, &Digest),
        followers: &BTreeSet<TargetName>,
    ) -> bool {
        let (mut news, mut all) = (Vec::new(), true);
        for target in followers {
            let name = (target.clone(), image.clone());
            match self.standing(executor, &name, digest).await {
                Some(Standing::InStep) => {
                    self.told.insert(name, (digest.clone(), Instant::now()));
                }
                Some(Standing::Behind) => news.push(name),
                Some(Standing::PassedOver) => self.notices.passed_over(image, digest, target),
                Some(Standing::Unclear) => {}
                None => all = false,
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
            elsewhere_at: self.remembered().elsewhere_at(image, digest),
            wished: None,
            served: Vec::new(),
        };
        match executor.queue.submit(sighting.encode().into()).await {
            Ok(()) => {
                tracing::info!(
                    image = sighting.image.familiar(),
                    targets = news.len(),
                    "seen in its registry"
                );
                let told = (digest.clone(), Instant::now());
                self.told.extend(news.into_iter().map(|name| (name, told.clone())));
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

    /// Where a target stands to what its tag points to; none where it has yet to be told, and that has to wait:
    /// it cannot be looked at now, or a job is at work on it.
    async fn standing(
        &self,
        executor: &Executor,
        name: &(TargetName, ImageRef),
        digest: &Digest,
    ) -> Option<Standing> {
        let (target, image) = name;
        // What died is told again: that it could not be carried out says nothing of the image.
        let told = self.told.get(name).filter(|(told, _)| told == digest);
        let told = told.filter(|_| !executor.index.died_long_ago(target, image));
        let Some(running) = running(executor, target).await else {
            // What cannot be looked at now is looked at the next time.
            return told.map(|_| Standing::Unclear);
        };
        if self.is_in_step(&running, image, digest) {
            return Some(Standing::InStep);
        }
        Some(match told {
            // Somebody may be deploying something else just now, and a look does not work against people.
            None if executor.index.is_at_work(target) => return None,
            None => Standing::Behind,
            Some((_, at)) if at.elapsed() < JOB_WITHIN || executor.index.is_awaited(target, image) => {
                Standing::Unclear
            }
            Some(_) => Standing::PassedOver,
        })
    }

    /// Whether a target runs what the tag of `image` points to: every part of it that runs the repository. One of
    /// several that was left behind is news.
    fn is_in_step(&self, running: &[ImageRef], image: &ImageRef, digest: &Digest) -> bool {
        let is_of_it =
            |running: &&ImageRef| self.registries.is_same(running.repository(), image.repository());
        let mut followers = running.iter().filter(is_of_it).peekable();
        followers.peek().is_some() && followers.all(|running| running.digest() == Some(digest))
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    fn targets(&self) -> HashSet<TargetName> {
        let patterns = self.patterns.values().flatten().map(|(target, _)| target);
        self.images.values().flatten().chain(patterns).cloned().collect()
    }

    fn follow(&mut self, repository: &Repository, tag: &str, target: &TargetName) -> Option<ImageRef> {
        let image = ImageRef::new(repository.clone(), Some(tag), None).ok()?;
        self.images.entry(image.clone()).or_default().insert(target.clone());
        Some(image)
    }

    fn followers(&self, image: &ImageRef) -> &BTreeSet<TargetName> {
        const NOBODY: &BTreeSet<TargetName> = &BTreeSet::new();
        self.images.get(image).unwrap_or(NOBODY)
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
