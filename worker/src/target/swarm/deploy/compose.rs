//! A compose text as a tree, and the edits made to it: the images are pinned, the marks go on every service.
//!
//! Anchors, aliases and merge keys are resolved while it is read. It is written again as one flow mapping, which
//! every YAML reader takes; a scalar without quotes that may be more than text stays without.

use config::{Document, Node};
use proto::{ImageRef, StackText, variables::literal};

use super::{
    super::{fence, lifecycle},
    gaps,
};

/// What a text without `version` is taken for: the newest that the oldest supported docker command reads.
const VERSION: &str = "3.9";

/// The sections in which variables are filled in.
const FILLED_IN: [&str; 5] = ["services", "volumes", "networks", "secrets", "configs"];

/// A compose text that was read.
#[derive(Debug, Clone)]
pub(super) struct Compose {
    pub(super) root: Map,
}

pub(super) type Map = Vec<(String, Tree)>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tree {
    Scalar { text: String, plain: bool },
    List(Vec<Tree>),
    Map(Map),
}

/// What is changed of one service.
#[derive(Debug, Clone, Default)]
pub(super) struct Edit {
    pub(super) image: String,
    /// How many tasks, in place of what the text says.
    pub(super) replicas: Option<u64>,
    pub(super) labels: Vec<(&'static str, String)>,
}

impl Compose {
    /// Reads a text and makes sure that it stays within what was sent with it.
    ///
    /// # Errors
    /// The mistakes, in sentences for people.
    pub(super) fn read(text: &StackText) -> Result<Compose, String> {
        let document =
            Document::parse("compose text", &text.compose).map_err(|faults| gaps::told(&faults))?;
        let Tree::Map(root) = Tree::of(document.root()) else {
            return Err("the compose text is no map".to_owned());
        };
        let mut compose = Compose { root };
        if entry(&mut compose.root, "version").is_none() {
            compose.root.insert(0, ("version".to_owned(), Tree::text(VERSION)));
        }
        gaps::refuse_ours(&compose.texts())?;
        let mut missing = Vec::new();
        compose.keep_files_within(text, &mut missing)?;
        gaps::refuse_missing(&missing)?;
        let secrets = document.root().get("secrets").into_iter().flat_map(Node::entries);
        let files = secrets.filter_map(|(_, secret)| secret.get("file")?.text());
        text.check_secrets(files).map_err(|error| error.to_string())?;
        let named = compose.services()?.len();
        if named == 0 {
            return Err("the compose text has no `services`".to_owned());
        }
        for name in compose.services()? {
            compose.image(&name, text)?;
        }
        Ok(compose)
    }

    /// The services by the names that the text gives them.
    ///
    /// # Errors
    /// When `services` is no map.
    pub(super) fn services(&self) -> Result<Vec<String>, String> {
        match self.root.iter().find(|(key, _)| key == "services") {
            Some((_, Tree::Map(services))) => Ok(services.iter().map(|(name, _)| name.clone()).collect()),
            Some((_, tree)) if tree.is_nothing() => Ok(Vec::new()),
            None => Ok(Vec::new()),
            Some(_) => Err("`services` of the compose text is no map".to_owned()),
        }
    }

    /// The image of a service, with its variables filled in; one without a tag means `latest`, as everywhere in
    /// compose texts.
    ///
    /// # Errors
    /// When there is none, or a variable in it is missing or secret.
    pub(super) fn image(&self, service: &str, text: &StackText) -> Result<ImageRef, String> {
        let (typed, named) = self.named_image(service, text)?;
        let error = match named.parse::<ImageRef>() {
            Ok(image) => return Ok(image),
            Err(error) => error,
        };
        format!("{named}:latest").parse().map_err(|_| {
            let unset = gaps::unset(&[typed], text);
            match unset.is_empty() {
                true => format!("the image `{named}` of the service `{service}` cannot be used: {error}"),
                false => format!(
                    "the image `{typed}` of the service `{service}` cannot be used: {} not given; say it with `--env`",
                    gaps::listed(&unset)
                ),
            }
        })
    }

    /// Whether the image of a service is named without a tag.
    pub(super) fn means_latest(&self, service: &str, text: &StackText) -> bool {
        self.named_image(service, text).is_ok_and(|(_, named)| named.parse::<ImageRef>().is_err())
    }

    /// As typed, and filled in.
    fn named_image(&self, service: &str, text: &StackText) -> Result<(&str, String), String> {
        let none = || format!("the service `{service}` has no `image`");
        let Some(Tree::Map(body)) = self.service(service) else { return Err(none()) };
        match body.iter().find(|(key, _)| key == "image") {
            Some((_, Tree::Scalar { text: image, .. })) if !image.is_empty() => {
                let named = text
                    .filled(image)
                    .map_err(|why| format!("the image of the service `{service}`: {why}"))?;
                Ok((image, named))
            }
            Some(_) | None => Err(none()),
        }
    }

