//! JSON that this crate carries but does not interpret, kept as it was written.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, Serialize, Serializer, forward_to_deserialize_any};
use serde_json::value::RawValue;

use crate::ParseError;
use crate::wire::Value;

/// A JSON value kept as text: key order, number spelling and white space stay what they were.
///
/// Used for JSON Schemas, tool parameters and unknown fields. Gemini answers in the order of a schema's properties,
/// so an order-losing type would change what a model says.
///
/// ```
/// use vertex_chat_types::Json;
///
/// let schema: Json = r#"{"b": 1.10, "a": 123456789012345678901234567890}"#.parse()?;
/// assert_eq!(schema.as_str(), r#"{"b": 1.10, "a": 123456789012345678901234567890}"#);
/// # Ok::<(), vertex_chat_types::ParseError>(())
/// ```
///
/// Two values are equal when their texts are. `Debug` shows the length only.
#[derive(Clone)]
pub struct Json(Box<RawValue>);

impl Json {
    /// Writes any serializable value as JSON.
    ///
    /// # Errors
    /// When the value's own `Serialize` fails, or it has a map whose keys are not strings.
    pub fn from_serialize(value: &(impl Serialize + ?Sized)) -> Result<Self, ParseError> {
        serde_json::value::to_raw_value(value).map(Self).map_err(|error| ParseError::from_serde(&error))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Reads the text as a type of yours.
    ///
    /// # Errors
    /// When the text is not such a value.
    pub fn parse_as<T: DeserializeOwned>(&self) -> Result<T, ParseError> {
        crate::from_str(self.as_str())
    }

    /// The value as a string, when it is one.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        self.as_str().starts_with('"').then(|| serde_json::from_str(self.as_str()).ok()).flatten()
    }

    /// Whether this is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.as_str() == "null"
    }
}

impl FromStr for Json {
    type Err = ParseError;
    /// # Errors
    /// When the text is not one JSON value.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        RawValue::from_string(text.to_owned()).map(Self).map_err(|error| ParseError::from_serde(&error))
    }
}

impl AsRef<[u8]> for Json {
    fn as_ref(&self) -> &[u8] {
        self.as_str().as_bytes()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Json {}

macro_rules! from_scalar {
    ($($type:ty)*) => {$(
        impl From<$type> for Json {
            fn from(value: $type) -> Self {
                Self(serde_json::value::to_raw_value(&value).expect("because a scalar is always JSON"))
            }
        }
    )*};
}
from_scalar! { bool i32 i64 u32 u64 f64 &str String }

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        Self(serde_json::value::to_raw_value(&value).expect("because a Value is always JSON"))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(AnyFormat(deserializer)).map(Self)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes of JSON>", self.as_str().len())
    }
}

impl Value for Json {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Fields that a type does not name, in the order in which they came.
///
/// A key that came twice is kept twice; [`get`](Self::get) gives the last, as most JSON readers do. By itself it reads
/// and writes any object.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Extra(Vec<(String, Json)>);

impl Extra {
    /// The value of a field.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Sets a field, in place of all that had its name.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Json>) {
        let key = key.into();
        self.remove(&key);
        self.0.push((key, value.into()));
    }

    /// Removes a field, every time it came, and gives back its last value.
    pub fn remove(&mut self, key: &str) -> Option<Json> {
        let mut removed = None;
        self.0.retain_mut(|(name, value)| {
            if name != key {
                return true;
            }
            removed = Some(value.clone());
            false
        });
        removed
    }

