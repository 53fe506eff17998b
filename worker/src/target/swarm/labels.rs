//! What a service says of itself by its labels: which images it takes, and under which conditions.

use std::time::Duration;

use config::Span;
use proto::{Follow, FollowError, TagPolicy, TargetGates};

use super::{fence, lifecycle};

/// The label that makes a service a target.
pub(super) const FOLLOW: &str = "longshore.follow";
const TAGS: &str = "longshore.tags";
const DOWNGRADE: &str = "longshore.allow-downgrade";
const NAME: &str = "longshore.name";
const APPROVE: &str = "longshore.approve";
const WINDOW: &str = "longshore.window";
const MIN_AGE: &str = "longshore.min-age";
const ROLLBACK: &str = "longshore.rollback";

/// What can be said of a service.
const ALL: [&str; 8] = [FOLLOW, TAGS, DOWNGRADE, NAME, APPROVE, WINDOW, MIN_AGE, ROLLBACK];

/// What every label here begins with, those that Longshore writes itself too.
const BEGINNING: &str = "longshore.";

/// How long an image may have to wait at most: a job that waits longer than seven days is given up.
const LONGEST_AGE: Duration = Duration::from_secs(6 * 24 * 60 * 60);

/// A target as a service's labels describe it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Described {
    /// What it is to be called; the service's own name where nothing is said.
    pub(crate) name: Option<String>,
    /// The images it takes; at least one rule.
    pub(crate) follows: Vec<Follow>,
    /// Its conditions.
    pub(crate) gates: TargetGates,
}

/// Why labels describe no target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// What is wrong, with the label's name.
    pub(crate) text: String,
    /// How to mend it.
    pub(crate) hint: String,
}

impl Mistake {
    fn new(text: String, hint: impl Into<String>) -> Mistake {
        Mistake { text, hint: hint.into() }
    }
}

/// Reads the labels that `label` finds.
///
/// # Errors
/// The first mistake in them: a target that is only half of what was meant would deploy what it should not.
pub(super) fn read<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Result<Described, Mistake> {
    let down = yes_or_no(DOWNGRADE, label(DOWNGRADE))?.unwrap_or(false);
    let follows = follows(label(FOLLOW).unwrap_or_default(), label(TAGS), down)?;
    let approve = yes_or_no(APPROVE, label(APPROVE))?.unwrap_or(false);
    let rollback = yes_or_no(ROLLBACK, label(ROLLBACK))?;
    let window = label(WINDOW).map(window).transpose()?;
    let min_age_s = label(MIN_AGE).map(min_age).transpose()?;
    let gates = TargetGates { approve, window, min_age_s, rollback };
    Ok(Described { name: label(NAME).map(str::to_owned), follows, gates })
}

/// A label that is none of ours was meant to be one: without it, what it asks for, perhaps an approval, would be passed
/// over in silence.
///
/// # Errors
/// The first such label.
pub(super) fn spelled_right<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Mistake> {
    let known = ALL.map(|name| name.trim_start_matches(BEGINNING));
    for name in names {
        let Some(written) = name.strip_prefix(BEGINNING) else { continue };
        if known.contains(&written) || fence::ALL.contains(&name) || lifecycle::OWN.contains(&name) {
            continue;
        }
        let hint = match config::nearest(written, &known) {
            Some(meant) => format!("write `{BEGINNING}{meant}`"),
            None => format!(
                "take it off: the labels are `{}`, and what else there is stands beside a target of the configuration",
                ALL.join("`, `")
            ),
        };
        return Err(Mistake::new(format!("there is no label `{name}`"), hint));
    }
    Ok(())
}

/// Labels of a service's containers are told to nobody: what stands there was meant for the service.
///
/// # Errors
/// The first such label.
pub(super) fn on_the_service<'a>(of_containers: impl Iterator<Item = &'a str>) -> Result<(), Mistake> {
    let mut ours = of_containers.filter(|name| name.starts_with(BEGINNING));
    match ours.next() {
        None => Ok(()),
        Some(name) => Err(Mistake::new(
            format!("`{name}` is a label of its containers, where it says nothing"),
            "put it under `deploy: labels:` in the stack file, or set it with `docker service update --label-add`",
        )),
    }
}

/// Rules separated by commas or blanks, which no image holds.
fn follows(text: &str, tags: Option<&str>, down: bool) -> Result<Vec<Follow>, Mistake> {
    let rules = text.split([',', ' ']).map(str::trim).filter(|rule| !rule.is_empty());
    let follows: Vec<Follow> = rules.map(|rule| follow(rule, tags, down)).collect::<Result<_, _>>()?;
    if follows.is_empty() {
        let text = format!("`{FOLLOW}` names no image");
        return Err(Mistake::new(
            text,
            format!("write `{FOLLOW}=repository:tag`, with `*` for several tags"),
        ));
    }
    Ok(follows)
}