    /// The same with these services alone.
    pub(super) fn only(mut self, names: &[&str]) -> Compose {
        if let Some(Tree::Map(services)) = entry(&mut self.root, "services") {
            services.retain(|(name, _)| names.contains(&name.as_str()));
        }
        self
    }

    /// Every text in which variables are filled in.
    pub(super) fn texts(&self) -> Vec<&str> {
        let mut texts = Vec::new();
        for (_, section) in self.root.iter().filter(|(key, _)| FILLED_IN.contains(&key.as_str())) {
            section.collect_texts(&mut texts);
        }
        texts
    }

    fn service(&self, name: &str) -> Option<&Tree> {
        let (_, Tree::Map(services)) = self.root.iter().find(|(key, _)| key == "services")? else {
            return None;
        };
        services.iter().find(|(known, _)| known == name).map(|(_, body)| body)
    }

    /// Changes one service.
    ///
    /// # Errors
    /// When `deploy` or its labels are nothing that labels can be added to.
    pub(super) fn edit(&mut self, service: &str, edit: &Edit) -> Result<(), String> {
        let odd = |what: &str| format!("`{what}` of the service `{service}` is not what compose takes there");
        let services = map_at(&mut self.root, "services").ok_or_else(|| odd("services"))?;
        let body = map_at(services, service).ok_or_else(|| odd("services"))?;
        set(body, "image", Tree::text(&literal(&edit.image)));
        let deploy = map_at(body, "deploy").ok_or_else(|| odd("deploy"))?;
        if let Some(replicas) = edit.replicas {
            set(deploy, "replicas", Tree::Scalar { text: replicas.to_string(), plain: true });
        }
        let labels = match entry(deploy, "labels") {
            Some(labels) => labels,
            None => {
                deploy.push(("labels".to_owned(), Tree::Map(Vec::new())));
                entry(deploy, "labels").ok_or_else(|| odd("deploy.labels"))?
            }
        };
        if labels.is_nothing() {
            *labels = Tree::Map(Vec::new());
        }
        add_labels(labels, &edit.labels).ok_or_else(|| odd("deploy.labels"))
    }

    /// The text to deploy.
    pub(super) fn to_text(&self) -> String {
        let mut out = String::new();
        write_map(&self.root, &mut out);
        out.push('\n');
        out
    }

    /// Files are read on the worker's machine, so only those that came with the text may be named.
    fn keep_files_within(&mut self, text: &StackText, missing: &mut Vec<String>) -> Result<(), String> {
        for section in ["configs", "secrets"] {
            let Some(Tree::Map(objects)) = entry(&mut self.root, section) else { continue };
            for (name, object) in objects {
                let Tree::Map(object) = object else { continue };
                if let Some(file) = entry(object, "file") {
                    within(file, (text, missing), &format!("{section}.{name}.file"))?;
                }
            }
        }
        let Some(Tree::Map(services)) = entry(&mut self.root, "services") else { return Ok(()) };
        for (name, body) in services {
            let Tree::Map(body) = body else { continue };
            match entry(body, "env_file") {
                Some(Tree::List(files)) => {
                    files.iter_mut().try_for_each(|file| {
                        within(file, (text, missing), &format!("services.{name}.env_file"))
                    })?;
                }
                Some(file) => within(file, (text, missing), &format!("services.{name}.env_file"))?,
                None => {}
            }
            if let Some(Tree::List(volumes)) = entry(body, "volumes") {
                volumes.iter().try_for_each(|volume| no_relative_bind(volume, name, text))?;
            }
            for key in ["extends", "build"] {
                if entry(body, key).is_some() {
                    return Err(format!("the service `{name}` has `{key}`, which no stack can have"));
                }
            }
        }
        Ok(())
    }
}

impl Tree {
    fn of(node: &Node) -> Tree {
        if node.is_map() {
            return Tree::Map(
                node.entries().map(|(key, value)| (key.text.clone(), Tree::of(value))).collect(),
            );
        }
        if node.is_list() {
            return Tree::List(node.items().map(Tree::of).collect());
        }
        Tree::Scalar { text: node.text().unwrap_or_default().to_owned(), plain: node.is_plain() }
    }

    fn text(text: &str) -> Tree {
        Tree::Scalar { text: text.to_owned(), plain: false }
    }

    fn collect_texts<'a>(&'a self, texts: &mut Vec<&'a str>) {
        match self {
            Tree::Scalar { text, .. } => texts.push(text),
            Tree::List(list) => list.iter().for_each(|item| item.collect_texts(texts)),
            Tree::Map(map) => map.iter().for_each(|(_, item)| item.collect_texts(texts)),
        }
    }