    /// Keeps the fields for which this is so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Json) -> bool) {
        self.0.retain(|(key, value)| keep(key, value));
    }

    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes over the other's fields; where both have one, the other's wins. Of a field that comes twice in the other, its last
    /// value.
    pub fn merge(&mut self, other: Self) {
        /// So few fields are compared one by one, without a set of them.
        const FEW: usize = 8;
        if other.len() <= FEW {
            for (key, value) in other.0 {
                self.insert(key, value);
            }
            return;
        }
        let mut keys = HashSet::new();
        let mut last: Vec<bool> = other.0.iter().rev().map(|(key, _)| keys.insert(key.as_str())).collect();
        last.reverse();
        self.0.retain(|(key, _)| !keys.contains(key.as_str()));
        let kept = other.0.into_iter().zip(last).filter(|(_, is_last)| *is_last).map(|(field, _)| field);
        self.0.extend(kept);
    }

    pub(crate) fn push(&mut self, key: String, value: Json) {
        self.0.push((key, value));
    }
}

/// As they come; a key that comes twice is kept twice.
impl FromIterator<(String, Json)> for Extra {
    fn from_iter<I: IntoIterator<Item = (String, Json)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Extra {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Extra {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Extra;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Extra, A::Error> {
                let mut fields = Extra::default();
                while let Some((key, value)) = map.next_entry()? {
                    fields.push(key, value);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Lets a raw value be read through *any* self-describing format.
///
/// serde_json hands `RawValue` the text itself. Every other deserializer, among them the buffer behind
/// `#[serde(flatten)]` and `#[serde(untagged)]` in a user's own struct, hands over a newtype that `RawValue` refuses.
/// Here the two are told apart, and in the second case the text is written anew from what comes.
struct AnyFormat<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for AnyFormat<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, TextOrEvents { name, visitor })
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct TextOrEvents<V> {
    name: &'static str,
    visitor: V,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for TextOrEvents<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(map)
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let mut text = String::new();
        deserializer.deserialize_any(Rewrite(&mut text))?;
        self.visitor.visit_map(OneEntry {
            key: Some(self.name),
            text: Some(text),
            error: std::marker::PhantomData,
        })
    }
}

/// The map that serde_json would have shown to `RawValue`: one entry, the text.
struct OneEntry<E> {
    key: Option<&'static str>,
    text: Option<String>,
    error: std::marker::PhantomData<E>,
}

impl<'de, E: Error> MapAccess<'de> for OneEntry<E> {
    type Error = E;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, E> {
        let Some(key) = self.key.take() else { return Ok(None) };
        let key: StrDeserializer<'_, E> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, E> {
        let text: StringDeserializer<E> = self.text.take().unwrap_or_default().into_deserializer();
        seed.deserialize(text)
    }
}

/// Writes the events of a deserializer as JSON text.
struct Rewrite<'a>(&'a mut String);

impl Rewrite<'_> {
    fn scalar<E: Error>(self, value: &(impl Serialize + ?Sized)) -> Result<(), E> {
        self.0.push_str(&serde_json::to_string(value).map_err(E::custom)?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Rewrite<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Rewrite<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar(&())
    }
    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.scalar(&())
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_bool<E: Error>(self, it: bool) -> Result<(), E> {
        self.scalar(&it)
    }
    fn visit_u64<E: Error>(self, it: u64) -> Result<(), E> {
        self.scalar(&it)
    }
    fn visit_i64<E: Error>(self, it: i64) -> Result<(), E> {
        self.scalar(&it)
    }
    fn visit_f64<E: Error>(self, it: f64) -> Result<(), E> {
        self.scalar(&it)
    }
    fn visit_str<E: Error>(self, it: &str) -> Result<(), E> {
        self.scalar(it)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.push('[');
        let mut first = true;
        loop {
            let end = self.0.len();
            if !first {
                self.0.push(',');
            }
            if list.next_element_seed(Rewrite(self.0))?.is_none() {
                self.0.truncate(end);
                break;
            }
            first = false;
        }
        self.0.push(']');
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.push('{');
        let mut first = true;
        while let Some(key) = map.next_key::<String>()? {
            if !first {
                self.0.push(',');
            }
            first = false;
            Rewrite(self.0).scalar::<A::Error>(&key)?;
            self.0.push(':');
            map.next_value_seed(Rewrite(self.0))?;
        }
        self.0.push('}');
        Ok(())
    }
}
