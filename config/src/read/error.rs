//! What can go wrong while a value is read, before it becomes a fault with its line.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use crate::resolve::Problem;

/// The way from the value that is read to one inside it: the index of the entry or item at each step.
pub(crate) type Trail = Vec<usize>;

/// An error and, once it has left the value it is about, where that value is.
#[derive(Debug)]
pub(crate) struct ReadError {
    pub(crate) at: Option<Trail>,
    /// Whether it is about the key of that entry, not its value.
    pub(crate) is_key: bool,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// A field is not given.
    Missing(&'static str),
    /// A key is not a field.
    Unknown { name: String, known: &'static [&'static str] },
    /// A field is given under two of its names.
    Twice(&'static str),
    /// A text is none of the names allowed.
    Variant { name: String, known: &'static [&'static str] },
    /// Another kind of value is needed; `found` may show the value, `kind` does not.
    Mismatch { expected: String, found: String, kind: &'static str },
    /// What the type says itself; may show the value.
    Said(String),
    /// A variable or a file cannot be resolved; shows no value.
    Unresolved(Problem),
    /// The value put in for this missing field is refused, which is no fault of the file.
    StandIn(&'static str),
}

impl ReadError {
    pub(crate) fn new(what: What) -> Self {
        Self { at: None, is_key: false, what }
    }

    /// The same error, of the value at `trail` unless it is already known to be of one further in.
    pub(crate) fn of(mut self, trail: impl FnOnce() -> Trail) -> Self {
        self.at = Some(self.at.unwrap_or_else(trail));
        self
    }

    pub(crate) fn of_key(mut self, trail: impl FnOnce() -> Trail) -> Self {
        self.is_key = self.at.is_none();
        self.of(trail)
    }
}

impl From<Problem> for ReadError {
    fn from(problem: Problem) -> Self {
        Self::new(What::Unresolved(problem))
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the value cannot be read")
    }
}

impl std::error::Error for ReadError {}

impl Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(What::Said(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let kind = kind_of(&found);
        Self::new(What::Mismatch { expected: plain_words(expected), found: shown(&found, kind), kind })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let kind = kind_of(&found);
        let shown = if let Unexpected::Str(text) = found { format!("`{text}`") } else { shown(&found, kind) };
        Self::new(What::Mismatch { expected: plain_words(expected), found: shown, kind })
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        let found = format!("{length} items");
        Self::new(What::Mismatch { expected: plain_words(expected), found, kind: "a list" })
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::Variant { name: name.to_owned(), known })
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::Unknown { name: name.to_owned(), known })
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(What::Missing(name))
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::new(What::Twice(name))
    }
}

/// Numbers and booleans as they are, of anything else its kind only.
fn shown(found: &Unexpected<'_>, kind: &str) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(number) => format!("`{number}`"),
        Unexpected::Signed(number) => format!("`{number}`"),
        Unexpected::Float(number) => format!("`{number}`"),
        Unexpected::Char(_)
        | Unexpected::Str(_)
        | Unexpected::Bytes(_)
        | Unexpected::Unit
        | Unexpected::Option
        | Unexpected::NewtypeStruct
        | Unexpected::Seq
        | Unexpected::Map
        | Unexpected::Enum
        | Unexpected::UnitVariant
        | Unexpected::NewtypeVariant
        | Unexpected::TupleVariant
        | Unexpected::StructVariant
        | Unexpected::Other(_) => kind.to_owned(),
    }
}

fn kind_of(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "text",
        Unexpected::Unit | Unexpected::Option => "nothing",
        Unexpected::Seq | Unexpected::TupleVariant => "a list",
        Unexpected::Map | Unexpected::StructVariant => "a map",
        Unexpected::NewtypeStruct
        | Unexpected::Enum
        | Unexpected::UnitVariant
        | Unexpected::NewtypeVariant
        | Unexpected::Other(_) => "something else",
    }
}

/// What a type expects, without serde's and Rust's own terms.
fn plain_words(expected: &dyn Expected) -> String {
    let said = expected.to_string();
    let words = match said.as_str() {
        "a string" | "a borrowed string" | "path string" | "a character" => "text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "unit" => "nothing",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "a nonzero u8" => "a whole number from 1 to 255",
        "a nonzero u16" => "a whole number from 1 to 65535",
        "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => "a whole number, 1 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        other if other.starts_with("struct ") => "a map",
        other if other.starts_with("enum ") => "one of the names known here",
        other => other,
    };
    words.to_owned()
}
