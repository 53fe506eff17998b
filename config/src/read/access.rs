//! The entries of maps, the items of lists and the variants of enums, as serde asks for them.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::{ReadError, Trail, What};
use super::reader::Reader;
use super::stand_in::StandIn;
use crate::node::{Style, Value};
use crate::resolve::{Problem, read_file};
use crate::{Key, Node};

/// The entries of a map; of a struct, whose fields are known, `x_file` is read as the content of `x`.
pub(super) struct Entries<'a> {
    reader: Reader<'a>,
    fields: Option<&'static [&'static str]>,
    next: usize,
    /// The entry whose key was given and whose value is asked for next.
    current: Option<Current<'a>>,
    /// How many stand-ins for missing fields were given.
    stood_in: usize,
}

enum Current<'a> {
    Value(usize, &'a Node),
    File(usize, &'a Node),
    StandIn(&'static str, usize),
}

impl<'a> Entries<'a> {
    pub(super) fn new(reader: Reader<'a>, fields: Option<&'static [&'static str]>) -> Self {
        Self { reader, fields, next: 0, current: None, stood_in: 0 }
    }

    fn trail(&self, index: usize) -> Trail {
        step(&self.reader.trail, index)
    }

    /// The field whose value stands in the file that this key names; none when the key is to be taken as it is.
    fn field_in_file(&self, key: &str) -> Option<&'static str> {
        let fields = self.fields?;
        let field = key.strip_suffix("_file")?;
        if fields.contains(&key) { None } else { fields.iter().copied().find(|known| *known == field) }
    }

    fn next_entry(&mut self) -> Option<(usize, &'a Key, &'a Node)> {
        loop {
            let index = self.next;
            let (key, value) = self.reader.node.pairs().get(index)?;
            self.next += 1;
            if !self.reader.attempt.repairs.is_pruned(&self.trail(index)) {
                return Some((index, key, value));
            }
        }
    }

    /// What a file holds, as a value in the place of its path.
    fn content(&self, index: usize, node: &Node) -> Result<Node, ReadError> {
        let attempt = self.reader.attempt;
        let reader = Reader { node, trail: self.trail(index), attempt };
        let path = PathText::deserialize(reader)?;
        let text = read_file(&path)?;
        attempt.hide(&self.trail(index), &text, path);
        let value = Value::Scalar { text, style: Style::File };
        Ok(Node { place: node.place.clone(), path: node.path.clone(), value })
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((index, key, value)) = self.next_entry() else {
            let Some((name, candidate)) =
                self.reader.attempt.repairs.stand_in(&self.reader.trail, self.stood_in)
            else {
                return Ok(None);
            };
            self.stood_in += 1;
            self.current = Some(Current::StandIn(name, candidate));
            return seed.deserialize(KeyReader(name)).map(Some);
        };
        let name = match self.field_in_file(&key.text) {
            None => {
                self.current = Some(Current::Value(index, value));
                key.text.as_str()
            }
            Some(field) => {
                if self.reader.node.get(field).is_some() {
                    return Err(both_given(field).of_key(|| self.trail(index)));
                }
                self.current = Some(Current::File(index, value));
                field
            }
        };
        seed.deserialize(KeyReader(name)).map(Some).map_err(|error| error.of_key(|| self.trail(index)))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let attempt = self.reader.attempt;
        match self.current.take() {
            None => Err(Error::custom("a value was asked for before its key")),
            Some(Current::Value(index, node)) => {
                let reader = Reader { node, trail: self.trail(index), attempt };
                seed.deserialize(reader).map_err(|error| error.of(|| self.trail(index)))
            }
            Some(Current::File(index, node)) => {
                let content = self.content(index, node).map_err(|error| error.of(|| self.trail(index)))?;
                let reader = Reader { node: &content, trail: self.trail(index), attempt };
                seed.deserialize(reader).map_err(|error| error.of(|| self.trail(index)))
            }
            Some(Current::StandIn(name, candidate)) => seed
                .deserialize(StandIn(candidate))
                .map_err(|_| ReadError::new(What::StandIn(name)).of(|| self.reader.trail.clone())),
        }
    }
}

fn both_given(field: &str) -> ReadError {
    let message = format!("`{field}` and `{field}_file` are both given");
    ReadError::from(Problem { message, hint: "keep one of them".to_owned() })
}

/// The path of a file, which is read as any other text.
struct PathText;

impl PathText {
    fn deserialize(reader: Reader<'_>) -> Result<String, ReadError> {
        reader.deserialize_str(PathText)
    }
}

impl Visitor<'_> for PathText {
    type Value = String;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the path of a file")
    }

    fn visit_str<E: Error>(self, path: &str) -> Result<String, E> {
        Ok(path.to_owned())
    }
}

