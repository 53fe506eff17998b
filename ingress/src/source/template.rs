//! Which image belongs to an event that names none: the `image:` of a source.

use std::{collections::BTreeMap, str::FromStr};

use proto::{ImageError, ImageRef};

use super::{
    Kind, Reading, Rules, Sighting,
    run::{Run, matches},
};

/// What an event can say of itself. Any other name in braces is a parameter of the build.
pub(crate) const PLACEHOLDERS: [&str; 12] = [
    "owner",
    "repo",
    "path",
    "tag",
    "version",
    "branch",
    "ref",
    "sha",
    "short_sha",
    "number",
    "environment",
    "name",
];

/// How many letters of a commit `{short_sha}` shows.
const SHORT: usize = 7;

/// An image with places to be filled from an event: `ghcr.io/{owner}/{repo}:{tag}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(String),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// A brace without its partner, or nothing between two.
    #[error("a `{{` without a name and its `}}`")]
    Braces,
    /// Not what an event of this kind says.
    #[error("`{{{0}}}` is nothing that these events say")]
    Unknown(String),
    /// Whatever stands in its places, it is no image.
    #[error("it makes no image")]
    NoImage(#[source] ImageError),
}

/// What happened somewhere, of which an image may be the outcome.
#[derive(Debug, Clone, Default)]
pub(super) struct Happening {
    /// What it is, for people: `a release`.
    pub(super) what: String,
    /// The repository's owner and name, which may have slashes in front.
    pub(super) path: String,
    pub(super) tag: Option<String>,
    pub(super) branch: Option<String>,
    pub(super) sha: Option<String>,
    pub(super) number: Option<String>,
    pub(super) environment: Option<String>,
    /// The name of the workflow or job.
    pub(super) name: Option<String>,
    /// Of which run it is the outcome, where it is one's.
    pub(super) run: Option<Run>,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) delivery: Option<String>,
}

impl Template {
    /// Checks that the template can make an image of the events of `kind`.
    pub(crate) fn check(&self, kind: Kind) -> Result<(), TemplateError> {
        for place in self.places() {
            if !PLACEHOLDERS.contains(&place) && !kind.has_parameters() {
                return Err(TemplateError::Unknown(place.to_owned()));
            }
        }
        let mut sample = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => sample.push_str(text),
                Part::Place(_) if sample.ends_with('@') => {
                    sample = format!("{sample}sha256:{}", "0".repeat(64));
                }
                Part::Place(_) => sample.push('x'),
            }
        }
        match sample.parse::<ImageRef>() {
            // A parameter may hold the tag too.
            Err(ImageError::NoTag(_)) if kind.has_parameters() && self.ends_in_a_place() => Ok(()),
            Err(error) => Err(TemplateError::NoImage(error)),
            Ok(_) => Ok(()),
        }
    }

    fn places(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Place(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    fn ends_in_a_place(&self) -> bool {
        matches!(self.0.last(), Some(Part::Place(_)))
    }

    fn fill(&self, happening: &Happening) -> Result<ImageRef, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Place(name) => {
                    let value = happening.value(name).filter(|value| !value.is_empty());
                    let what = &happening.what;
                    text.push_str(&value.ok_or_else(|| {
                        format!("{what} has no `{name}`, which the source's `image` asks for")
                    })?);
                }
            }
        }
        let image: ImageRef =
            text.parse().map_err(|error| format!("the source's `image` makes `{text:.200}`: {error}"))?;
        match image.tag() {
            Some(_) => Ok(image),
            None => Err(format!("the source's `image` makes `{text:.200}`, which has no tag")),
        }
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Template, TemplateError> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').ok_or(TemplateError::Braces)?;
            let name = name.trim();
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            if name.is_empty() || !name.chars().all(plain) || before.contains('}') {
                return Err(TemplateError::Braces);
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Place(name.to_owned()));
            rest = behind;
        }
        if rest.contains('}') {
            return Err(TemplateError::Braces);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Template(parts))
    }
}

