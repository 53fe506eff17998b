//! The text of a stack file: read to find the images, and edited byte by byte. Nothing is written anew: comments,
//! anchors, order, quotes, line ends, a mark at the beginning and a missing line end at the end stay as they are.

use std::{collections::BTreeMap, ops::Range};

use config::{Document, Node};

const MARK: char = '\u{feff}';

/// A stack file that was read.
#[derive(Debug, Clone)]
pub(super) struct StackFile {
    text: String,
    services: Vec<Service>,
}

#[derive(Debug, Clone)]
struct Service {
    name: String,
    /// As the file means it, quotes removed; none for one that is built.
    image: Option<String>,
    /// Where that stands in the text, quotes left out; or why it cannot be told.
    place: Result<Range<usize>, String>,
    is_idle: bool,
}

impl StackFile {
    /// Reads a text.
    ///
    /// # Errors
    /// Why it is no stack file, in a sentence for people.
    pub(super) fn read(text: &str) -> Result<StackFile, String> {
        let faults =
            |faults: config::Faults| faults.to_string().lines().next().unwrap_or_default().to_owned();
        let document = Document::parse("stack file", text).map_err(faults)?;
        let services = document.root().get("services").filter(|services| services.is_map());
        let services = services.ok_or_else(|| "the stack file has no `services`".to_owned())?;
        let lines = line_starts(text);
        let services = services.entries().map(|(key, body)| {
            let image = body.get("image");
            let place = match image {
                Some(node) => place(text, &lines, node),
                None => Err(format!("the service `{}` has no `image`", key.text)),
            };
            let image = image.and_then(Node::text).map(str::to_owned);
            Service { name: key.text.clone(), image, place, is_idle: is_idle(body) }
        });
        let services: Vec<Service> = services.collect();
        if services.is_empty() {
            return Err("the stack file has no `services`".to_owned());
        }
        Ok(StackFile { text: text.to_owned(), services })
    }

    /// A text that another one is to take the place of, whatever it is: one that cannot be read tells of no service.
    pub(super) fn to_replace(text: &str) -> StackFile {
        StackFile::read(text).unwrap_or_else(|_| StackFile { text: text.to_owned(), services: Vec::new() })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The services, in the order of the file.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(|service| service.name.as_str())
    }

    /// The image of a service as the file writes it, variables as they are.
    pub(super) fn image(&self, service: &str) -> Option<&str> {
        self.services.iter().find(|known| known.name == service)?.image.as_deref()
    }

    /// Whether nothing of a service is to run, by what the text says.
    pub(super) fn is_idle(&self, service: &str) -> bool {
        self.services.iter().any(|known| known.name == service && known.is_idle)
    }

    /// The same file with these images, by service, and nothing else changed.
    ///
    /// # Errors
    /// Why that cannot be done without changing more, in a sentence for people.
    pub(super) fn with_images(&self, images: &BTreeMap<String, String>) -> Result<StackFile, String> {
        let mut edits: BTreeMap<usize, (Range<usize>, &str)> = BTreeMap::new();
        for (name, image) in images {
            let service = self.services.iter().find(|known| known.name == *name);
            let service = service.ok_or_else(|| format!("the stack file has no service `{name}`"))?;
            edits.insert(service.place.clone()?.start, (service.place.clone()?, image));
        }
        let mut text = self.text.clone();
        for (range, image) in edits.into_values().rev() {
            text.replace_range(range, image);
        }
        let after = StackFile::read(&text)
            .map_err(|why| format!("with the new image it could not be read any more: {why}"))?;
        self.compare(&after, images)?;
        Ok(after)
    }