fn follow(rule: &str, tags: Option<&str>, down: bool) -> Result<Follow, Mistake> {
    match (rule.parse::<Follow>(), tags) {
        (Ok(_), None) if down => {
            let hint = format!("write `{TAGS}=semver:…`, or remove `{DOWNGRADE}`");
            Err(Mistake::new(format!("`{DOWNGRADE}` is set, and `{rule}` names no versions"), hint))
        }
        (Ok(follow), None) => Ok(follow),
        (Ok(_), Some(_)) => {
            let text = format!("both `{FOLLOW}` and `{TAGS}` name the tags of `{rule}`");
            Err(Mistake::new(text, "keep one of the two"))
        }
        (Err(FollowError::NoTags(image)), Some(tags)) => {
            let repository = image.parse().map_err(FollowError::from);
            let followed = repository.and_then(|repository| Follow::new(repository, policy(tags), down));
            followed.map_err(|error| {
                let hint = match error {
                    FollowError::NoOrder => format!("write `{TAGS}=semver:…`, or remove `{DOWNGRADE}`"),
                    FollowError::Image(_)
                    | FollowError::NoTags(_)
                    | FollowError::Glob(_)
                    | FollowError::Semver { .. }
                    | FollowError::Regex { .. } => format!(
                        "write `{TAGS}=latest`, `{TAGS}=dev-*` for several, `{TAGS}=semver:>=1.4, <2` for versions"
                    ),
                };
                Mistake::new(format!("`{FOLLOW}` with `{TAGS}={tags}`: {error}"), hint)
            })
        }
        (Err(error), _) => {
            let hint = format!("write `{FOLLOW}=repository:tag`, with `*` and `?` in the tag for several");
            Err(Mistake::new(format!("`{FOLLOW}={rule}`: {error}"), hint))
        }
    }
}