impl Happening {
    /// Takes a git reference in its full form apart.
    pub(super) fn at_ref(mut self, reference: &str) -> Happening {
        if let Some(tag) = reference.strip_prefix("refs/tags/") {
            self.tag = Some(tag.to_owned());
        } else if let Some(branch) = reference.strip_prefix("refs/heads/") {
            self.branch = Some(branch.to_owned());
        }
        self
    }

    /// Takes a name that may be a branch's or a tag's, as some producers say it. What looks like a version may fill
    /// the place of a tag too; it is a branch all the same, for a branch can be given any name.
    pub(super) fn at_branch_or_tag(mut self, name: &str) -> Happening {
        let number = name.strip_prefix('v').unwrap_or(name);
        if number.starts_with(|c: char| c.is_ascii_digit()) && number.contains('.') {
            self.tag = Some(name.to_owned());
        }
        self.branch = Some(name.to_owned());
        self
    }

    /// What stands in a place of a template. Names of repositories come in the case people typed.
    fn value(&self, name: &str) -> Option<String> {
        let path = self.path.trim_matches('/').to_lowercase();
        let (owner, repo) = path.rsplit_once('/').unwrap_or(("", &path));
        match name {
            "path" => Some(path),
            "owner" => Some(owner.to_owned()),
            "repo" => Some(repo.to_owned()),
            "tag" => self.tag.clone(),
            "version" => self.tag.as_deref().map(|tag| tag.strip_prefix('v').unwrap_or(tag).to_owned()),
            "branch" => self.branch.as_deref().map(as_tag),
            "ref" => self.tag.clone().or_else(|| self.branch.as_deref().map(as_tag)),
            "sha" => self.sha.clone(),
            "short_sha" => self.sha.as_deref().and_then(|sha| sha.get(..SHORT)).map(str::to_owned),
            "number" => self.number.clone(),
            "environment" => self.environment.clone(),
            "name" => self.name.as_deref().map(as_tag).map(|name| name.to_lowercase()),
            parameter => self.parameters.get(parameter).cloned(),
        }
    }

    /// The image it stands for by the source's rules.
    pub(super) fn reading(self, rules: &Rules) -> Reading {
        let refused =
            self.run.as_ref().and_then(|run| Some(format!("{} {}", self.what, run.refused(rules)?)));
        if let Some(why) = refused.or_else(|| self.elsewhere(&rules.branches)) {
            return Reading::Ignored(why);
        }
        let Some(template) = &rules.image else {
            let why = format!("{} names no image; give the source an `image`, as in", self.what);
            return Reading::NeedsRule(format!(
                "{why} `image: \"registry.example.com/{{owner}}/{{repo}}:{{tag}}\"`"
            ));
        };
        match template.fill(&self) {
            Ok(image) => Reading::Sightings(vec![Sighting { image, service: None, delivery: self.delivery }]),
            Err(why) => Reading::Ignored(why),
        }
    }

    fn elsewhere(&self, branches: &[String]) -> Option<String> {
        let branch =
            self.branch.as_deref().filter(|name| !branches.is_empty() && !matches(branches, name))?;
        let may_be_a_tag =
            if self.tag.is_some() { ", or of a tag of that name, which it does not tell apart" } else { "" };
        Some(format!(
            "{} is of the branch `{branch}`, not of the source's `branches`{may_be_a_tag}",
            self.what
        ))
    }
}