    /// Makes sure that an edit did what it should and nothing else.
    fn compare(&self, after: &StackFile, images: &BTreeMap<String, String>) -> Result<(), String> {
        if !self.services().eq(after.services()) {
            return Err("the edit would change which services the stack has".to_owned());
        }
        for service in &after.services {
            let before = self.image(&service.name);
            match (images.get(&service.name), service.image.as_deref()) {
                (Some(wanted), Some(is)) if wanted == is => {}
                (Some(_), _) => {
                    return Err(format!(
                        "the image of `{}` cannot be replaced where it stands",
                        service.name
                    ));
                }
                (None, is) if is == before => {}
                (None, _) => {
                    let name = &service.name;
                    return Err(format!(
                        "the image stands where `{name}` takes its own from too (an anchor), so both would change; \
                         give each service an `image` of its own"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Whether a service is started only where somebody asks for it, or there is to be none of it.
fn is_idle(body: &Node) -> bool {
    let is_none = |node: Option<&Node>| node.and_then(Node::text) == Some("0");
    body.get("profiles").is_some_and(|profiles| profiles.items().next().is_some())
        || is_none(body.get("scale"))
        || is_none(body.get("deploy").and_then(|deploy| deploy.get("replicas")))
}

/// Where each line begins, the mark at the beginning left out.
fn line_starts(text: &str) -> Vec<usize> {
    let first = if text.starts_with(MARK) { MARK.len_utf8() } else { 0 };
    let others = text.match_indices('\n').map(|(at, _)| at + 1);
    std::iter::once(first).chain(others).collect()
}

/// The bytes of a scalar, quotes left out.
fn place(text: &str, lines: &[usize], node: &Node) -> Result<Range<usize>, String> {
    let (value, at) = match (node.text(), node.place()) {
        (Some(value), Some(at)) if !value.is_empty() => (value, at),
        (Some(_) | None, _) => return Err(format!("`{}` is no text", node.path())),
    };
    let shared = |typed: &str| {
        let path = node.path();
        let is_name = |letter: &char| !letter.is_whitespace() && !",}]".contains(*letter);
        let name: String = typed.chars().skip(1).take_while(is_name).collect();
        format!(
            "`{path}` is the image at the anchor `&{name}` (line {}), which other services may take too; give the service an \
             `image` of its own",
            at.line
        )
    };
    let unusual = || {
        let path = node.path();
        format!(
            "`{path}` (line {}) is written in a way that is not edited; write it in one line, as `image: name:tag`",
            at.line
        )
    };
    let start = *lines.get(at.line - 1).ok_or_else(unusual)?;
    let line = &text[start..];
    let offset = line.char_indices().nth(at.column - 1).map_or(line.len(), |(offset, _)| offset);
    let start = start + offset;
    let quote = if node.is_plain() { 0 } else { 1 };
    let typed = text.get(start..).unwrap_or_default();
    if quote == 0 && typed.starts_with(['&', '*']) {
        return Err(shared(typed));
    }
    let inner = typed.get(quote..).unwrap_or_default();
    let ends_as_it_began = match quote {
        0 => true,
        _ => {
            let mark = typed.chars().next().filter(|mark| matches!(mark, '"' | '\''));
            mark.is_some() && inner.get(value.len()..).and_then(|rest| rest.chars().next()) == mark
        }
    };
    if !inner.starts_with(value) || !ends_as_it_began || value.contains(['\n', '\r']) {
        return Err(unusual());
    }
    Ok(start + quote..start + quote + value.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edited(text: &str, service: &str, image: &str) -> Result<String, String> {
        let images = BTreeMap::from([(service.to_owned(), image.to_owned())]);
        StackFile::read(text)?.with_images(&images).map(|file| file.text)
    }

    const UGLY: &str = "# by hand; do not reformat   \n\
                        x-base: &base {deploy: {replicas: 1}}\n\
                        services:\n\n\
                        \x20 web: # the front\n\
                        \x20     <<: *base\n\
                        \x20     image:   \"acme/wéb:1.10\"   # pinned\n\
                        \x20     environment: [\"A=yes\", 'B=012']\n\
                        \x20 api: {image: acme/api:1, command: [run]}\n\
                        \x20 'db':\n\
                        \x20   image: 'postgres:16'\n";

    #[test]
    fn exactly_one_line_changes() {
        for (service, image, was, is) in [
            (
                "web",
                "acme/web:2@sha256:00",
                "\"acme/wéb:1.10\"   # pinned",
                "\"acme/web:2@sha256:00\"   # pinned",
            ),
            ("api", "acme/api:2", "{image: acme/api:1, command", "{image: acme/api:2, command"),
            ("db", "postgres:17", "'postgres:16'", "'postgres:17'"),
        ] {
            assert_eq!(edited(UGLY, service, image).unwrap(), UGLY.replace(was, is));
        }
    }

    #[test]
    fn what_is_not_to_run_is_idle() {
        let file = StackFile::read(
            "services:\n  a: {image: a, profiles: [debug]}\n  b: {build: ., scale: 0}\n  c: {deploy: {replicas: 0}}\n  \
             d: {build: ., profiles: [], scale: 2, deploy: {replicas: 1}}\n",
        )
        .unwrap();
        assert_eq!(
            ["a", "b", "c", "d", "e"].map(|name| file.is_idle(name)),
            [true, true, true, false, false]
        );
    }

    #[test]
    fn line_ends_marks_and_a_missing_line_end_stay() {
        let windows = UGLY.replace('\n', "\r\n");
        assert_eq!(edited(&windows, "db", "postgres:17").unwrap(), windows.replace("s:16", "s:17"));
        let marked = format!("\u{feff}{}", UGLY.trim_end());
        assert_eq!(edited(&marked, "db", "postgres:17").unwrap(), marked.replace("s:16", "s:17"));
        let first = "\u{feff}services: {web: {image: a:1}}";
        assert_eq!(edited(first, "web", "a:2").unwrap(), "\u{feff}services: {web: {image: a:2}}");
    }

    #[test]
    fn what_would_change_more_is_refused() {
        let shared = "x-i: &i {image: a:1}\nservices:\n  web:\n    <<: *i\n  api:\n    <<: *i\n";
        let why = edited(shared, "web", "a:2").unwrap_err();
        assert!(why.contains("`api` takes its own from too (an anchor)"), "{why}");
        let both =
            BTreeMap::from([("web".to_owned(), "a:2".to_owned()), ("api".to_owned(), "a:2".to_owned())]);
        let changed = StackFile::read(shared).unwrap().with_images(&both).unwrap();
        assert_eq!(changed.text, shared.replace("a:1", "a:2"));
        let alias = "x-i: &i a:1\nservices: {web: {image: *i}, api: {image: *i}}\n";
        assert!(edited(alias, "web", "a:2").is_err());
        for (text, why) in [
            ("services:\n  web:\n    image: >-\n      a:1\n", "written in a way that is not edited"),
            ("services:\n  web:\n    image: \"a\\u003a1\"\n", "written in a way that is not edited"),
            ("services:\n  web:\n    build: .\n", "the service `web` has no `image`"),
            ("services:\n  web: {image: }\n", "is no text"),
            ("services: {}\n", "has no `services`"),
            ("version: '3'\n", "has no `services`"),
            ("services:\n  web:\n image: a\n  x: [\n", "not valid YAML"),
            ("services:\n\tweb:\n", "not valid YAML"),
        ] {
            let told = edited(text, "web", "a:2").unwrap_err();
            assert!(told.contains(why), "{text}\n---\n{told}");
        }
        assert!(edited(UGLY, "cache", "a:2").unwrap_err().contains("no service `cache`"));
    }

    proptest! {
        /// Whatever the text: an edit that is done changes the one image and not a byte besides.
        #[test]
        fn an_edit_is_undone_by_the_opposite_edit(
            head in "(# [a-z $:#'\"]{0,12}\n){0,2}",
            before in "[ ]{0,2}(x-[a-z]{1,3}: [a-z0-9'\"*&{}:, -]{0,8}\n)?",
            gap in "[ ]{1,4}",
            quote in "['\"]?",
            tail in "( # [a-z$é]{0,8})?",
            more in "(    environment: [a-z0-9'\" =]{0,9}\n)?",
        ) {
            let text = format!(
                "{head}{before}services:\n  web:\n    image:{gap}{quote}acme/web:1{quote}{tail}\n{more}  db: {{image: d:1}}\n"
            );
            if let Ok(changed) = edited(&text, "web", "acme/web:2.0") {
                prop_assert_eq!(changed.replacen("acme/web:2.0", "acme/web:1", 1), text.clone());
                prop_assert_eq!(edited(&changed, "web", "acme/web:1").unwrap(), text);
            }
        }

        #[test]
        fn no_text_breaks_the_reader(text in "[ -~\n\u{feff}é]{0,80}") {
            let _ = edited(&text, "web", "a:2");
        }
    }
}
