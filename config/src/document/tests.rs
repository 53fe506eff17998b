//! How files become one document, and what is said of files that do not.

use std::path::PathBuf;

use proptest::prelude::*;
use serde::Deserialize;

use crate::{Document, Faults, Node, Secret, Span};

fn refused(text: &str) -> String {
    Document::parse("l.yaml", text).expect_err("the text is refused").to_string()
}

fn root(text: &str) -> Node {
    Document::parse("l.yaml", text).unwrap().root().clone()
}

fn json(node: &Node) -> serde_json::Value {
    let mut faults = Faults::new();
    let value = node.read(&mut faults);
    assert!(faults.is_empty(), "{faults}");
    value.unwrap()
}

#[test]
fn an_empty_document_is_an_empty_map() {
    for text in ["", "\n", "# nothing\n", "---\n", "\u{feff}", "---\n...\n"] {
        assert!(root(text).is_map(), "{text:?}");
        assert_eq!(root(text).entries().count(), 0);
    }
}

#[test]
fn a_document_that_is_no_map_is_refused() {
    let hint = "\n  hint: begin with a key, as in `version: 1`";
    assert_eq!(refused("- a\n"), format!("l.yaml:1:1: the file does not hold a map of sections{hint}"));
    assert_eq!(refused("words\n"), format!("l.yaml:1:1: the file does not hold a map of sections{hint}"));
}

#[test]
fn a_key_given_twice_is_a_fault_and_the_rest_is_read() {
    let text = "a:\n  x: 1\n  y: 2\n  x: 3\nb: 1\nb: 2\n";
    assert_eq!(
        refused(text),
        "l.yaml:4:3: a.x: `x` is given twice in this map\n  hint: it is first given in line 2; keep one of them\n\
         l.yaml:6:1: b: `b` is given twice in this map\n  hint: it is first given in line 5; keep one of them"
    );
}

#[test]
fn syntax_errors_have_their_line() {
    let tab = refused("a:\n\tb: 1\n");
    assert!(tab.starts_with("l.yaml:2:"), "{tab}");
    assert!(tab.ends_with("\n  hint: indent with spaces, not with tabs"), "{tab}");
    assert_eq!(
        refused("a: {b: ${NAME}}\n"),
        "l.yaml:1:9: this is not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'\n  \
         hint: inside `{ }` and `[ ]`, `${NAME}` needs quotes"
    );
    for (text, line) in [("a: 1\nb: [1, 2\n", 3), ("a: \"x\nb: 1\n", 1), ("a: b: c\n", 1), ("a: *none\n", 1)]
    {
        let shown = refused(text);
        let place = format!("l.yaml:{line}:");
        assert!(shown.starts_with(&place) && shown.contains("this is not valid YAML: "), "{text:?}: {shown}");
    }
}

#[test]
fn a_second_document_is_refused() {
    assert_eq!(
        refused("a: 1\n---\nb: 1\n"),
        "l.yaml:2:1: a second document begins here (`---`)\n  \
         hint: put it into a file of its own and give both with --config"
    );
}

#[test]
fn aliases_and_merge_keys_work() {
    let text = "base: &base {x: 1, y: [2, 3]}\na: *base\nb: {<<: *base, x: 9}\nc: {<<: [{z: 1}, *base]}\n";
    let node = root(text);
    let expected = serde_json::json!({
        "base": {"x": 1, "y": [2, 3]}, "a": {"x": 1, "y": [2, 3]}, "b": {"x": 9, "y": [2, 3]},
        "c": {"z": 1, "x": 1, "y": [2, 3]},
    });
    assert_eq!(json(&node), expected);
    let item = node.get("b").unwrap().get("y").unwrap().items().nth(1).unwrap();
    assert_eq!(item.path(), "b.y[1]");
    assert_eq!(item.place().unwrap().to_string(), "l.yaml:1:27");
    assert_eq!(
        refused("a: {<<: 1}\n"),
        "l.yaml:1:9: a: `<<` takes a map, or a list of maps\n  hint: give it an alias, as in `<<: *defaults`"
    );
}

#[test]
fn bombs_and_towers_are_refused() {
    assert_eq!(refused("a: &a [*a]\n"), "l.yaml:1:8: a[0]: the alias stands inside the value it repeats");
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(
        refused(&bomb).ends_with("aliases repeat too much: more than 16 MiB in all"),
        "{}",
        refused(&bomb)
    );
    let tower = format!("a: {}{}\n", "[".repeat(200), "]".repeat(200));
    assert!(refused(&tower).ends_with("nested deeper than 64 levels"), "{}", refused(&tower));
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(refused(&chain).ends_with("nested deeper than 64 levels"), "{}", refused(&chain));
    let blocks: String = (0..5000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(refused(&blocks).ends_with("nested deeper than 64 levels"));
}

#[test]
fn keys_and_tags_that_mean_nothing_are_faults() {
    assert_eq!(
        refused("a: !vault x\n? [1]\n: 2\nb: !!str 7\nc: !!binary eA==\n"),
        "l.yaml:1:4: a: YAML tags (`!name`) mean nothing here\n  \
         hint: leave the tag out; text that begins with `!` needs quotes\n\
         l.yaml:2:3: a key is not a plain word\n\
         l.yaml:5:4: c: YAML tags (`!name`) mean nothing here\n  \
         hint: leave the tag out; text that begins with `!` needs quotes"
    );
    assert_eq!(json(&root("b: !!str 7\n")), serde_json::json!({"b": "7"}));
}

#[test]
fn a_value_that_is_not_typed_stands_where_its_key_stands() {
    let node = root("a:\n\n\nb: 1\n");
    assert_eq!(node.get("a").unwrap().place().unwrap().to_string(), "l.yaml:1:1");
}

#[test]
fn files_are_merged_by_key() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let first = write("a.yaml", "v: 1\nm: {x: 1, y: [1, 2], z: {p: 1}}\nkept: {a: 1}\ngone: {a: 1}\n");
    let second = write("b.yaml", "m: {y: [3], z: {q: 2}, w: 4}\nv: 2\nkept:\ngone: null\n");
    let document = Document::load(&[first, second.clone()]).unwrap();
    let expected = serde_json::json!({
        "v": 2, "m": {"x": 1, "y": [3], "z": {"p": 1, "q": 2}, "w": 4}, "kept": {"a": 1}, "gone": null,
    });
    assert_eq!(json(document.root()), expected);
    let place = document.root().get("v").unwrap().place().unwrap().to_string();
    assert_eq!(place, format!("{}:2:4", second.display()));
}