/// How a policy begins where it is written out, and what is made of the rest.
type Written = (&'static str, fn(String) -> TagPolicy);

fn policy(tags: &str) -> TagPolicy {
    let written_out: [Written; 4] = [
        ("exact:", TagPolicy::Exact),
        ("glob:", TagPolicy::Glob),
        ("semver:", TagPolicy::Semver),
        ("regex:", TagPolicy::Regex),
    ];
    let of_kind = |(kind, policy): &Written| Some(policy(tags.strip_prefix(kind)?.trim().to_owned()));
    match written_out.iter().find_map(of_kind) {
        Some(policy) => policy,
        None if tags.contains(['*', '?']) => TagPolicy::Glob(tags.to_owned()),
        None => TagPolicy::Exact(tags.to_owned()),
    }
}

/// Names of windows. Whether there are such is the ingress's to say, which reads them.
fn window(names: &str) -> Result<String, Mistake> {
    if names.split(',').any(|name| name.trim().is_empty()) {
        let text = format!("`{WINDOW}` is `{names}`, which names no window");
        return Err(Mistake::new(
            text,
            "write the name of a window of the configuration, or remove the label",
        ));
    }
    Ok(names.to_owned())
}

/// In seconds.
fn min_age(text: &str) -> Result<u64, Mistake> {
    let wrong = |why: &str| {
        Mistake::new(format!("`{MIN_AGE}` is `{text}`: {why}"), format!("write `{MIN_AGE}=2h`, at most `6d`"))
    };
    let Span(age) = text.parse().map_err(|error: config::UnitError| wrong(&error.to_string()))?;
    match age.as_secs() {
        0 => Err(wrong("that is no age")),
        seconds if age > LONGEST_AGE => Err(wrong(&format!("{seconds} s is too long"))),
        seconds => Ok(seconds),
    }
}

fn yes_or_no(name: &str, value: Option<&str>) -> Result<Option<bool>, Mistake> {
    match value {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => {
            let text = format!("`{name}` is `{other}`, neither `true` nor `false`");
            Err(Mistake::new(text, format!("write `{name}=true`, or remove the label")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(labels: &[(&str, &str)]) -> Result<Described, String> {
        read(|name| labels.iter().find(|(label, _)| *label == name).map(|(_, value)| *value))
            .map_err(|mistake| mistake.text)
    }

    fn told(described: &Described) -> Vec<String> {
        described.follows.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn labels_say_what_is_followed_and_how() {
        let found = described(&[(FOLLOW, "acme/web:dev-*, acme/api:1")]).unwrap();
        assert_eq!(told(&found), ["acme/web:dev-*", "acme/api:1"]);
        assert_eq!((found.name, found.gates), (None, TargetGates::default()));
        let found = described(&[(FOLLOW, "acme/web"), (TAGS, "dev-*"), (NAME, "shop")]).unwrap();
        assert_eq!((told(&found), found.name.as_deref()), (vec!["acme/web:dev-*".to_owned()], Some("shop")));
        for tags in ["latest", "exact:latest"] {
            assert_eq!(told(&described(&[(FOLLOW, "acme/web"), (TAGS, tags)]).unwrap()), ["acme/web:latest"]);
        }
        let versions = [(FOLLOW, "acme/web"), (TAGS, "semver:>=1.4, <2")];
        let found = described(&versions).unwrap();
        assert_eq!(told(&found), ["acme/web (semver >=1.4, <2)"]);
        assert!(found.follows[0].is_upward_only());
        let down = described(&[&versions[..], &[(DOWNGRADE, "true")]].concat()).unwrap();
        assert!(!down.follows[0].is_upward_only());
        let found = described(&[(FOLLOW, "acme/web"), (TAGS, "regex: v[0-9]+")]).unwrap();
        assert_eq!(told(&found), ["acme/web (regex v[0-9]+)"]);
        let gated = [
            (FOLLOW, "acme/web:1"),
            (APPROVE, "true"),
            (ROLLBACK, "false"),
            (WINDOW, "nights, holidays"),
            (MIN_AGE, "90m"),
        ];
        let expected = TargetGates {
            approve: true,
            window: Some("nights, holidays".to_owned()),
            min_age_s: Some(5400),
            rollback: Some(false),
        };
        assert_eq!(described(&gated).unwrap().gates, expected);
    }

    #[test]
    fn a_label_that_is_nearly_one_is_a_mistake_and_those_that_we_write_are_none() {
        for (name, meant) in [
            ("longshore.aprove", "longshore.approve"),
            ("longshore.allow_downgrade", "longshore.allow-downgrade"),
            ("longshore.min_age", "longshore.min-age"),
            ("longshore.Window", "longshore.window"),
            ("longshore.folow", "longshore.follow"),
        ] {
            let mistake = spelled_right(["a", name].into_iter()).unwrap_err();
            assert_eq!(
                (mistake.text, mistake.hint),
                (format!("there is no label `{name}`"), format!("write `{meant}`"))
            );
        }
        let unknown = spelled_right(["longshore.deadline"].into_iter()).unwrap_err();
        assert!(unknown.hint.starts_with("take it off: the labels are `longshore.follow`"), "{unknown:?}");
        let of_containers = on_the_service(["app", "longshore.follow"].into_iter()).unwrap_err();
        assert!(of_containers.hint.contains("`deploy: labels:`"), "{of_containers:?}");
        assert_eq!(on_the_service(["app.longshore"].into_iter()), Ok(()));
        let written = [fence::ALL.as_slice(), &lifecycle::OWN].concat();
        assert_eq!(spelled_right(ALL.into_iter().chain(written).chain(["app.aprove"])), Ok(()));
    }

    #[test]
    fn every_mistake_names_its_label() {
        for (labels, why) in [
            (&[(FOLLOW, "")][..], "`longshore.follow` names no image"),
            (&[(FOLLOW, "acme/web")], "`longshore.follow=acme/web`: `acme/web` names no tags"),
            (&[(FOLLOW, "Acme:1")], "`longshore.follow=Acme:1`: "),
            (&[(FOLLOW, "acme/web:1"), (TAGS, "2")], "both `longshore.follow` and `longshore.tags`"),
            (&[(FOLLOW, "acme/web"), (TAGS, "a b")], "`longshore.follow` with `longshore.tags=a b`: "),
            (
                &[(FOLLOW, "acme/web"), (TAGS, "semver:latest")],
                "`longshore.follow` with `longshore.tags=semver:latest`: `latest` is no range",
            ),
            (
                &[(FOLLOW, "acme/web"), (TAGS, "1.*"), (DOWNGRADE, "true")],
                "`longshore.follow` with `longshore.tags=1.*`: ",
            ),
            (
                &[(FOLLOW, "a/b:1"), (DOWNGRADE, "true")],
                "`longshore.allow-downgrade` is set, and `a/b:1` names",
            ),
            (&[(FOLLOW, "a/b:1"), (APPROVE, "yes")], "`longshore.approve` is `yes`"),
            (&[(FOLLOW, "a/b:1"), (ROLLBACK, "")], "`longshore.rollback` is ``"),
            (
                &[(FOLLOW, "a/b:1"), (WINDOW, "nights,")],
                "`longshore.window` is `nights,`, which names no window",
            ),
            (&[(FOLLOW, "a/b:1"), (MIN_AGE, "soon")], "`longshore.min-age` is `soon`: "),
            (&[(FOLLOW, "a/b:1"), (MIN_AGE, "7d")], "`longshore.min-age` is `7d`: "),
            (&[(FOLLOW, "a/b:1"), (MIN_AGE, "0s")], "`longshore.min-age` is `0s`: "),
        ] {
            let told = described(labels).unwrap_err();
            assert!(told.starts_with(why), "{told}");
        }
    }
}