/// The items of a list.
pub(super) struct Items<'a> {
    reader: Reader<'a>,
    next: usize,
}

impl<'a> Items<'a> {
    pub(super) fn new(reader: Reader<'a>) -> Self {
        Self { reader, next: 0 }
    }
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let attempt = self.reader.attempt;
        while let Some(node) = self.reader.node.list().get(self.next) {
            let trail = step(&self.reader.trail, self.next);
            self.next += 1;
            if !attempt.repairs.is_pruned(&trail) {
                let reader = Reader { node, trail: trail.clone(), attempt };
                return seed.deserialize(reader).map(Some).map_err(|error| error.of(|| trail));
            }
        }
        Ok(None)
    }
}

/// The variant of an enum: a name alone, or a map of the name to what it holds.
pub(super) struct ChosenVariant<'a> {
    name: &'a str,
    value: Option<Reader<'a>>,
}

impl<'a> ChosenVariant<'a> {
    pub(super) fn named(name: &'a str) -> Self {
        Self { name, value: None }
    }

    /// Of a map with one entry.
    pub(super) fn with_value(map: &Reader<'a>) -> Self {
        let (name, value) = match map.node.pairs().first() {
            Some((key, node)) => {
                let trail = step(&map.trail, 0);
                (key.text.as_str(), Some(Reader { node, trail, attempt: map.attempt }))
            }
            None => ("", None),
        };
        Self { name, value }
    }

    /// Reads what the variant holds, which is needed.
    fn held<T>(self, read: impl FnOnce(Reader<'a>) -> Result<T, ReadError>) -> Result<T, ReadError> {
        match self.value {
            None => {
                Err(Error::invalid_type(Unexpected::Str(self.name), &"a map of this name to its settings"))
            }
            Some(reader) => {
                let trail = reader.trail.clone();
                read(reader).map_err(|error| error.of(|| trail))
            }
        }
    }
}

impl<'de> EnumAccess<'de> for ChosenVariant<'_> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        Ok((seed.deserialize(KeyReader(self.name))?, self))
    }
}

impl<'de> VariantAccess<'de> for ChosenVariant<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.value {
            None => Ok(()),
            Some(_) => self.held(serde::Deserialize::deserialize),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        self.held(|reader| seed.deserialize(reader))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.held(|reader| reader.deserialize_seq(visitor))
    }

    fn struct_variant<V>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, ReadError>
    where
        V: Visitor<'de>,
    {
        self.held(|reader| reader.deserialize_struct("", fields, visitor))
    }
}

/// Reads a key, or the name of a variant, as the text it is.
struct KeyReader<'a>(&'a str);

impl<'de> Deserializer<'de> for KeyReader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError>
    where
        V: Visitor<'de>,
    {
        visitor.visit_newtype_struct(self)
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
        let text: StrDeserializer<'_, ReadError> = self.0.into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct identifier ignored_any
    }
}

fn step(trail: &Trail, index: usize) -> Trail {
    let mut longer = trail.clone();
    longer.push(index);
    longer
}