    fn is_nothing(&self) -> bool {
        matches!(self, Tree::Scalar { text, plain: true } if ["", "~", "null", "Null", "NULL"].contains(&text.as_str()))
    }
}

/// Makes `file` the plain path of a file that came with the text; one that did not is noted as missing.
fn within(
    file: &mut Tree,
    (text, missing): (&StackText, &mut Vec<String>),
    place: &str,
) -> Result<(), String> {
    let Tree::Scalar { text: path, .. } = file else {
        return Err(format!("`{place}` of the compose text is no path"));
    };
    let path = text.filled(path).map_err(|why| format!("`{place}` of the compose text: {why}"))?;
    let plain = path.strip_prefix("./").unwrap_or(&path);
    if !text.files.contains_key(plain) {
        missing.push(format!("`{plain}` ({place})"));
        return Ok(());
    }
    *file = Tree::text(&literal(plain));
    Ok(())
}

/// A path below the text means nothing on the nodes.
fn no_relative_bind(volume: &Tree, service: &str, text: &StackText) -> Result<(), String> {
    let source = match volume {
        Tree::Scalar { text: short, .. } => short.split(':').next().filter(|_| short.contains(':')),
        Tree::Map(long) => {
            let value = |key: &str| match long.iter().find(|(known, _)| known == key) {
                Some((_, Tree::Scalar { text, .. })) => Some(text.as_str()),
                Some(_) | None => None,
            };
            value("source").filter(|_| value("type") == Some("bind"))
        }
        Tree::List(_) => None,
    };
    let Some(source) = source else { return Ok(()) };
    let source = text.filled(source).unwrap_or_else(|_| source.to_owned());
    match source.starts_with(['.', '~']) {
        true => Err(format!(
            "the service `{service}` mounts `{source}`, a path beside the text; nodes do not have it: name a volume, \
             a config or an absolute path"
        )),
        false => Ok(()),
    }
}

fn entry<'a>(map: &'a mut Map, key: &str) -> Option<&'a mut Tree> {
    map.iter_mut().find(|(known, _)| known == key).map(|(_, value)| value)
}

/// The map under `key`; an empty one is made where nothing stands. None where something else does.
fn map_at<'a>(map: &'a mut Map, key: &str) -> Option<&'a mut Map> {
    if entry(map, key).is_none() {
        map.push((key.to_owned(), Tree::Map(Vec::new())));
    }
    let value = entry(map, key)?;
    if value.is_nothing() {
        *value = Tree::Map(Vec::new());
    }
    match value {
        Tree::Map(map) => Some(map),
        Tree::Scalar { .. } | Tree::List(_) => None,
    }
}

fn set(map: &mut Map, key: &str, value: Tree) {
    match entry(map, key) {
        Some(known) => *known = value,
        None => map.push((key.to_owned(), value)),
    }
}

/// Labels are a map, or a list of `name=value`; what stands there of our own marks is not the text's to say.
fn add_labels(labels: &mut Tree, added: &[(&'static str, String)]) -> Option<()> {
    match labels {
        Tree::Map(map) => {
            map.retain(|(name, _)| !is_own(name));
            map.extend(added.iter().map(|(name, value)| ((*name).to_owned(), Tree::text(&literal(value)))));
            Some(())
        }
        Tree::List(list) => {
            let is_ours = |item: &Tree| matches!(item, Tree::Scalar { text, .. } if is_own(text.split('=').next().unwrap_or_default()));
            list.retain(|item| !is_ours(item));
            list.extend(added.iter().map(|(name, value)| Tree::text(&literal(&format!("{name}={value}")))));
            Some(())
        }
        Tree::Scalar { .. } => None,
    }
}

fn is_own(label: &str) -> bool {
    fence::ALL.contains(&label) || lifecycle::OWN.contains(&label)
}

fn write(tree: &Tree, out: &mut String) {
    match tree {
        Tree::Map(map) => write_map(map, out),
        Tree::List(list) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write(item, out);
            }
            out.push(']');
        }
        Tree::Scalar { .. } if tree.is_nothing() => out.push_str("null"),
        Tree::Scalar { text, plain: true } if may_be_more_than_text(text) => out.push_str(text),
        Tree::Scalar { text, .. } => write_text(text, out),
    }
}

fn write_map(map: &Map, out: &mut String) {
    out.push('{');
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_text(key, out);
        out.push_str(": ");
        write(value, out);
    }
    out.push('}');
}

/// Numbers, truths, dates and their like are made of these letters; whatever holds another is text.
fn may_be_more_than_text(text: &str) -> bool {
    text.chars().any(|letter| letter.is_ascii_alphanumeric())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_+.-".contains(letter))
}

/// In double quotes with the escapes of JSON, all of which YAML has too.
fn write_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

#[cfg(test)]
#[path = "compose_tests.rs"]
mod tests;
