//! Values put in for missing fields, so that the faults after them are found too.

use serde::Deserializer;
use serde::de::value::{MapAccessDeserializer, MapDeserializer, StrDeserializer};
use serde::de::{IntoDeserializer, Visitor};

use super::error::ReadError;

/// Texts that are tried in turn, until the type takes one: a word, a span, an address, a URL, a time, an image.
const TEXTS: [&str; 7] =
    ["x", "1s", "127.0.0.1:1", "http://localhost/", "00:00", "localhost/x:x", "2020-01-01T00:00:00Z"];

/// How many candidates there are.
pub(super) const CANDIDATES: usize = TEXTS.len();

/// The n-th candidate for a value of any type.
#[derive(Clone, Copy)]
pub(super) struct StandIn(pub(super) usize);

impl StandIn {
    fn text(self) -> &'static str {
        TEXTS[self.0 % CANDIDATES]
    }

    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_u64(1)
    }
}

impl IntoDeserializer<'_, ReadError> for StandIn {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! alike {
    ($how:ident: $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.$how(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for StandIn {
    type Error = ReadError;

    alike!(number: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128);
    alike!(number: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128);
    alike!(deserialize_str: deserialize_any deserialize_string deserialize_bytes deserialize_byte_buf);
    alike!(deserialize_str: deserialize_identifier);

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_str(self.text())
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_bool(false)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_char('x')
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_f32(1.0)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_f64(1.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_none()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError>
    where
        V: Visitor<'de>,
    {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError>
    where
        V: Visitor<'de>,
    {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let none: [StandIn; 0] = [];
        serde::de::value::SeqDeserializer::new(none.into_iter()).deserialize_any(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, ReadError> {
        let items = std::iter::repeat_n(self, length);
        serde::de::value::SeqDeserializer::new(items).deserialize_any(visitor)
    }

    fn deserialize_tuple_struct<V>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError>
    where
        V: Visitor<'de>,
    {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_struct("", &[], visitor)
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
        let entries = fields.iter().map(|field| (*field, self));
        MapAccessDeserializer::new(MapDeserializer::new(entries)).deserialize_any(visitor)
    }

    fn deserialize_enum<V>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError>
    where
        V: Visitor<'de>,
    {
        let chosen = variants.get(self.0 % variants.len().max(1)).copied().unwrap_or_default();
        let text: StrDeserializer<'_, ReadError> = chosen.into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }
}
