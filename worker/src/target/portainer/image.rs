//! How a stack file names an image, and what has to be written so that it names another.

use std::collections::{BTreeMap, BTreeSet};

use proto::{ImageRef, Repository};

use super::{objects::Env, text::StackFile};
use crate::target::swarm::replaced;

/// What a new image comes to in a stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Edits {
    /// Images to write into the file, by service.
    pub(super) file: BTreeMap<String, String>,
    /// Variables to set.
    pub(super) env: BTreeMap<String, String>,
}

impl Edits {
    /// What brings `image` to `services` of `file`; `chosen` are all that may change by it.
    ///
    /// # Errors
    /// Why it cannot be done, in a sentence for people.
    pub(super) fn to_bring(
        image: &ImageRef,
        (services, chosen): (&[String], &[String]),
        file: &StackFile,
        env: &Env,
    ) -> Result<Edits, String> {
        let mut edits = Edits::default();
        for service in services {
            let written =
                file.image(service).ok_or_else(|| format!("the service `{service}` has no `image`"))?;
            match rewritten(written, image, env).map_err(|why| format!("the service `{service}`: {why}"))? {
                Rewritten::File(text) => _ = edits.file.insert(service.clone(), text),
                Rewritten::Variable(name, value) => _ = edits.env.insert(name, value),
            }
        }
        edits.leave_others_alone(chosen, file)?;
        Ok(edits)
    }

    /// A variable that other services take their image by too would change those.
    fn leave_others_alone(&self, services: &[String], file: &StackFile) -> Result<(), String> {
        for other in file.services().filter(|name| !services.iter().any(|chosen| chosen == name)) {
            let used = variables(file.image(other).unwrap_or_default());
            if let Some(name) = self.env.keys().find(|name| used.contains(*name)) {
                return Err(format!(
                    "the variable `{name}` also decides the image of `{other}`; give each its own variable"
                ));
            }
        }
        Ok(())
    }

    /// Whether every service is named by a digest, so that nothing is left to be looked up.
    pub(super) fn are_pinned(&self) -> bool {
        self.env.is_empty() && self.file.values().all(|image| image.contains("@sha256:"))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Rewritten {
    File(String),
    Variable(String, String),
}

/// The image that a text of the file means; none where a variable is missing or it is no image.
pub(super) fn meant(written: &str, env: &Env) -> Option<ImageRef> {
    let text = filled(written, env).ok()?;
    // The docker command takes `nginx` and means `nginx:latest`.
    text.parse().or_else(|_| format!("{text}:latest").parse()).ok()
}

fn filled(written: &str, env: &Env) -> Result<String, String> {
    replaced(written, |name| Ok(env.get(name).map(str::to_owned)))
}

/// The variables that a text uses.
pub(super) fn variables(written: &str) -> BTreeSet<String> {
    let used = std::cell::RefCell::new(BTreeSet::new());
    let _ = replaced(written, |name| {
        used.borrow_mut().insert(name.to_owned());
        Ok(Some("x".to_owned()))
    });
    used.into_inner()
}

fn rewritten(written: &str, image: &ImageRef, env: &Env) -> Result<Rewritten, String> {
    let (name, rest) = split(written);
    let suffix = suffix(image);
    if !written.contains('$') {
        let name = if repository(name).as_ref() == Some(image.repository()) {
            name.to_owned()
        } else {
            image.repository().familiar()
        };
        return Ok(Rewritten::File(format!("{name}{suffix}")));
    }
    if let Some(variable) = only_variable(written) {
        return Ok(Rewritten::Variable(
            variable.to_owned(),
            format!("{}{suffix}", image.repository().familiar()),
        ));
    }
    let runs = filled(name, env)?;
    if repository(&runs).as_ref() != Some(image.repository()) {
        return Err(format!("its image is `{written}`, and a variable decides the repository"));
    }
    if !rest.contains('$') {
        return Ok(Rewritten::File(format!("{name}{suffix}")));
    }
    match (rest.strip_prefix(':').and_then(only_variable), image.tag()) {
        (Some(variable), Some(tag)) => Ok(Rewritten::Variable(variable.to_owned(), tag.to_owned())),
        (Some(_), None) => {
            Err(format!("its image is `{written}`, where only a tag can be set, and the job names none"))
        }
        (None, _) => Err(format!(
            "its image is `{written}`; only a variable that is the whole tag can be set, as in `name:${{TAG}}`"
        )),
    }
}

/// `:tag@digest`.
fn suffix(image: &ImageRef) -> String {
    let tag = image.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = image.digest().map(|digest| format!("@{}", digest.as_str())).unwrap_or_default();
    format!("{tag}{digest}")
}

fn repository(name: &str) -> Option<Repository> {
    name.parse().ok()
}

/// The name and what follows it, `:tag` or `@digest`; what stands in braces belongs together.
fn split(written: &str) -> (&str, &str) {
    let mut depth = 0_usize;
    let mut end = None;
    for (at, letter) in written.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            // A colon before the last slash belongs to the registry's port.
            '/' if depth == 0 => end = None,
            ':' | '@' if depth == 0 && end.is_none() => end = Some(at),
            _ => {}
        }
    }
    written.split_at(end.unwrap_or(written.len()))
}

