//! Which tags of a pattern, or of a range of versions, are worth a look.

use std::collections::BTreeSet;

use proto::{Follow, ImageRef};

/// The tags of a repository now, and at the last look, where it was looked at.
pub(super) struct Tags<'a> {
    pub(super) now: &'a BTreeSet<String>,
    pub(super) former: Option<&'a BTreeSet<String>>,
}

/// The tags that a target may have to be told of: what runs, which may have moved; what is new since the last look; and
/// where the tags have an order the highest, if it is above what runs, whenever it was pushed. `running`: the images of
/// this repository that the target runs.
pub(super) fn worth_a_look<'a>(
    follow: &Follow,
    running: &'a [&ImageRef],
    tags: &Tags<'a>,
) -> BTreeSet<&'a str> {
    let mut chosen: BTreeSet<&str> =
        running.iter().filter_map(|image| image.tag()).filter(|tag| follow.takes_tag(tag)).collect();
    let new = || {
        let former = tags.former.into_iter().flat_map(|former| tags.now.difference(former));
        former.map(String::as_str).filter(|tag| follow.takes_tag(tag))
    };
    if !follow.is_ordered() {
        chosen.extend(new());
        return chosen;
    }
    let all = || tags.now.iter().map(String::as_str);
    let above = running.iter().filter_map(|image| follow.highest_above(image.tag(), all()));
    chosen.extend(follow.highest(above));
    // What goes upward only needs none that is lower; of several new ones the last is meant.
    if !follow.is_upward_only() {
        match follow.highest(new()) {
            Some(highest) => chosen.extend([highest]),
            None => chosen.extend(new()),
        }
    } else if running.is_empty() {
        chosen.extend(follow.highest(new()));
    }
    chosen
}

/// How many tags were there before the first look that are passed over, since nobody can tell which is the latest.
pub(super) fn passed_over(follow: &Follow, tags: &Tags<'_>, chosen: &BTreeSet<&str>) -> usize {
    let is_first = tags.former.is_none() && !follow.is_ordered();
    let taken = tags.now.iter().filter(|tag| is_first && follow.takes_tag(tag));
    taken.filter(|tag| !chosen.contains(tag.as_str())).count()
}

#[cfg(test)]
mod tests {
    use proto::TagPolicy;

    use super::*;

    fn follow(tags: TagPolicy, down: bool) -> Follow {
        Follow::new("r.lan/app".parse().unwrap(), tags, down).unwrap()
    }

    fn chosen(
        follow: &Follow,
        running: &[&str],
        former: Option<&[&str]>,
        now: &[&str],
    ) -> (Vec<String>, usize) {
        let set = |tags: &[&str]| -> BTreeSet<String> { tags.iter().map(|tag| (*tag).to_owned()).collect() };
        let (now, former) = (set(now), former.map(set));
        let running: Vec<ImageRef> =
            running.iter().map(|tag| format!("r.lan/app:{tag}").parse().unwrap()).collect();
        let running: Vec<&ImageRef> = running.iter().collect();
        let tags = Tags { now: &now, former: former.as_ref() };
        let chosen = worth_a_look(follow, &running, &tags);
        let passed_over = passed_over(follow, &tags, &chosen);
        (chosen.into_iter().map(str::to_owned).collect(), passed_over)
    }

    #[test]
    fn the_highest_version_is_looked_at_whenever_it_was_pushed() {
        let versions = |down| follow(TagPolicy::Semver(">=1, <2".to_owned()), down);
        let now = ["1.1.0", "1.2.0", "1.3.0", "1.0.9", "latest"];
        for former in [None, Some(&now[..]), Some(&["1.1.0"][..])] {
            let (tags, passed_over) = chosen(&versions(false), &["1.1.0"], former, &now);
            assert_eq!((tags, passed_over), (vec!["1.1.0".to_owned(), "1.3.0".to_owned()], 0), "{former:?}");
        }
        assert_eq!(
            chosen(&versions(false), &["1.3.0"], Some(&["1.3.0"]), &now).0,
            ["1.3.0"],
            "nothing goes down"
        );
        assert_eq!(
            chosen(&versions(true), &["1.3.0"], Some(&["1.1.0", "1.3.0"]), &now).0,
            ["1.2.0", "1.3.0"],
            "unless it may"
        );
        assert_eq!(
            chosen(&versions(true), &["1.3.0"], None, &now).0,
            ["1.3.0"],
            "and then what was pushed since"
        );
        assert_eq!(
            chosen(&versions(false), &["1.1.0", "1.3.0"], Some(&now), &now).0,
            ["1.1.0", "1.3.0"],
            "of two services one is behind"
        );
        assert_eq!(chosen(&versions(false), &[], Some(&["1.1.0"]), &now).0, ["1.3.0"]);
        assert!(
            chosen(&versions(false), &[], None, &now).0.is_empty(),
            "nothing says what it is to be above"
        );
    }

    #[test]
    fn of_numbers_the_last_and_of_names_the_new_are_looked_at() {
        let builds = follow(TagPolicy::Regex("r-[0-9]+".to_owned()), false);
        let now = ["r-9", "r-10", "r-11", "r-x"];
        assert_eq!(chosen(&builds, &["r-9"], None, &now).0, ["r-11", "r-9"]);
        assert_eq!(
            chosen(&builds, &["r-11"], Some(&["r-11"]), &now).0,
            ["r-10", "r-11"],
            "a late build is taken, as its push is"
        );
        let names = follow(TagPolicy::Glob("r-*".to_owned()), false);
        assert_eq!(chosen(&names, &["r-9"], None, &now), (vec!["r-9".to_owned()], 3));
        assert_eq!(
            chosen(&names, &["r-9"], Some(&["r-9", "r-10", "r-x"]), &now),
            (vec!["r-11".to_owned(), "r-9".to_owned()], 0)
        );
    }
}