#[test]
fn the_faults_of_all_files_are_told_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a"), "a: [\n").unwrap();
    std::fs::write(path("b"), b"a: 1\nb: \xff\n").unwrap();
    std::fs::write(path("c"), vec![b'#'; 5 * 1024 * 1024]).unwrap();
    let shown = Document::load(&[path("a"), path("b"), path("c"), path("none")]).unwrap_err().to_string();
    let name = |file: &str| path(file).display().to_string();
    assert!(
        shown.contains(&format!(
            "cannot read {}: there is no such file\n  hint: check the path",
            name("none")
        ))
    );
    assert!(shown.contains(&format!("cannot read {}: larger than 4 MiB\n", name("c"))));
    assert!(shown.contains(&format!("{}:2:1: this is not valid YAML: ", name("a"))), "{shown}");
    assert!(shown.contains(&format!("{}:2:1: the file is not UTF-8 text from this line on\n", name("b"))));
}

#[test]
fn a_large_file_is_read_in_good_time() {
    let began = std::time::Instant::now();
    let twice: String = (0..40_000).map(|key| format!("k{}: {{a: x, b: [y, z]}}\n", key % 30_000)).collect();
    let mut faults = Faults::new();
    let node = crate::compose::compose("l.yaml", &twice, &mut faults).unwrap();
    assert_eq!((node.entries().count(), faults.len()), (30_000, 10_000));
    assert_eq!(json(&node).as_object().map(|map| map.len()), Some(30_000));
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_node_shows_no_value_when_debugged() {
    let shown = format!("{:?}", Document::parse("l.yaml", "a: {password: hunter2}\n").unwrap());
    assert!(!shown.contains("hunter2") && shown.contains("l.yaml"), "{shown}");
}

#[test]
fn lesser_faults_do_not_keep_the_document_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    std::fs::write(&path, "a: 1\na: 2\n").unwrap();
    let mut faults = Faults::new();
    let document = Document::load_into(&[path], &mut faults).unwrap();
    assert_eq!((document.root().get("a").unwrap().text(), faults.len()), (Some("1"), 1));
}

#[test]
fn variables_come_from_the_environment_when_a_value_is_read() {
    let node = root("name: x-${CARGO_PKG_NAME}\nother: ${LONGSHORE_NEVER_SET}\n");
    assert_eq!(node.get("name").unwrap().text(), Some("x-${CARGO_PKG_NAME}"));
    assert_eq!(json(node.get("name").unwrap()), serde_json::json!("x-config"));
    let mut faults = Faults::new();
    assert_eq!(node.get("other").unwrap().read::<String>(&mut faults), None);
    assert_eq!(
        faults.to_string(),
        "l.yaml:2:8: other: the environment variable LONGSHORE_NEVER_SET is not set\n  \
         hint: set it where Longshore is started, or give a default: `${LONGSHORE_NEVER_SET:-…}`"
    );
}

/// Anything that looks a bit like YAML: its signs, in any order, with words and line ends between them.
fn yaml_like() -> impl Strategy<Value = String> {
    let signs = vec![
        "a", "b: ", ": ", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "<<: ", "!!str ", "!x ", "\"", "'",
        "|\n", ">-\n", "\n", "\n  ", "\n    ", "\t", "#", "---\n", "...\n", "? ", "%", "@", "`", "${A}",
        "${", "\\", "\r\n", "\u{feff}", "é", "\u{0}", "null", "1.5", "at: ", "inner: ",
    ];
    proptest::collection::vec(proptest::sample::select(signs), 0..60).prop_map(|signs| signs.concat())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Section {
    at: Span,
    a: Option<Secret>,
    b: Vec<String>,
    inner: Option<Box<Section>>,
}

/// Reads a text in every way; an answer is none exactly when there are faults.
fn read_in_every_way(text: &str) -> Result<(), TestCaseError> {
    if let Ok(document) = Document::parse("l.yaml", text) {
        let mut faults = Faults::new();
        let section = document.root().read::<Section>(&mut faults);
        prop_assert_eq!(section.is_none(), !faults.is_empty());
        let mut faults = Faults::new();
        let any = document.root().read::<serde_json::Value>(&mut faults);
        prop_assert_eq!(any.is_none(), !faults.is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_text_panics(text in ".{0,200}") {
        read_in_every_way(&text)?;
    }

    #[test]
    fn nothing_that_looks_like_yaml_panics(text in yaml_like()) {
        read_in_every_way(&text)?;
    }
}
