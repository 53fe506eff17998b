//! The text of a stack, and what is filled into it.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::variables::replaced;

/// A stack as it is to be: the compose text, with everything it refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StackText {
    /// The compose file, as typed.
    pub compose: String,
    /// What stands for `${NAME}` in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Given>,
    /// The files that it names: those of its `configs` and `secrets`, and each `env_file`; by the very path that
    /// stands there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, Given>,
    /// Whether services that the text does not have are removed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prune: bool,
    /// Whether a stack that something else deployed is taken over.
    #[serde(default, skip_serializing_if = "is_false")]
    pub adopt: bool,
}

/// A value as it is, or the name of a secret that only the workers know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Given {
    /// The value itself: it is shown to whoever may see the job.
    Value(String),
    /// The name of a secret in the workers' configuration.
    Secret(Named),
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Its name under `secrets` in the workers' configuration.
    pub from: String,
}

/// Why a text cannot be a stack's. It never repeats a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StackTextError {
    /// There is nothing in it.
    #[error("the compose text is empty")]
    Empty,
    /// Together, text, variables and files are larger than the swarm would keep.
    #[error("the text with its variables and files has {0} bytes; {max} are the most", max = StackText::LARGEST)]
    TooLarge(usize),
    /// This can be no variable of a compose text.
    #[error("`{0}` is no name of a variable: letters, digits and `_`, no digit first")]
    Variable(String),
    /// The program that reads the text would take this one for itself.
    #[error("the variable `{0}` would change how the docker command works, not only the text")]
    Reserved(String),
    /// These files would become secrets of the stack, and came as plain text.
    #[error(
        "the compose text makes a secret of {0}, and what is in it came as plain text, which is kept readable for whoever \
         may look: put it under `secrets` of the workers' configuration, and send its name, with `--secret-file PATH=SECRET` \
         (`files: {{\"PATH\": {{\"from\": \"SECRET\"}}}}`)"
    )]
    SecretAsText(String),
    /// This is no path below the text.
    #[error("`{0}` is no path of a file beside the text: letters, digits, `.`, `_`, `-` and `/`, not upward")]
    File(String),
}

impl StackText {
    /// Most bytes of text, variables and files together, as JSON. An engine keeps objects of up to 500 KB.
    pub const LARGEST: usize = 400 * 1024;

    /// A text alone.
    #[must_use]
    pub fn of(compose: impl Into<String>) -> StackText {
        let (env, files) = (BTreeMap::new(), BTreeMap::new());
        StackText { compose: compose.into(), env, files, prune: false, adopt: false }
    }

    /// Whether it can be used as far as can be told without reading the compose text itself.
    ///
    /// # Errors
    /// The first mistake.
    pub fn check(&self) -> Result<(), StackTextError> {
        if self.compose.trim().is_empty() {
            return Err(StackTextError::Empty);
        }
        // As it is kept: what is between quotes may be longer there.
        let size = serde_json::to_vec(self).map_or(usize::MAX, |kept| kept.len());
        if size > Self::LARGEST {
            return Err(StackTextError::TooLarge(size));
        }
        for name in self.env.keys() {
            if !is_variable(name) {
                return Err(StackTextError::Variable(name.clone()));
            }
            if is_reserved(name) {
                return Err(StackTextError::Reserved(name.clone()));
            }
        }
        match self.files.keys().find(|path| !is_beside(path)) {
            Some(path) => Err(StackTextError::File(path.clone())),
            None => Ok(()),
        }
    }

    /// `value`, which stands in the compose text, with its variables filled in.
    ///
    /// # Errors
    /// A sentence for people: a variable that is a secret or must be given and is not, or a form that there is not.
    pub fn filled(&self, value: &str) -> Result<String, String> {
        replaced(value, |name| match self.env.get(name) {
            Some(Given::Value(value)) => Ok(Some(value.clone())),
            Some(Given::Secret(_)) => {
                Err(format!("the variable `{name}` is a secret, and this is shown to everybody"))
            }
            None => Ok(None),
        })
    }

    /// Whether no file that becomes a secret of the stack came as plain text: an engine never gives a secret back, while
    /// this text is kept and shown. `paths`: each `file` under `secrets` of the compose text, as typed.
    ///
    /// # Errors
    /// [`StackTextError::SecretAsText`] with all of them.
    pub fn check_secrets<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Result<(), StackTextError> {
        let is_plain = |path: &String| matches!(self.files.get(path), Some(Given::Value(_)));
        // One that cannot be filled in is refused by whoever reads the whole text.
        let named = paths.into_iter().filter_map(|path| self.filled(path).ok());
        let plain = named.map(|path| path.strip_prefix("./").unwrap_or(&path).to_owned()).filter(is_plain);
        let told: Vec<String> = plain.map(|path| format!("`{path}`")).collect();
        match told.is_empty() {
            true => Ok(()),
            false => Err(StackTextError::SecretAsText(told.join(", "))),
        }
    }

    /// Bytes of the text, its variables and files in memory, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        let given = self.env.iter().chain(&self.files).map(|(name, given)| {
            name.len()
                + match given {
                    Given::Value(value) => value.len(),
                    Given::Secret(named) => named.from.len(),
                }
        });
        self.compose.len() + given.sum::<usize>()
    }

    /// The names of all secrets it needs.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.env.values().chain(self.files.values()).filter_map(|given| match given {
            Given::Secret(named) => Some(named.from.as_str()),
            Given::Value(_) => None,
        })
    }
}

