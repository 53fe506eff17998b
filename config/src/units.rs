//! Spans of time and amounts of bytes, as people write them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The units of a span, greatest first, in milliseconds.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The units of an amount, greatest first; of two of one name's size the first is shown.
const SIZES: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

const SPAN_HINT: &str = "give each number its unit, the greatest first: `30s`, `10m`, `1h30m`, `7d`, `250ms`";
const BYTES_HINT: &str = "write a whole number and a unit: `64KiB`, `10MB`; a number alone means bytes";

/// A text that is not a span of time or an amount of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a span of time.
    #[error("`{0}` is not a span of time")]
    Span(String),
    /// Not an amount of bytes.
    #[error("`{0}` is not an amount of bytes")]
    Bytes(String),
}

impl UnitError {
    /// How it is written instead.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Span(_) => SPAN_HINT,
            Self::Bytes(_) => BYTES_HINT,
        }
    }

    fn told<E: Error>(self) -> E {
        E::custom(format_args!("{self}\nhint: {}", self.hint()))
    }
}

/// A span of time, written `30m`, `10s`, `7d`, `1h30m` or `250ms`; shown to the millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let total = milliseconds(text).ok_or_else(|| UnitError::Span(text.to_owned()))?;
        Ok(Self(Duration::from_millis(total)))
    }
}

/// The sum of the numbers with their units, each unit smaller than the one before.
fn milliseconds(text: &str) -> Option<u64> {
    let (mut total, mut rest, mut units) = (0_u64, text, &TIMES[..]);
    while total == 0 && rest.len() == text.len() || !rest.is_empty() {
        let (number, after) = leading_number(rest)?;
        let unit_length = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_length);
        let known = units.iter().position(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(units[known].1)?)?;
        units = &units[known + 1..];
        rest = after;
    }
    Some(total)
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let length = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, after) = text.split_at(length);
    Some((number.parse().ok()?, after))
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return out.write_str("0s");
        }
        for (unit, size) in TIMES {
            let count = rest / u128::from(size);
            rest %= u128::from(size);
            if count > 0 {
                write!(out, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpanVisitor;

        impl Visitor<'_> for SpanVisitor {
            type Value = Span;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a span of time such as `30s`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(UnitError::told)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Span, E> {
                Err(UnitError::Span(number.to_string()).told())
            }
        }

        deserializer.deserialize_str(SpanVisitor)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A span of time: `30s`, `10m`, `1h30m`, `7d`, `250ms`.",
            "pattern": "^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"
        })
    }
}

/// An amount of bytes, written `64KiB`, `1MiB`, `10MB`, or a plain number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let amount = || {
            let (number, unit) = leading_number(text)?;
            let unit = if unit.is_empty() { "B" } else { unit };
            let (_, size) = SIZES.iter().find(|(name, _)| *name == unit)?;
            number.checked_mul(*size)
        };
        amount().map(Self).ok_or_else(|| UnitError::Bytes(text.to_owned()))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in SIZES {
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(out, "{}{unit}", self.0 / size);
            }
        }
        write!(out, "{}B", self.0)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;

        impl Visitor<'_> for BytesVisitor {
            type Value = Bytes;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an amount of bytes such as `64KiB`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse().map_err(UnitError::told)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Bytes, E> {
                Ok(Bytes(number))
            }
        }

        deserializer.deserialize_any(BytesVisitor)
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "description": "An amount of bytes: `64KiB`, `10MB`, or a number of bytes.",
            "pattern": "^[0-9]+(B|[kK]B|KiB|MB|MiB|GB|GiB|TB|TiB)?$",
            "minimum": 0
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_are_read_and_shown() {
        for (text, milliseconds, shown) in [
            ("30m", 1_800_000, "30m"),
            ("10s", 10_000, "10s"),
            ("7d", 604_800_000, "7d"),
            ("1h30m", 5_400_000, "1h30m"),
            ("250ms", 250, "250ms"),
            ("90s", 90_000, "1m30s"),
            ("1m1ms", 60_001, "1m1ms"),
            ("0s", 0, "0s"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.0, span.to_string().as_str()), (Duration::from_millis(milliseconds), shown));
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in [
            "",
            "30",
            "m",
            "30 m",
            "1.5h",
            "-1s",
            "1m1h",
            "1s1s",
            "1w",
            "1M",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert_eq!(text.parse::<Span>(), Err(UnitError::Span(text.to_owned())));
        }
    }

    #[test]
    fn amounts_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("64KiB", 65_536, "64KiB"),
            ("1MiB", 1_048_576, "1MiB"),
            ("10MB", 10_000_000, "10MB"),
            ("1500", 1_500, "1500B"),
            ("2000", 2_000, "2kB"),
            ("2KB", 2_000, "2kB"),
            ("0", 0, "0B"),
            ("3B", 3, "3B"),
        ] {
            let amount: Bytes = text.parse().unwrap();
            assert_eq!((amount.0, amount.to_string().as_str()), (bytes, shown));
        }
        for text in ["", "KiB", "1 KiB", "1.5MB", "-1", "1mib", "99999999TiB"] {
            assert_eq!(text.parse::<Bytes>(), Err(UnitError::Bytes(text.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(milliseconds in any::<u64>(), bytes in any::<u64>()) {
            let span = Span(Duration::from_millis(milliseconds));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            prop_assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            prop_assert_eq!(text.parse::<Span>().is_ok() && text.is_empty(), false);
            prop_assert_eq!(text.parse::<Bytes>().is_ok() && text.is_empty(), false);
        }
    }
}
