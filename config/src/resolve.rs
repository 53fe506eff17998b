//! Values that stand elsewhere: `${NAME}` in the environment, `*_file` in a file.

use std::env::VarError;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::document::reason;

/// A larger file is not taken for a value.
const LARGEST_VALUE: u64 = 1024 * 1024;

/// How an environment variable is looked up.
pub(crate) type Lookup<'a> = dyn Fn(&str) -> Result<String, VarError> + 'a;

/// Why a value could not be had; tells names, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// A text with its variables replaced.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expanded {
    pub(crate) text: String,
    /// The names and values that were put in; defaults, which are typed in the file, are not among them.
    pub(crate) used: Vec<(String, String)>,
}

/// Replaces `${NAME}` and `${NAME:-default}`; `$${` is a literal `${`, any other `$` stays.
pub(crate) fn expand(text: &str, lookup: &Lookup<'_>) -> Result<Expanded, Problem> {
    let mut expanded = Expanded { text: String::with_capacity(text.len()), used: Vec::new() };
    let mut unset = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let before = &rest[..at];
        let inside = &rest[at + 2..];
        if let Some(before) = before.strip_suffix('$') {
            expanded.text.push_str(before);
            expanded.text.push_str("${");
            rest = inside;
            continue;
        }
        expanded.text.push_str(before);
        let Some((variable, after)) = inside.split_once('}') else {
            return Err(malformed("`${` is not closed by `}`"));
        };
        rest = after;
        match value_of(variable, lookup)? {
            Found::Set(name, value) => {
                expanded.text.push_str(&value);
                expanded.used.push((name.to_owned(), value));
            }
            Found::Default(default) => expanded.text.push_str(default),
            Found::Unset(name) => unset.push(name),
        }
    }
    expanded.text.push_str(rest);
    if unset.is_empty() { Ok(expanded) } else { Err(not_set(&unset)) }
}