/// A name as the tools that push images make a tag of it.
fn as_tag(name: &str) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    name.chars().map(|c| if good(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(image: &str) -> Rules {
        Rules { image: Some(image.parse().unwrap()), ..Rules::default() }
    }

    fn release() -> Happening {
        let parameters = BTreeMap::from([("DIGEST".to_owned(), format!("sha256:{}", "a".repeat(64)))]);
        let happening = Happening {
            what: "a release".to_owned(),
            path: "Acme/Team/Api".to_owned(),
            ..Happening::default()
        };
        Happening { sha: Some("0123456789".to_owned()), parameters, ..happening }
    }

    fn image(reading: &Reading) -> String {
        match reading {
            Reading::Sightings(seen) => seen[0].image.to_string(),
            Reading::Ignored(why) | Reading::NeedsRule(why) | Reading::Acknowledged(why) => why.clone(),
            Reading::Handshake(_) => "handshake".to_owned(),
        }
    }

    #[test]
    fn places_are_filled_from_the_event() {
        for (template, expected) in [
            ("ghcr.io/{owner}/{repo}:{tag}", "ghcr.io/acme/team/api:v1.2"),
            ("r.io/{path}:{version}-{short_sha}", "r.io/acme/team/api:1.2-0123456"),
            ("r.io/x:{ref}@{DIGEST}", &format!("r.io/x:v1.2@sha256:{}", "a".repeat(64))),
        ] {
            let happening = release().at_ref("refs/tags/v1.2");
            assert_eq!(image(&happening.reading(&rules(template))), expected);
        }
        let branch = release().at_ref("refs/heads/Feature/x+y");
        assert_eq!(image(&branch.reading(&rules("r.io/x:{branch}"))), "r.io/x:Feature-x-y");
    }

    #[test]
    fn what_the_event_does_not_say_is_a_reason_to_ignore_it() {
        let why = image(&release().at_ref("refs/heads/main").reading(&rules("r.io/x:{tag}")));
        assert!(why.contains("has no `tag`"), "{why}");
        let why = image(&release().at_ref("refs/tags/a/b").reading(&rules("r.io/x:{tag}")));
        assert!(
            why.contains("`a/b` is no") || why.contains("no repository path") || why.contains("names no tag"),
            "{why}"
        );
        assert!(matches!(release().reading(&Rules::default()), Reading::NeedsRule(_)));
    }

    #[test]
    fn other_branches_are_left_alone() {
        let only =
            Rules { branches: vec!["main".to_owned(), "release/*".to_owned()], ..rules("r.io/x:{branch}") };
        let on = |name: &str| release().at_branch_or_tag(name).reading(&only);
        assert!(
            matches!(on("main"), Reading::Sightings(_)) && matches!(on("release/2"), Reading::Sightings(_))
        );
        assert!(matches!(on("feature"), Reading::Ignored(_)));
        let tag = release()
            .at_ref("refs/tags/v1.2.3")
            .reading(&Rules { image: rules("r.io/x:{tag}").image, ..only });
        assert!(matches!(tag, Reading::Sightings(_)), "tags are of no branch");
    }

    #[test]
    fn a_branch_that_is_called_like_a_version_is_left_alone_as_any_other() {
        let only = |branches: &[&str]| {
            let branches = branches.iter().map(|&branch| branch.to_owned()).collect();
            Rules { branches, ..rules("r.io/x:{short_sha}") }
        };
        for name in ["9.9", "v1.2.3", "1.x"] {
            let read = |rules: &Rules| release().at_branch_or_tag(name).reading(rules);
            let why = image(&read(&only(&["main"])));
            assert!(
                why.contains(&format!("of the branch `{name}`, not of the source's `branches`")),
                "{why}"
            );
            assert!(matches!(read(&only(&["main", "*.*"])), Reading::Sightings(_)), "{name} is listed");
            assert!(matches!(read(&only(&[])), Reading::Sightings(_)), "{name} of no list");
        }
    }

    #[test]
    fn mistakes_are_found_when_the_file_is_read() {
        for text in ["r.io/{", "r.io/{}:x", "r.io/x}:{tag}", "r.io/{a b}:1"] {
            assert_eq!(text.parse::<Template>(), Err(TemplateError::Braces), "{text}");
        }
        let check = |text: &str, kind| text.parse::<Template>().unwrap().check(kind);
        assert_eq!(check("r.io/{repo}:{TAG}", Kind::Github), Err(TemplateError::Unknown("TAG".to_owned())));
        assert_eq!(check("{IMAGE}:{TAG}@{DIGEST}", Kind::Jenkins), Ok(()));
        assert_eq!(check("{IMAGE}", Kind::Jenkins), Ok(()));
        assert!(matches!(check("ghcr.io/{repo}", Kind::Github), Err(TemplateError::NoImage(_))));
        assert!(matches!(check("ghcr.io/Acme:{tag}", Kind::Github), Err(TemplateError::NoImage(_))));
    }
}