/// As people tell of it: a secret by its name.
impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Given::Value(value) => f.write_str(value),
            Given::Secret(named) => write!(f, "(the secret {})", named.from),
        }
    }
}

pub(crate) fn is_false(value: &bool) -> bool {
    !value
}

pub(crate) fn is_variable(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// Variables that programs, their runtime or their loader act upon.
fn is_reserved(name: &str) -> bool {
    const BEGINNINGS: [&str; 6] = ["DOCKER_", "BUILDKIT_", "LD_", "SSL_CERT_", "XDG_", "MALLOC_"];
    const NAMES: [&str; 17] = [
        "GODEBUG",
        "GOGC",
        "GOMAXPROCS",
        "GOMEMLIMIT",
        "GOTRACEBACK",
        "GOCOVERDIR",
        "GORACE",
        "PATH",
        "HOME",
        "TMPDIR",
        "GLIBC_TUNABLES",
        "GCONV_PATH",
        "LOCPATH",
        "NLSPATH",
        "HOSTALIASES",
        "RES_OPTIONS",
        "LOCALDOMAIN",
    ];
    let name = name.to_ascii_uppercase();
    name.ends_with("_PROXY")
        || NAMES.contains(&name.as_str())
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

fn is_beside(path: &str) -> bool {
    let is_plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
    };
    path.len() <= 200 && path.split('/').all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Given {
        Given::Value(text.to_owned())
    }

    #[test]
    fn values_are_texts_or_names_of_secrets() {
        let text: StackText = serde_json::from_str(
            r#"{"compose":"services: {}","env":{"TAG":"2","KEY":{"from":"shop_key"}},"files":{"a/b.conf":"x"}}"#,
        )
        .unwrap();
        assert_eq!(text.env["TAG"], value("2"));
        assert_eq!(text.secrets().collect::<Vec<_>>(), ["shop_key"]);
        assert_eq!(text.env["KEY"].to_string(), "(the secret shop_key)");
        assert_eq!(text.check(), Ok(()));
        let back = serde_json::to_value(&text).unwrap();
        assert_eq!(back["env"]["KEY"], serde_json::json!({"from": "shop_key"}));
        assert!(back.get("prune").is_none());
        assert!(serde_json::from_str::<Given>(r#"{"from":"a","of":"b"}"#).is_err());
        assert!(serde_json::from_str::<Given>("3").is_err());
    }

    #[test]
    fn a_file_that_becomes_a_secret_is_sent_by_name() {
        let mut text = StackText::of("a");
        text.env.insert("AT".to_owned(), value("conf"));
        text.env.insert("KEY".to_owned(), Given::Secret(Named { from: "shop_key".to_owned() }));
        for path in ["db.txt", "conf/mail.txt", "page.html"] {
            text.files.insert(path.to_owned(), value("pw123"));
        }
        text.files.insert("key.pem".to_owned(), Given::Secret(Named { from: "shop_key".to_owned() }));
        assert_eq!(text.check_secrets(["key.pem", "missing", "$KEY", "${"]), Ok(()));
        let error = text.check_secrets(["./db.txt", "key.pem", "${AT:-x}/mail.txt"]).unwrap_err();
        assert_eq!(error, StackTextError::SecretAsText("`db.txt`, `conf/mail.txt`".to_owned()));
        let told = error.to_string();
        assert!(told.contains("--secret-file PATH=SECRET") && !told.contains("pw123"), "{told}");
    }

    #[test]
    fn what_would_reach_beyond_the_text_is_refused() {
        let with_env = |name: &str| {
            let mut text = StackText::of("a");
            text.env.insert(name.to_owned(), value("x"));
            text.check()
        };
        assert_eq!(with_env("GIT_SHA"), Ok(()));
        for name in ["LD_PRELOAD", "DOCKER_CONFIG", "PATH", "https_proxy", "GODEBUG"] {
            assert_eq!(with_env(name), Err(StackTextError::Reserved(name.to_owned())));
        }
        for name in ["", "1A", "A-B", "A=B"] {
            assert_eq!(with_env(name), Err(StackTextError::Variable(name.to_owned())));
        }
        let with_file = |path: &str| {
            let mut text = StackText::of("a");
            text.files.insert(path.to_owned(), value("x"));
            text.check()
        };
        assert_eq!(with_file("conf/nginx.conf"), Ok(()));
        for path in ["/etc/passwd", "../a", "a/../b", "", "a//b", "a b"] {
            assert_eq!(with_file(path), Err(StackTextError::File(path.to_owned())));
        }
        assert_eq!(StackText::of(" \n").check(), Err(StackTextError::Empty));
        // As it is kept: a quote takes two bytes there.
        for (part, count) in [("x", StackText::LARGEST + 1), ("\"", StackText::LARGEST / 2 + 1)] {
            let large = StackText::of(part.repeat(count)).check();
            assert!(matches!(large, Err(StackTextError::TooLarge(_))), "{large:?}");
        }
    }
}