enum Found<'a> {
    Set(&'a str, String),
    Default(&'a str),
    Unset(&'a str),
}

fn value_of<'a>(variable: &'a str, lookup: &Lookup<'_>) -> Result<Found<'a>, Problem> {
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    if !is_name(name) {
        return Err(malformed("what stands between `${` and `}` is not the name of an environment variable"));
    }
    match (lookup(name), default) {
        (Ok(value), Some(default)) if value.is_empty() => Ok(Found::Default(default)),
        (Ok(value), _) => Ok(Found::Set(name, value)),
        (Err(VarError::NotPresent), Some(default)) => Ok(Found::Default(default)),
        (Err(VarError::NotPresent), None) => Ok(Found::Unset(name)),
        (Err(VarError::NotUnicode(_)), _) => Err(Problem {
            message: format!("the environment variable {name} is not UTF-8 text"),
            hint: format!("set {name} to UTF-8 text"),
        }),
    }
}

fn is_name(name: &str) -> bool {
    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    name.chars().all(word) && name.chars().next().is_some_and(|first| !first.is_ascii_digit())
}

fn malformed(message: &str) -> Problem {
    Problem {
        message: message.to_owned(),
        hint: "write `${NAME}` or `${NAME:-default}`; a literal `${` is written `$${`".to_owned(),
    }
}

fn not_set(names: &[&str]) -> Problem {
    let first = names.first().copied().unwrap_or_default();
    let message = match names {
        [name] => format!("the environment variable {name} is not set"),
        several => format!("the environment variables {} are not set", several.join(", ")),
    };
    Problem {
        message,
        hint: format!("set it where Longshore is started, or give a default: `${{{first}:-…}}`"),
    }
}

/// The content of a file that holds a value, without the line end after it.
pub(crate) fn read_file(path: &str) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    let opened = File::open(Path::new(path));
    let outcome = opened.and_then(|file| file.take(LARGEST_VALUE + 1).read_to_end(&mut bytes));
    if let Err(error) = outcome {
        let hint =
            "check the path and who may read the file; a relative path starts where Longshore is started";
        return Err(Problem {
            message: format!("cannot read {path}: {}", reason(&error)),
            hint: hint.to_owned(),
        });
    }
    let hint = "put the value, and nothing else, into the file".to_owned();
    if bytes.len() as u64 > LARGEST_VALUE {
        return Err(Problem { message: format!("cannot use {path}: larger than 1 MiB"), hint });
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(Problem { message: format!("cannot use {path}: it is not UTF-8 text"), hint });
    };
    let value = text.trim_end_matches(['\n', '\r']);
    if value.trim().is_empty() {
        return Err(Problem { message: format!("cannot use {path}: it is empty"), hint });
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Result<String, VarError> {
        match name {
            "HOST" => Ok("example.org".to_owned()),
            "EMPTY" => Ok(String::new()),
            "BROKEN" => Err(VarError::NotUnicode("x".into())),
            _ => Err(VarError::NotPresent),
        }
    }

    fn text(typed: &str) -> String {
        expand(typed, &lookup).unwrap().text
    }

    #[test]
    fn variables_are_replaced_and_other_dollars_stay() {
        assert_eq!(text("https://${HOST}/${HOST}"), "https://example.org/example.org");
        assert_eq!(text("robot$deploy $5 $$ $"), "robot$deploy $5 $$ $");
        assert_eq!(text("$${HOST} $$${HOST}"), "${HOST} $${HOST}");
        assert_eq!(text("${NONE:-a:-b} ${EMPTY:-c} ${HOST:-d} ${NONE:-}"), "a:-b c example.org ");
        assert_eq!(text("[${EMPTY}]"), "[]");
    }

    #[test]
    fn values_that_were_put_in_are_told_defaults_are_not() {
        let expanded = expand("${HOST}${NONE:-x}", &lookup).unwrap();
        assert_eq!(expanded.used, [("HOST".to_owned(), "example.org".to_owned())]);
    }

    #[test]
    fn every_missing_variable_is_named() {
        let problem = expand("${A}${HOST}${B}", &lookup).unwrap_err();
        assert_eq!(problem.message, "the environment variables A, B are not set");
        let problem = expand("${A}", &lookup).unwrap_err();
        assert_eq!(problem.message, "the environment variable A is not set");
        assert_eq!(problem.hint, "set it where Longshore is started, or give a default: `${A:-…}`");
        let problem = expand("${BROKEN}", &lookup).unwrap_err();
        assert_eq!(problem.message, "the environment variable BROKEN is not UTF-8 text");
    }

    #[test]
    fn what_is_not_a_variable_is_refused() {
        assert_eq!(expand("${HOST", &lookup).unwrap_err().message, "`${` is not closed by `}`");
        for typed in ["${}", "${a b}", "${1A}", "${:-x}", "${{ x }}"] {
            let problem = expand(typed, &lookup).unwrap_err();
            assert!(problem.message.ends_with("is not the name of an environment variable"), "{typed}");
        }
    }

    #[test]
    fn files_are_read_without_their_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("a"), " hunter2 \r\n\n").unwrap();
        assert_eq!(read_file(&path("a")).unwrap(), " hunter2 ");
        std::fs::write(path("b"), " \n").unwrap();
        assert_eq!(
            read_file(&path("b")).unwrap_err().message,
            format!("cannot use {}: it is empty", path("b"))
        );
        std::fs::write(path("c"), [0xff, 0xfe]).unwrap();
        assert!(read_file(&path("c")).unwrap_err().message.ends_with("it is not UTF-8 text"));
        assert!(read_file(&path("none")).unwrap_err().message.ends_with("there is no such file"));
        assert!(
            read_file(&folder.path().display().to_string())
                .unwrap_err()
                .message
                .ends_with("it is a directory")
        );
        std::fs::write(path("d"), vec![b'x'; 1024 * 1024 + 1]).unwrap();
        assert!(read_file(&path("d")).unwrap_err().message.ends_with("larger than 1 MiB"));
    }
}
