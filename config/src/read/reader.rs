//! A serde deserializer over a node.

use std::borrow::Cow;
use std::cell::RefCell;

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

use super::access::{ChosenVariant, Entries, Items};
use super::error::{ReadError, Trail};
use super::repair::Repairs;
use crate::node::{Style, Value};
use crate::resolve::{Lookup, expand};
use crate::secret::SECRET;
use crate::{Node, Secret};

/// A value that no fault may show: which node it was put into, and where it came from.
pub(super) struct Hidden {
    pub(super) trail: Trail,
    pub(super) value: Secret,
    pub(super) origin: String,
}

/// What all readers of one attempt share.
pub(super) struct Attempt<'a> {
    pub(super) lookup: &'a Lookup<'a>,
    pub(super) repairs: &'a Repairs,
    pub(super) hidden: RefCell<Vec<Hidden>>,
}

impl Attempt<'_> {
    pub(super) fn hide(&self, trail: &Trail, value: &str, origin: String) {
        if !value.trim().is_empty() {
            let hidden = Hidden { trail: trail.clone(), value: Secret::new(value), origin };
            self.hidden.borrow_mut().push(hidden);
        }
    }
}

/// Reads one node.
pub(super) struct Reader<'a> {
    pub(super) node: &'a Node,
    pub(super) trail: Trail,
    pub(super) attempt: &'a Attempt<'a>,
}

/// A plain scalar as YAML's core schema takes it.
enum Core {
    Nothing,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text,
}

fn core(text: &str) -> Core {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Core::Nothing,
        "true" | "True" | "TRUE" => return Core::Bool(true),
        "false" | "False" | "FALSE" => return Core::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Core::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Core::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Core::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        number(text, digits)
    } else {
        Core::Text
    }
}

fn number(text: &str, digits: &str) -> Core {
    let based = |prefix: &str, base: u32| {
        let digits = text.strip_prefix(prefix).filter(|digits| !digits.starts_with('+'))?;
        u64::from_str_radix(digits, base).ok()
    };
    if let Some(number) = based("0x", 16).or_else(|| based("0o", 8)) {
        return Core::Unsigned(number);
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        if let Ok(number) = text.parse() {
            return Core::Unsigned(number);
        }
        if let Ok(number) = text.parse() {
            return Core::Signed(number);
        }
    }
    let is_float = digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    match text.parse() {
        Ok(number) if is_float => Core::Float(number),
        Ok(_) | Err(_) => Core::Text,
    }
}

impl<'a> Reader<'a> {
    /// The text of a scalar with its variables replaced; none for maps and lists.
    fn scalar(&self) -> Result<Option<(Cow<'a, str>, Style)>, ReadError> {
        let Value::Scalar { text, style } = &self.node.value else {
            return Ok(None);
        };
        if *style == Style::File || !text.contains("${") {
            return Ok(Some((Cow::Borrowed(text), *style)));
        }
        let expanded = expand(text, self.attempt.lookup)?;
        for (name, value) in &expanded.used {
            self.attempt.hide(&self.trail, value, format!("${{{name}}}"));
        }
        Ok(Some((Cow::Owned(expanded.text), *style)))
    }

    /// The meaning of a scalar that is to be a number, a boolean or nothing; none for maps and lists.
    fn typed(&self) -> Result<Option<(Cow<'a, str>, Core)>, ReadError> {
        Ok(self.scalar()?.map(|(text, style)| {
            let meaning = if style == Style::Quoted { Core::Text } else { self.meaning(&text) };
            (text, meaning)
        }))
    }

    /// What a scalar's text means; a variable that holds `null` or `~` holds that text, only an empty one is nothing.
    fn meaning(&self, text: &str) -> Core {
        let meaning = core(text);
        let is_resolved = self.node.text() != Some(text);
        if matches!(meaning, Core::Nothing) && is_resolved && !text.is_empty() { Core::Text } else { meaning }
    }

    fn is_nothing(&self) -> Result<bool, ReadError> {
        let scalar = self.scalar()?;
        Ok(scalar.is_some_and(|(text, style)| {
            style == Style::Plain && matches!(self.meaning(&text), Core::Nothing)
        }))
    }

