//! From the YAML parser's events to a tree of nodes.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};

use crate::node::{Style, Value, item_path, key_path};
use crate::{Fault, Faults, Key, Node, Place};

/// Deeper nesting is refused: trees are walked by recursion.
const DEEPEST: usize = 64;
/// Aliases may copy this many bytes in all, a value counting for its text and 64 more.
const MOST_COPIED: usize = 16 * 1024 * 1024;

/// A fault was pushed after which the rest of the file cannot be read.
struct Stop;

/// A value that has an anchor, and what copying it costs.
struct Anchored {
    node: Node,
    height: usize,
    cost: usize,
}

struct Composer<'text, 'out> {
    parser: Parser<'text, StrInput<'text>>,
    source: &'text str,
    file: Arc<str>,
    anchors: HashMap<usize, Anchored>,
    copied: usize,
    faults: &'out mut Faults,
}

/// Where a value goes: its path, its depth, and the place of its key, which stands in for a value that is not typed.
struct Seat<'a> {
    path: &'a str,
    depth: usize,
    key: Option<&'a Place>,
}

/// Reads a text as one YAML document. None when it cannot be read to its end; lesser faults, as a key that is given
/// twice, are pushed and the rest is read.
pub(crate) fn compose(file: &str, text: &str, faults: &mut Faults) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (parser, file) = (Parser::new_from_str(text), Arc::from(file));
    let mut composer = Composer { parser, source: text, file, anchors: HashMap::new(), copied: 0, faults };
    composer.document().ok()
}