/// The name of the variable where a text is one and nothing else.
fn only_variable(text: &str) -> Option<&str> {
    let is_name = |name: &str| {
        let mut letters = name.chars();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    let inner = text.strip_prefix('$')?;
    let Some(braced) = inner.strip_prefix('{') else { return Some(inner).filter(|name| is_name(name)) };
    let inner = braced.strip_suffix('}')?;
    let name = &inner[..inner.find([':', '-', '?', '+']).unwrap_or(inner.len())];
    let otherwise = &inner[name.len()..];
    let known = ["", ":-", "-", ":?", "?"]
        .iter()
        .any(|form| otherwise.strip_prefix(form).is_some_and(|rest| !form.is_empty() || rest.is_empty()));
    (is_name(name) && known && !otherwise.contains(['{', '}', '$'])).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        Env::of(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn rewrite(written: &str, image: &str) -> Result<Rewritten, String> {
        let env = env(&[("REG", "r.lan:5000"), ("TAG", "1"), ("NAME", "web")]);
        rewritten(written, &image.parse().unwrap(), &env)
    }

    #[test]
    fn an_image_is_written_as_the_file_names_it() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let file = |text: &str| Ok(Rewritten::File(text.to_owned()));
        assert_eq!(rewrite("nginx", "nginx:2"), file("nginx:2"));
        assert_eq!(rewrite("docker.io/library/nginx:1", "nginx:2"), file("docker.io/library/nginx:2"));
        let pinned = format!("r.lan:5000/web:2@{digest}");
        assert_eq!(rewrite("r.lan:5000/web", &pinned), file(&pinned));
        assert_eq!(
            rewrite(&format!("r.lan:5000/web:1@{digest}"), "r.lan:5000/web:2"),
            file("r.lan:5000/web:2")
        );
        assert_eq!(rewrite("${REG}/web:1", "r.lan:5000/web:2"), file("${REG}/web:2"));
        assert_eq!(rewrite("other/app:1", "acme/web:2"), file("acme/web:2"));
    }

    #[test]
    fn a_tag_that_is_a_variable_is_set_there() {
        let set = |name: &str, value: &str| Ok(Rewritten::Variable(name.to_owned(), value.to_owned()));
        for written in [
            "acme/web:${TAG}",
            "acme/web:$TAG",
            "acme/web:${TAG:-1.0}",
            "acme/web:${TAG:?say it}",
            "acme/web:${TAG-}",
        ] {
            assert_eq!(rewrite(written, "acme/web:2"), set("TAG", "2"), "{written}");
        }
        assert_eq!(rewrite("${REG}/web:${TAG}", "r.lan:5000/web:2"), set("TAG", "2"));
        assert_eq!(rewrite("${IMAGE}", "acme/web:2"), set("IMAGE", "acme/web:2"));
        assert_eq!(rewrite("${IMAGE:-acme/web:1}", "acme/web:2"), set("IMAGE", "acme/web:2"));
    }

    #[test]
    fn other_variables_are_refused_with_the_reason() {
        for (written, why) in [
            ("acme/web:v${TAG}", "the whole tag"),
            ("acme/web:${TAG}-alpine", "the whole tag"),
            ("acme/web:${TAG:+x}", "the whole tag"),
            ("acme/$NAME-x:1", "decides the repository"),
            ("acme/web:$$TAG", "the whole tag"),
        ] {
            let told = rewrite(written, "acme/web:2").unwrap_err();
            assert!(told.contains(why), "{written}: {told}");
        }
    }

    #[test]
    fn a_variable_of_another_services_image_is_left_alone() {
        let file = StackFile::read(
            "services:\n  web: {image: 'acme/web:${TAG}'}\n  api: {image: 'acme/api:${TAG}'}\n",
        );
        let file = file.unwrap();
        let bring = |services: &[&str]| {
            let services: Vec<String> = services.iter().map(|name| (*name).to_owned()).collect();
            Edits::to_bring(
                &"acme/web:2".parse().unwrap(),
                (&services, &services),
                &file,
                &env(&[("TAG", "1")]),
            )
        };
        assert!(bring(&["web"]).unwrap_err().contains("`TAG` also decides the image of `api`"));
        assert_eq!(meant("acme/web:${TAG}", &env(&[("TAG", "1")])), "acme/web:1".parse().ok());
        assert_eq!(meant("acme/web", &env(&[])), "acme/web:latest".parse().ok());
    }
}
