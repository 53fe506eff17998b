//! What people have to hear of looks that did not go well: in the log once, among the targets as long as it lasts.

use std::collections::{BTreeSet, HashSet};

use proto::{Digest, Follow, ImageRef, ListingFault, Repository, TargetName};

use super::registry::RegistryError;
use crate::verdict::chain;

/// What went wrong in a look, and what did in the one before.
#[derive(Default)]
pub(super) struct Notices {
    faults: Vec<ListingFault>,
    said: HashSet<String>,
    said_before: HashSet<String>,
}

impl Notices {
    /// Begins another look.
    pub(super) fn begin(&mut self) {
        self.said_before = std::mem::take(&mut self.said);
        self.faults.clear();
    }

    /// What did not go well, by name.
    pub(super) fn faults(&self) -> Vec<ListingFault> {
        let mut faults = self.faults.clone();
        faults.sort_by(|one, other| (&one.thing, &one.text).cmp(&(&other.thing, &other.text)));
        faults
    }

    /// A registry that does not tell of an image.
    pub(super) fn image_untold(
        &mut self,
        image: &ImageRef,
        error: &RegistryError,
        who: &BTreeSet<TargetName>,
    ) {
        self.untold(format!("image `{}`", image.familiar()), error, who);
    }

    /// A registry that does not tell of the tags of a repository.
    pub(super) fn tags_untold(
        &mut self,
        repository: &Repository,
        error: &RegistryError,
        who: &BTreeSet<TargetName>,
    ) {
        self.untold(format!("the tags of `{}`", repository.familiar()), error, who);
    }

    fn untold(&mut self, thing: String, error: &RegistryError, who: &BTreeSet<TargetName>) {
        let host = error.host();
        // The seconds left of a pause would make each a new one.
        let (text, hint) = match error {
            RegistryError::Limited { .. } => (
                format!("the registry {host} was asked too much, and is left alone for now"),
                format!("it is asked again; a key under `registries.{host}`, or a longer `every`, helps"),
            ),
            RegistryError::Unreachable { .. } => (
                chain(error),
                "mend the way to the registry, or its name in what the targets follow; it is asked again"
                    .to_owned(),
            ),
            RegistryError::CredentialsRefused { .. } => (
                chain(error),
                format!("mend `registries.{host}` in the worker's configuration, then reload it (SIGHUP)"),
            ),
            RegistryError::BadAnswer { .. } => {
                (chain(error), "mend the name in what the targets follow, or the registry".to_owned())
            }
        };
        self.say(&text, || tracing::warn!(error = chain(error), "a look at a registry failed"));
        self.add(thing, text, hint, who);
    }

    /// A tag that targets follow by its name, and that is not there.
    pub(super) fn no_such_tag(&mut self, image: &ImageRef, who: &BTreeSet<TargetName>) {
        let text = "its registry has no such tag, or hides it from who may not see it".to_owned();
        let thing = format!("image `{}`", image.familiar());
        self.say(&format!("{thing} {text}"), || {
            tracing::warn!(image = image.familiar(), "is followed, and is not in its registry");
        });
        self.add(thing, text, "push it, or mend what the targets follow".to_owned(), who);
    }

    /// A repository with more tags than are read.
    pub(super) fn too_many_tags(&mut self, repository: &Repository, read: usize, who: &BTreeSet<TargetName>) {
        let text =
            format!("it has more than the {read} that are looked at, and the last by name are not seen");
        let thing = format!("the tags of `{}`", repository.familiar());
        self.say(&thing, || tracing::warn!(%repository, read, "has more tags than are looked at"));
        self.add(thing, text, "remove old tags, or follow a tag that moves, as `latest`".to_owned(), who);
    }

    /// A repository in which no tag is taken.
    pub(super) fn no_tag(&mut self, follow: &Follow, who: &TargetName) {
        let text = "its registry has no tag that it takes".to_owned();
        let thing = format!("image `{follow}`");
        self.say(
            &format!("{thing} {text}"),
            || tracing::warn!(%follow, "is followed, and no tag of it is there"),
        );
        self.add(thing, text, "push one, or mend what the target follows".to_owned(), &[who.clone()].into());
    }

    /// What a target was told of before, and does not run: whatever became of that. Not that it ever had it.
    pub(super) fn passed_over(&mut self, image: &ImageRef, digest: &Digest, who: &TargetName) {
        let digest: String = digest.as_str().chars().take("sha256:".len() + 12).collect();
        let text = format!(
            "it names {digest} now, which `{who}` was told of and does not run: it was rolled back, replaced by hand, or \
             refused, or no job came of it; a look does not bring it again"
        );
        let hint = format!(
            "`longshore jobs --target {who}` tells what became of it, or the ingress's log why there is none; \
             `longshore deploy {who} --image {}` brings it",
            image.familiar()
        );
        let thing = format!("image `{}`", image.familiar());
        self.say(&format!("{thing} {text}"), || {
            tracing::info!(image = image.familiar(), target = %who, digest, "seen, and passed over: it was told before");
        });
        self.add(thing, text, hint, &[who.clone()].into());
    }

    fn add(&mut self, thing: String, text: String, hint: String, who: &BTreeSet<TargetName>) {
        self.faults.push(ListingFault::of_looks(thing, text, hint, who.iter().cloned().collect()));
    }

    /// Says it unless it was said, once as long as it lasts: what went well in between is new when it goes wrong again.
    fn say(&mut self, about: &str, say: impl FnOnce()) {
        let is_known = self.said_before.contains(about) || self.said.contains(about);
        self.said.insert(about.to_owned());
        if !is_known {
            say();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_told_with_who_is_concerned_as_long_as_it_does() {
        let who = BTreeSet::from(["web".parse().unwrap(), "api".parse().unwrap()]);
        let image: ImageRef = "r.lan/app:1".parse().unwrap();
        let limited = |seconds: u64| RegistryError::Limited {
            host: "r.lan".to_owned(),
            for_another: std::time::Duration::from_secs(seconds),
        };
        let mut notices = Notices::default();
        notices.image_untold(&image, &limited(60), &who);
        let first = notices.faults();
        assert_eq!(first[0].targets.len(), 2);
        assert_eq!(first[0].thing, "image `r.lan/app:1`");
        notices.begin();
        assert!(notices.faults().is_empty());
        notices.image_untold(&image, &limited(50), &who);
        assert_eq!(notices.faults(), first, "nothing is new");
        notices.begin();
        let refused =
            RegistryError::CredentialsRefused { host: "r.lan".to_owned(), answer: "401".to_owned() };
        notices.tags_untold(image.repository(), &refused, &who);
        notices.no_such_tag(&image, &who);
        let told: Vec<String> = notices.faults().into_iter().map(|fault| fault.hint).collect();
        assert!(told[1].contains("`registries.r.lan`"), "{told:?}");
    }

    #[test]
    fn of_what_was_told_and_does_not_run_nobody_says_that_it_ever_did() {
        let (image, web): (ImageRef, TargetName) = ("r.lan/app:1".parse().unwrap(), "web".parse().unwrap());
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let mut notices = Notices::default();
        notices.passed_over(&image, &digest, &web);
        let told = notices.faults().remove(0);
        // As where the ingress knows no such window, and makes no job.
        assert!(told.text.contains("was told of") && told.text.contains("no job came of it"), "{told:?}");
        assert!(!told.text.contains("had before") && told.hint.contains("ingress's log"), "{told:?}");
    }
}