impl<'text> Composer<'text, '_> {
    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        loop {
            let (event, start) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if root.is_some() => return Err(self.second_document(start)),
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd => {
                    root = Some(self.node((event, start), &Seat { path: "", depth: 0, key: None })?);
                }
            }
        }
        match root {
            None => Ok(Node::empty_map()),
            Some(node) if node.is_blank() => Ok(Node::empty_map()),
            Some(node) if node.is_map() => Ok(node),
            Some(node) => {
                self.faults.push(
                    node.fault("the file does not hold a map of sections")
                        .hint("begin with a key, as in `version: 1`"),
                );
                Err(Stop)
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'text>, Marker), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start)),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Marker::default())),
        }
    }

    fn node(&mut self, next: (Event<'text>, Marker), seat: &Seat<'_>) -> Result<Node, Stop> {
        let (event, start) = next;
        if seat.depth > DEEPEST {
            return Err(self.too_deep(start, seat.path));
        }
        let (anchor, node) = match event {
            Event::Alias(anchor) => return self.alias(anchor, start, seat),
            Event::Scalar(scalar, style, anchor, tag) => {
                let style = self.style(style, tag.as_deref(), start, seat.path);
                (anchor, self.scalar(scalar.into_owned(), style, start, seat))
            }
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", start, seat.path);
                (anchor, self.list(start, seat)?)
            }
            Event::MappingStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", start, seat.path);
                (anchor, self.map(start, seat)?)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => {
                self.fault(start, seat.path, "this is not valid YAML: a value is missing");
                return Err(Stop);
            }
        };
        if anchor > 0 {
            let (height, cost) = measure(&node);
            self.anchors.insert(anchor, Anchored { node: node.clone(), height, cost });
        }
        Ok(node)
    }

    fn style(&mut self, style: ScalarStyle, tag: Option<&Tag>, start: Marker, path: &str) -> Style {
        match tag.map(tag_name) {
            None if style == ScalarStyle::Plain => Style::Plain,
            None | Some(Some("str")) => Style::Quoted,
            Some(Some("int" | "float" | "bool" | "null")) => Style::Plain,
            Some(_) => {
                self.unknown_tag(start, path);
                Style::Quoted
            }
        }
    }

    fn scalar(&mut self, text: String, style: Style, start: Marker, seat: &Seat<'_>) -> Node {
        let blank = text.is_empty() && style == Style::Plain;
        let place = match seat.key {
            Some(key) if blank => key.clone(),
            Some(_) | None => self.place(start),
        };
        Node { place: Some(place), path: seat.path.to_owned(), value: Value::Scalar { text, style } }
    }

    fn list(&mut self, start: Marker, seat: &Seat<'_>) -> Result<Node, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if event == Event::SequenceEnd {
                break;
            }
            let path = item_path(seat.path, items.len());
            let inner = Seat { path: &path, depth: seat.depth + 1, key: None };
            items.push(self.node((event, at), &inner)?);
        }
        Ok(Node { place: Some(self.place(start)), path: seat.path.to_owned(), value: Value::List(items) })
    }

    fn map(&mut self, start: Marker, seat: &Seat<'_>) -> Result<Node, Stop> {
        let mut pairs: Vec<(Key, Node)> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut merged: Vec<Node> = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(key, ScalarStyle::Plain, _, None) if key == "<<");
            let key = self.key((event, at), seat)?;
            let name = key.as_ref().map_or("?", |key| key.text.as_str());
            let path = if is_merge { seat.path.to_owned() } else { key_path(seat.path, name) };
            let key_place = self.place(at);
            let inner = Seat { path: &path, depth: seat.depth + 1, key: Some(&key_place) };
            let next = self.next()?;
            let value = self.node(next, &inner)?;
            match key {
                None => {}
                Some(_) if is_merge => merged.push(value),
                Some(key) => match lines.get(&key.text) {
                    Some(first) => self.given_twice(key, value, *first),
                    None => {
                        lines.insert(key.text.clone(), key.place.line);
                        pairs.push((key, value));
                    }
                },
            }
        }
        for source in merged {
            self.merge_in(&mut pairs, seat.path, source);
        }
        Ok(Node { place: Some(self.place(start)), path: seat.path.to_owned(), value: Value::Map(pairs) })
    }

    /// The key itself, or none when a fault was made of it and its value is to be left out.
    fn key(&mut self, next: (Event<'text>, Marker), seat: &Seat<'_>) -> Result<Option<Key>, Stop> {
        let (event, at) = next;
        match event {
            Event::Scalar(name, style, anchor, _) if !name.is_empty() || style != ScalarStyle::Plain => {
                let key = Key { text: name.into_owned(), place: self.place(at) };
                if anchor > 0 {
                    let value = Value::Scalar { text: key.text.clone(), style: Style::Quoted };
                    let node = Node { place: Some(key.place.clone()), path: seat.path.to_owned(), value };
                    let cost = key.text.len();
                    self.anchors.insert(anchor, Anchored { node, height: 0, cost });
                }
                Ok(Some(key))
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd => {
                self.fault(at, seat.path, "a key is not a plain word");
                let inner = Seat { path: seat.path, depth: seat.depth + 1, key: None };
                self.node((event, at), &inner)?;
                Ok(None)
            }
        }
    }

    fn given_twice(&mut self, key: Key, value: Node, first: usize) {
        let message = format!("`{}` is given twice in this map", key.text);
        let hint = format!("it is first given in line {first}; keep one of them");
        self.faults.push(Fault { place: Some(key.place), path: value.path, message, hint: Some(hint) });
    }

    /// Adds the keys of a `<<` that the map does not give itself.
    fn merge_in(&mut self, pairs: &mut Vec<(Key, Node)>, path: &str, source: Node) {
        let sources = match source.value {
            Value::List(items) => items,
            Value::Map(_) | Value::Scalar { .. } => vec![source],
        };
        for source in sources {
            let fault = source.fault("`<<` takes a map, or a list of maps");
            match source.value {
                Value::Map(entries) => {
                    for (key, value) in entries {
                        if !pairs.iter().any(|(known, _)| known.text == key.text) {
                            let moved = value.moved(&key_path(path, &key.text));
                            pairs.push((key, moved));
                        }
                    }
                }
                Value::Scalar { .. } | Value::List(_) => {
                    self.faults.push(fault.hint("give it an alias, as in `<<: *defaults`"));
                }
            }
        }
    }

    fn alias(&mut self, anchor: usize, start: Marker, seat: &Seat<'_>) -> Result<Node, Stop> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            self.fault(start, seat.path, "the alias stands inside the value it repeats");
            return Err(Stop);
        };
        if seat.depth + anchored.height > DEEPEST {
            return Err(self.too_deep(start, seat.path));
        }
        self.copied += anchored.cost;
        if self.copied > MOST_COPIED {
            self.fault(start, seat.path, "aliases repeat too much: more than 16 MiB in all");
            return Err(Stop);
        }
        Ok(anchored.node.moved(seat.path))
    }

    fn collection_tag(&mut self, tag: Option<&Tag>, allowed: &str, start: Marker, path: &str) {
        if tag.is_some_and(|tag| tag_name(tag) != Some(allowed)) {
            self.unknown_tag(start, path);
        }
    }

    fn unknown_tag(&mut self, start: Marker, path: &str) {
        let place = Some(self.place(start));
        let message = "YAML tags (`!name`) mean nothing here".to_owned();
        let hint = Some("leave the tag out; text that begins with `!` needs quotes".to_owned());
        self.faults.push(Fault { place, path: path.to_owned(), message, hint });
    }

    fn too_deep(&mut self, start: Marker, path: &str) -> Stop {
        self.fault(start, path, &format!("nested deeper than {DEEPEST} levels"));
        Stop
    }

    fn second_document(&mut self, start: Marker) -> Stop {
        let place = Some(self.place(start));
        let message = "a second document begins here (`---`)".to_owned();
        let hint = Some("put it into a file of its own and give both with --config".to_owned());
        self.faults.push(Fault { place, path: String::new(), message, hint });
        Stop
    }

    fn syntax(&mut self, error: &ScanError) -> Stop {
        let place = self.place(*error.marker());
        let line = self.source.lines().nth(place.line - 1).unwrap_or_default();
        let indent = &line[..line.len() - line.trim_start().len()];
        let hint = if indent.contains('\t') || error.info().contains("tab") {
            Some("indent with spaces, not with tabs".to_owned())
        } else if line.contains("${") && error.info().contains("flow") {
            Some("inside `{ }` and `[ ]`, `${NAME}` needs quotes".to_owned())
        } else if error.info().contains("mapping values") {
            Some("put quotes around a value with `: ` in it, and indent the keys of one map alike".to_owned())
        } else {
            None
        };
        let message = format!("this is not valid YAML: {}", error.info());
        self.faults.push(Fault { place: Some(place), path: String::new(), message, hint });
        Stop
    }

    fn fault(&mut self, start: Marker, path: &str, message: &str) {
        let place = Some(self.place(start));
        self.faults.push(Fault { place, path: path.to_owned(), message: message.to_owned(), hint: None });
    }

    fn place(&self, marker: Marker) -> Place {
        Place { file: self.file.clone(), line: marker.line().max(1), column: marker.col() + 1 }
    }
}

/// The name of a tag of YAML itself, as `str`; none for any other.
fn tag_name(tag: &Tag) -> Option<&str> {
    match (tag.handle.as_str(), tag.suffix.as_str()) {
        ("tag:yaml.org,2002:" | "!!", name) => Some(name),
        ("" | "!", "" | "!") => Some("str"),
        _ => None,
    }
}

/// The height of a tree and what it costs to copy it.
fn measure(node: &Node) -> (usize, usize) {
    let inner = |(height, cost): (usize, usize), (extra, node): (usize, &Node)| {
        let (below, more) = measure(node);
        (height.max(below + 1), cost + more + extra)
    };
    match &node.value {
        Value::Scalar { text, .. } => (0, 64 + text.len()),
        Value::List(items) => items.iter().map(|item| (0, item)).fold((0, 64), inner),
        Value::Map(pairs) => pairs.iter().map(|(key, value)| (key.text.len(), value)).fold((0, 64), inner),
    }
}