    fn mismatch<'de, V: Visitor<'de>>(&self, visitor: &V) -> ReadError {
        let (text, meaning) = match self.typed() {
            Ok(Some(scalar)) => scalar,
            Ok(None) if self.node.is_map() => return Error::invalid_type(Unexpected::Map, visitor),
            Ok(None) => return Error::invalid_type(Unexpected::Seq, visitor),
            Err(error) => return error,
        };
        let found = match meaning {
            Core::Nothing => Unexpected::Unit,
            Core::Bool(value) => Unexpected::Bool(value),
            Core::Unsigned(number) => Unexpected::Unsigned(number),
            Core::Signed(number) => Unexpected::Signed(number),
            Core::Float(number) => Unexpected::Float(number),
            Core::Text => Unexpected::Str(&text),
        };
        Error::invalid_type(found, visitor)
    }

    fn integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.typed()? {
            Some((_, Core::Unsigned(number))) => visitor.visit_u64(number),
            Some((_, Core::Signed(number))) => visitor.visit_i64(number),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn float<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.typed()? {
            Some((_, Core::Unsigned(number))) => visitor.visit_u64(number),
            Some((_, Core::Signed(number))) => visitor.visit_i64(number),
            Some((_, Core::Float(number))) => visitor.visit_f64(number),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn entries<'de, V>(
        self,
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, ReadError>
    where
        V: Visitor<'de>,
    {
        if self.node.is_map() || self.is_nothing()? {
            visitor.visit_map(Entries::new(self, fields))
        } else {
            Err(self.mismatch(&visitor))
        }
    }
}

/// Methods that all read a scalar in the same way.
macro_rules! alike {
    ($how:ident: $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.$how(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    alike!(integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128);
    alike!(integer: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128);
    alike!(float: deserialize_f32 deserialize_f64);
    alike!(deserialize_str: deserialize_char deserialize_string deserialize_bytes deserialize_byte_buf);
    alike!(deserialize_str: deserialize_identifier);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let (text, style) = match self.scalar()? {
            Some(scalar) => scalar,
            None if self.node.is_map() => return self.entries(None, visitor),
            None => return self.deserialize_seq(visitor),
        };
        match if style == Style::Plain { self.meaning(&text) } else { Core::Text } {
            Core::Nothing => visitor.visit_unit(),
            Core::Bool(value) => visitor.visit_bool(value),
            Core::Unsigned(number) => visitor.visit_u64(number),
            Core::Signed(number) => visitor.visit_i64(number),
            Core::Float(number) => visitor.visit_f64(number),
            Core::Text => visitor.visit_str(&text),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.typed()? {
            Some((_, Core::Bool(value))) => visitor.visit_bool(value),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.scalar()? {
            Some((text, style)) if style != Style::Plain || !matches!(self.meaning(&text), Core::Nothing) => {
                visitor.visit_str(&text)
            }
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.is_nothing()? { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.is_nothing()? { visitor.visit_unit() } else { Err(self.mismatch(&visitor)) }
    }

    fn deserialize_unit_struct<V>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError>
    where
        V: Visitor<'de>,
    {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V>(self, name: &'static str, visitor: V) -> Result<V::Value, ReadError>
    where
        V: Visitor<'de>,
    {
        if name == SECRET
            && let Some((text, _)) = self.scalar()?
        {
            self.attempt.hide(&self.trail, &text, "this secret".to_owned());
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::List(_) => visitor.visit_seq(Items::new(self)),
            Value::Scalar { .. } | Value::Map(_) => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V>(self, _: &'static str, _: usize, visitor: V) -> Result<V::Value, ReadError>
    where
        V: Visitor<'de>,
    {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.entries(None, visitor)
    }

    fn deserialize_struct<V>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError>
    where
        V: Visitor<'de>,
    {
        self.entries(Some(fields), visitor)
    }

    fn deserialize_enum<V>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError>
    where
        V: Visitor<'de>,
    {
        match (&self.node.value, self.scalar()?) {
            (Value::Scalar { .. }, Some((text, _))) => visitor.visit_enum(ChosenVariant::named(&text)),
            (Value::Map(pairs), _) if pairs.len() == 1 => {
                visitor.visit_enum(ChosenVariant::with_value(&self))
            }
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }
}
