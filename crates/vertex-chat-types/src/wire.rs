//! How a JSON object becomes a struct and back: one reader, one writer, one macro.
//!
//! serde's derive is not used, for three reasons. A derived `flatten` buffers every field and then cannot hold
//! [`RawValue`](serde_json::value::RawValue), so unknown fields would lose their number spelling. serde's own
//! messages quote the offending value, and a value here may be somebody's prompt. And an error should name the
//! path (`messages[3].content`), which nothing but the reader itself knows.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};

/// A JSON value of a known type: read, written, and shown without showing what a person wrote.
///
/// Objects are filled where they will stay. Returned by value, a choice of some 350 bytes would be moved half a dozen
/// times on its way out of the parser, which was measured to be a tenth of the cost of a chunk.
pub(crate) trait Value: Sized {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
    /// Reads a value into an empty place. After an error the place is of no use.
    fn read_into<'de, D: Deserializer<'de>>(
        place: &mut Option<Self>,
        deserializer: D,
    ) -> Result<(), D::Error> {
        *place = Some(Self::read(deserializer)?);
        Ok(())
    }
    /// Reads a value as the next of a list. After an error the list is of no use.
    fn push_onto<'de, D: Deserializer<'de>>(list: &mut Vec<Self>, deserializer: D) -> Result<(), D::Error> {
        list.push(Self::read(deserializer)?);
        Ok(())
    }
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    /// For `Debug`. Free text is shown as its length.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
    /// For `Debug` of fields that hold identifiers, never content.
    fn show_plain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f)
    }
}

/// A field of an object: a value, or one of the ways to have none.
pub(crate) trait Field: Sized {
    /// Reads the field into its place. After an error the place is of no use.
    fn read_field<'de, D: Deserializer<'de>>(place: &mut Self, deserializer: D) -> Result<(), D::Error>;
    /// Whether the field appears in the written object.
    fn is_written(&self) -> bool;
    fn write_field<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    fn show_field(&self, plain: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// What a reader does with each kind of JSON token; what it does not take, it refuses without quoting it.
///
/// Readers ask for `deserialize_any`: asked for a string, serde_json would answer a number with an error of its own,
/// which quotes the number.
pub(crate) trait Accept<'de>: Sized {
    type Output;
    const EXPECTED: &'static str;

    fn null<E: Error>(self) -> Result<Self::Output, E> {
        Err(unexpected(Self::EXPECTED, "null"))
    }
    fn boolean<E: Error>(self, _: bool) -> Result<Self::Output, E> {
        Err(unexpected(Self::EXPECTED, "a boolean"))
    }
    fn unsigned<E: Error>(self, _: u64) -> Result<Self::Output, E> {
        Err(unexpected(Self::EXPECTED, "a number"))
    }
    fn signed<E: Error>(self, _: i64) -> Result<Self::Output, E> {
        Err(unexpected(Self::EXPECTED, "a number"))
    }
    fn float<E: Error>(self, _: f64) -> Result<Self::Output, E> {
        Err(unexpected(Self::EXPECTED, "a number"))
    }
    fn string<E: Error>(self, _: &str) -> Result<Self::Output, E> {
        Err(unexpected(Self::EXPECTED, "a string"))
    }
    fn owned_string<E: Error>(self, text: String) -> Result<Self::Output, E> {
        self.string(&text)
    }
    fn list<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Output, A::Error> {
        Err(unexpected(Self::EXPECTED, "an array"))
    }
    fn object<A: MapAccess<'de>>(self, _: A) -> Result<Self::Output, A::Error> {
        Err(unexpected(Self::EXPECTED, "an object"))
    }
}

#[cold]
fn unexpected<E: Error>(expected: &str, found: &str) -> E {
    E::custom(format_args!("expected {expected}, found {found}"))
}

/// The serde side of an [`Accept`].
pub(crate) struct Reader<A>(pub(crate) A);

impl<'de, A: Accept<'de>> Visitor<'de> for Reader<A> {
    type Value = A::Output;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(A::EXPECTED)
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        self.0.null()
    }
    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        self.0.null()
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_bool<E: Error>(self, it: bool) -> Result<Self::Value, E> {
        self.0.boolean(it)
    }
    fn visit_u64<E: Error>(self, it: u64) -> Result<Self::Value, E> {
        self.0.unsigned(it)
    }
    fn visit_i64<E: Error>(self, it: i64) -> Result<Self::Value, E> {
        self.0.signed(it)
    }
    fn visit_f64<E: Error>(self, it: f64) -> Result<Self::Value, E> {
        self.0.float(it)
    }
    fn visit_str<E: Error>(self, it: &str) -> Result<Self::Value, E> {
        self.0.string(it)
    }
    fn visit_string<E: Error>(self, it: String) -> Result<Self::Value, E> {
        self.0.owned_string(it)
    }
    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Self::Value, E> {
        Err(unexpected(A::EXPECTED, "bytes"))
    }
    fn visit_seq<S: SeqAccess<'de>>(self, it: S) -> Result<Self::Value, S::Error> {
        self.0.list(it)
    }
    fn visit_map<M: MapAccess<'de>>(self, it: M) -> Result<Self::Value, M::Error> {
        self.0.object(it)
    }
}

/// `Value::read` as a seed, so that maps and lists can ask for it.
pub(crate) struct ValueSeed<T>(PhantomData<T>);

impl<T> ValueSeed<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: Value> DeserializeSeed<'de> for ValueSeed<T> {
    type Value = T;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::read(deserializer)
    }
}

/// `Field::read_field` as a seed.
pub(crate) struct FieldSeed<'a, T>(pub(crate) &'a mut T);

impl<'de, T: Field> DeserializeSeed<'de> for FieldSeed<'_, T> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        T::read_field(self.0, deserializer)
    }
}

/// `Value::push_onto` as a seed.
struct PushSeed<'a, T>(&'a mut Vec<T>);

impl<'de, T: Value> DeserializeSeed<'de> for PushSeed<'_, T> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        T::push_onto(self.0, deserializer)
    }
}

/// Reads a field from its text.
pub(crate) fn read_text<T: Field>(place: &mut T, text: &str) -> Result<(), serde_json::Error> {
    T::read_field(place, &mut serde_json::Deserializer::from_str(text))
}

/// A value on its way out through serde.
pub(crate) struct Written<'a, T>(pub(crate) &'a T);

impl<T: Value> Serialize for Written<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

pub(crate) struct WrittenField<'a, T>(pub(crate) &'a T);

impl<T: Field> Serialize for WrittenField<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write_field(serializer)
    }
}

/// A value on its way to `Debug`.
pub(crate) struct Shown<'a, T>(pub(crate) &'a T);

impl<T: Value> fmt::Debug for Shown<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show(f)
    }
}

pub(crate) struct ShownField<'a, T>(pub(crate) &'a T, pub(crate) bool);

impl<T: Field> fmt::Debug for ShownField<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show_field(self.1, f)
    }
}

/// Puts a field or index in front of the path that an error already carries.
///
/// The path travels inside the message because that is the only thing a serde error lets through; the form
/// `` at `messages[3].content`: … `` is taken apart again by [`ParseError`](crate::ParseError).
#[cold]
#[inline(never)]
pub(crate) fn within<E: Error>(segment: fmt::Arguments<'_>, error: &dyn fmt::Display) -> E {
    let text = error.to_string();
    match text.strip_prefix("at `") {
        Some(rest) if rest.starts_with('[') => E::custom(format_args!("at `{segment}{rest}")),
        Some(rest) => E::custom(format_args!("at `{segment}.{rest}")),
        None => E::custom(format_args!("at `{segment}`: {text}")),
    }
}

// ---- scalars -------------------------------------------------------------------------------------------------

impl Value for String {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Accept<'de> for Text {
            type Output = String;
            const EXPECTED: &'static str = "a string";
            fn string<E: Error>(self, text: &str) -> Result<String, E> {
                Ok(text.to_owned())
            }
            fn owned_string<E: Error>(self, text: String) -> Result<String, E> {
                Ok(text)
            }
        }
        deserializer.deserialize_any(Reader(Text))
    }
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_text(self, f)
    }
    fn show_plain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Free text in `Debug`: how much there is, not what it says.
pub(crate) fn show_text(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "<{} bytes>", text.len())
}

impl Value for bool {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Boolean;
        impl<'de> Accept<'de> for Boolean {
            type Output = bool;
            const EXPECTED: &'static str = "true or false";
            fn boolean<E: Error>(self, it: bool) -> Result<bool, E> {
                Ok(it)
            }
        }
        deserializer.deserialize_any(Reader(Boolean))
    }
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(*self)
    }
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Read from the number's text: serde_json's own reading of doubles may be off by one in the last place, and its feature
/// that mends this changes every other program in the build.
impl Value for f64 {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a number";
        let json = crate::Json::deserialize(deserializer)?;
        match json.as_str().as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => {}
            Some(b'"') => return Err(unexpected(EXPECTED, "a string")),
            Some(b'[') => return Err(unexpected(EXPECTED, "an array")),
            Some(b'{') => return Err(unexpected(EXPECTED, "an object")),
            _ => return Err(unexpected(EXPECTED, "a boolean or null")),
        }
        match json.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(unexpected(EXPECTED, "a number beyond 64 bits")),
        }
    }
    /// Whole numbers are written as integers: who wants a double reads `1`, and not everyone who wants an integer, such
    /// as for `logit_bias`, reads `1.0`.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = self.fract() == 0.0
            && self.abs() < 9_007_199_254_740_992.0
            && !(*self == 0.0 && self.is_sign_negative());
        if whole {
            #[expect(clippy::cast_possible_truncation, reason = "checked just above")]
            serializer.serialize_i64(*self as i64)
        } else {
            serializer.serialize_f64(*self)
        }
    }
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Integers take what JSON writers make of them: `5`, and `5.0` from those who have only doubles.
macro_rules! integer {
    ($($type:ty, $expected:literal;)*) => {$(
        impl Value for $type {
            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Integer;
                impl<'de> Accept<'de> for Integer {
                    type Output = $type;
                    const EXPECTED: &'static str = $expected;
                    fn unsigned<E: Error>(self, it: u64) -> Result<$type, E> {
                        <$type>::try_from(it).map_err(|_| unexpected(Self::EXPECTED, "a larger number"))
                    }
                    fn signed<E: Error>(self, it: i64) -> Result<$type, E> {
                        <$type>::try_from(it).map_err(|_| unexpected(Self::EXPECTED, "a smaller number"))
                    }
                    fn float<E: Error>(self, it: f64) -> Result<$type, E> {
                        // 2^63 is the first double that no i64 holds; below it the cast is exact for whole numbers.
                        if it.fract() != 0.0 || it.abs() >= 9_223_372_036_854_775_808.0 {
                            return Err(unexpected(Self::EXPECTED, "a fraction or a number beyond 64 bits"));
                        }
                        #[expect(clippy::cast_possible_truncation, reason = "checked just above")]
                        self.signed(it as i64)
                    }
                }
                deserializer.deserialize_any(Reader(Integer))
            }
            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Serialize::serialize(self, serializer)
            }
            fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    )*};
}

integer! {
    u64, "a whole number from 0";
    i64, "a whole number";
    u8, "a whole number from 0 to 255";
}

// ---- containers ----------------------------------------------------------------------------------------------

impl<T: Value> Value for Vec<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader(ListOf::new()))
    }
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        for item in self {
            list.serialize_element(&Written(item))?;
        }
        list.end()
    }
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(Shown)).finish()
    }
    fn show_plain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Plain<'a, T>(&'a T);
        impl<T: Value> fmt::Debug for Plain<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.show_plain(f)
            }
        }
        f.debug_list().entries(self.iter().map(Plain)).finish()
    }
}

/// Reads a list; also used where a list is one of several accepted forms.
pub(crate) struct ListOf<T>(PhantomData<T>);

impl<T> ListOf<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: Value> Accept<'de> for ListOf<T> {
    type Output = Vec<T>;
    const EXPECTED: &'static str = "an array";
    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        loop {
            let before = items.len();
            if before == 0 {
                // Most lists on the hot path (choices, tool calls) have one element, and `push` alone would make room
                // for four.
                items.reserve_exact(1);
            }
            match list.next_element_seed(PushSeed(&mut items)) {
                Ok(Some(())) => {}
                Ok(None) => return Ok(items),
                Err(error) => return Err(within(format_args!("[{before}]"), &error)),
            }
        }
    }
}

impl<T: Value> Value for BTreeMap<String, T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapOf<T>(PhantomData<T>);
        impl<'de, T: Value> Accept<'de> for MapOf<T> {
            type Output = BTreeMap<String, T>;
            const EXPECTED: &'static str = "an object";
            fn object<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Output, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some(key) = map.next_key_seed(ValueSeed::<String>::new())? {
                    match map.next_value_seed(ValueSeed::<T>::new()) {
                        Ok(value) => entries.insert(key, value),
                        Err(error) => return Err(within(format_args!("{key}"), &error)),
                    };
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_any(Reader(MapOf(PhantomData)))
    }
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, value) in self {
            map.serialize_entry(key, &Written(value))?;
        }
        map.end()
    }
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(key, value)| (key, Shown(value)))).finish()
    }
}

impl<T: Value> Value for Box<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Box::new)
    }
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        T::write(self, serializer)
    }
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::show(self, f)
    }
}

// ---- the ways to have a field --------------------------------------------------------------------------------

impl<T: Value> Field for Option<T> {
    fn read_field<'de, D: Deserializer<'de>>(place: &mut Self, deserializer: D) -> Result<(), D::Error> {
        struct Maybe<'a, T>(&'a mut Option<T>);
        impl<'de, T: Value> Visitor<'de> for Maybe<'_, T> {
            type Value = ();
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or null")
            }
            fn visit_none<E: Error>(self) -> Result<(), E> {
                *self.0 = None;
                Ok(())
            }
            fn visit_unit<E: Error>(self) -> Result<(), E> {
                self.visit_none()
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
                T::read_into(self.0, deserializer)
            }
        }
        deserializer.deserialize_option(Maybe(place))
    }
    fn is_written(&self) -> bool {
        self.is_some()
    }
    fn write_field<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => value.write(serializer),
            None => serializer.serialize_none(),
        }
    }
    fn show_field(&self, plain: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Some(value) if plain => value.show_plain(f),
            Some(value) => value.show(f),
            None => f.write_str("None"),
        }
    }
}

/// Lists that the protocol requires: always written, empty when the sender left them out or sent null.
impl<T: Value> Field for Vec<T> {
    fn read_field<'de, D: Deserializer<'de>>(place: &mut Self, deserializer: D) -> Result<(), D::Error> {
        let mut list = None;
        Option::read_field(&mut list, deserializer)?;
        *place = list.unwrap_or_default();
        Ok(())
    }
    fn is_written(&self) -> bool {
        true
    }
    fn write_field<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.write(serializer)
    }
    fn show_field(&self, _: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f)
    }
}

/// Fields that have to be there.
macro_rules! must_have {
    ($($Type:ty)*) => {$(
        impl Field for $Type {
            fn read_field<'de, D: Deserializer<'de>>(place: &mut Self, deserializer: D) -> Result<(), D::Error> {
                *place = Self::read(deserializer)?;
                Ok(())
            }
            fn is_written(&self) -> bool {
                true
            }
            fn write_field<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.write(serializer)
            }
            fn show_field(&self, plain: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if plain { self.show_plain(f) } else { self.show(f) }
            }
        }
    )*};
}
must_have! { String crate::Role }

/// Makes a type that has `Value` speak serde, and print itself as `Value::show` says.
macro_rules! serde_by_value {
    ($Type:ty) => {
        impl<'de> serde::Deserialize<'de> for $Type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <Self as $crate::wire::Value>::read(deserializer)
            }
        }
        impl serde::Serialize for $Type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <Self as $crate::wire::Value>::write(self, serializer)
            }
        }
        impl std::fmt::Debug for $Type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                <Self as $crate::wire::Value>::show(self, f)
            }
        }
    };
}
pub(crate) use serde_by_value;

/// Reads a map's key into a type made from `&str`.
pub(crate) struct Key<T>(PhantomData<T>);

impl<T> Key<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: for<'a> From<&'a str>> DeserializeSeed<'de> for Key<T> {
    type Value = T;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_identifier(Reader(self))
    }
}

impl<'de, T: for<'a> From<&'a str>> Accept<'de> for Key<T> {
    type Output = T;
    const EXPECTED: &'static str = "a key";
    fn string<E: Error>(self, text: &str) -> Result<T, E> {
        Ok(T::from(text))
    }
}

/// A struct for a JSON object: public fields, unknown fields in `extra`, setters where asked for.
///
/// Each field says its kind: `opt T` may be absent (and a `null` becomes absent), `soft T` too, and an odd value of it
/// is kept among the unknown fields, `null T` keeps `null` apart from
/// absent, `list T` is always written, `must T` and `must_list T` are errors when absent. `plain` in front marks identifiers that
/// `Debug` may show. `=> with_x` adds a setter.
macro_rules! object {
    (
        $(#[$meta:meta])*
        pub struct $Name:ident($what:literal) {
            $(
                $(#[$fmeta:meta])*
                $field:ident $key:literal: $($plain:ident)? [$kind:ident $type:ty] $(=> $with:ident)?,
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Default)]
        #[non_exhaustive]
        pub struct $Name {
            $(
                $(#[$fmeta])*
                pub $field: $crate::wire::field_type!($kind $type),
            )*
            /// Fields that this version does not name, in the order in which they came; written back as they are.
            pub extra: $crate::Extra,
        }

        impl $Name {
            $($crate::wire::setter! { $field $kind $type $(=> $with)? })*

            /// Adds a field that this version does not name, or replaces it.
            #[must_use]
            pub fn with_extra(mut self, key: impl Into<String>, value: impl Into<$crate::Json>) -> Self {
                self.extra.insert(key, value);
                self
            }
        }

        impl $Name {
            /// Reads an object into one that is empty.
            fn fill<'de, D: serde::Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
                #[allow(non_camel_case_types)]
                enum Key { $($field,)* Unknown(String) }
                impl From<&str> for Key {
                    #[inline]
                    fn from(text: &str) -> Self {
                        $(if text == $key { return Key::$field; })*
                        Key::Unknown(text.to_owned())
                    }
                }
                struct Fields<'a>(&'a mut $Name);
                impl<'de> $crate::wire::Accept<'de> for Fields<'_> {
                    type Output = ();
                    const EXPECTED: &'static str = $what;
                    fn object<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
                        let it = self.0;
                        $(let mut $field = false;)*
                        // Values of `soft` fields that are not theirs; at most one for each.
                        #[allow(unused_mut, reason = "most types have no such field")]
                        let mut odd: Vec<(&'static str, $crate::Json)> = Vec::new();
                        while let Some(key) = map.next_key_seed($crate::wire::Key::<Key>::new())? {
                            match key {
                                $(Key::$field => {
                                    $crate::wire::read_field!($kind it map odd $field $key);
                                    $field = true;
                                })*
                                Key::Unknown(key) => match map.next_value() {
                                    Ok(value) => it.extra.push(key, value),
                                    Err(error) => return Err($crate::wire::within(format_args!("{key}"), &error)),
                                },
                            }
                        }
                        $($crate::wire::check_present!($kind $field $key A);)*
                        for (key, value) in odd {
                            it.extra.push(key.to_owned(), value);
                        }
                        Ok(())
                    }
                }
                deserializer.deserialize_any($crate::wire::Reader(Fields(self)))
            }
        }

        impl $crate::wire::Value for $Name {
            fn read<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut it = Self::default();
                it.fill(deserializer)?;
                Ok(it)
            }
            fn read_into<'de, D: serde::Deserializer<'de>>(
                place: &mut Option<Self>,
                deserializer: D,
            ) -> Result<(), D::Error> {
                place.insert(Self::default()).fill(deserializer)
            }
            fn push_onto<'de, D: serde::Deserializer<'de>>(
                list: &mut Vec<Self>,
                deserializer: D,
            ) -> Result<(), D::Error> {
                list.push(Self::default());
                list.last_mut().expect("because one was just pushed").fill(deserializer)
            }
            fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                let mut map = serializer.serialize_map(None)?;
                $(if $crate::wire::Field::is_written(&self.$field) {
                    map.serialize_entry($key, &$crate::wire::WrittenField(&self.$field))?;
                })*
                for (key, value) in self.extra.iter() {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
            fn show(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut shown = f.debug_struct(stringify!($Name));
                $(if $crate::wire::Field::is_written(&self.$field) {
                    let plain = $crate::wire::is_plain!($($plain)?);
                    shown.field($key, &$crate::wire::ShownField(&self.$field, plain));
                })*
                if !self.extra.is_empty() {
                    shown.field("extra", &self.extra);
                }
                shown.finish()
            }
        }

        $crate::wire::serde_by_value!($Name);
    };
}
pub(crate) use object;

/// A `soft` field that is not what it should be stays, as it is, among the unknown ones: nobody's answer should be lost for
/// an odd count of tokens.
macro_rules! read_field {
    (soft $it:ident $map:ident $odd:ident $field:ident $key:literal) => {
        let json: $crate::Json = match $map.next_value() {
            Ok(json) => json,
            Err(error) => return Err($crate::wire::within(format_args!($key), &error)),
        };
        // Of a field that comes twice the last counts, odd or not.
        $odd.retain(|(key, _)| *key != $key);
        if $crate::wire::read_text(&mut $it.$field, json.as_str()).is_err() {
            $it.$field = None;
            $odd.push(($key, json));
        }
    };
    ($kind:ident $it:ident $map:ident $odd:ident $field:ident $key:literal) => {
        if let Err(error) = $map.next_value_seed($crate::wire::FieldSeed(&mut $it.$field)) {
            return Err($crate::wire::within(format_args!($key), &error));
        }
    };
}
pub(crate) use read_field;

macro_rules! field_type {
    (soft $type:ty) => { Option<$type> };
    (opt $type:ty) => { Option<$type> };
    (null $type:ty) => { $crate::Nullable<$type> };
    (list $type:ty) => { Vec<$type> };
    (must $type:ty) => { $type };
    (must_list $type:ty) => { Vec<$type> };
}
pub(crate) use field_type;

macro_rules! setter {
    ($field:ident $kind:ident $type:ty) => {};
    ($field:ident soft $type:ty => $with:ident) => {
        $crate::wire::setter! { $field opt $type => $with }
    };
    ($field:ident opt $type:ty => $with:ident) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $with(mut self, value: impl Into<$type>) -> Self {
            self.$field = Some(value.into());
            self
        }
    };
    ($field:ident null $type:ty => $with:ident) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $with(mut self, value: impl Into<$type>) -> Self {
            self.$field = $crate::Nullable::Value(value.into());
            self
        }
    };
    ($field:ident must_list $type:ty => $with:ident) => {
        $crate::wire::setter! { $field list $type => $with }
    };
    ($field:ident list $type:ty => $with:ident) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $with(mut self, value: impl Into<Vec<$type>>) -> Self {
            self.$field = value.into();
            self
        }
    };
}
pub(crate) use setter;

macro_rules! check_present {
    (must_list $field:ident $key:literal $A:ident) => {
        $crate::wire::check_present!(must $field $key $A)
    };
    (must $field:ident $key:literal $A:ident) => {
        if !$field {
            return Err(<$A::Error as serde::de::Error>::custom(concat!("at `", $key, "`: it is missing")));
        }
    };
    ($kind:ident $field:ident $key:literal $A:ident) => {
        let _ = $field;
    };
}
pub(crate) use check_present;

macro_rules! is_plain {
    () => {
        false
    };
    (plain) => {
        true
    };
}
pub(crate) use is_plain;

/// A word that a server or a newer protocol may extend: known variants, and `Other` for the rest.
macro_rules! words {
    ($(
        $(#[$meta:meta])*
        pub enum $Name:ident {
            $($(#[$vmeta:meta])* $Variant:ident = $text:literal,)*
        }
    )*) => {$(
        $(#[$meta])*
        ///
        /// An open word: one that is not listed is kept as [`Other`](Self::Other) and written back byte for byte.
        #[derive(Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $Name {
            $($(#[$vmeta])* $Variant,)*
            /// A word that this version does not list. Made by `From`, which never puts a listed word here.
            Other(Box<str>),
        }

        impl $Name {
            /// The word as it is on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$Variant => $text,)*
                    Self::Other(text) => text,
                }
            }
        }

        impl From<&str> for $Name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$Variant,)*
                    _ => Self::Other(text.into()),
                }
            }
        }

        impl From<String> for $Name {
            fn from(text: String) -> Self {
                Self::from(text.as_str())
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl PartialEq<str> for $Name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl PartialEq<&str> for $Name {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }

        impl $crate::wire::Value for $Name {
            fn read<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Word;
                impl<'de> $crate::wire::Accept<'de> for Word {
                    type Output = $Name;
                    const EXPECTED: &'static str = "a string";
                    fn string<E: serde::de::Error>(self, text: &str) -> Result<$Name, E> {
                        Ok($Name::from(text))
                    }
                }
                deserializer.deserialize_any($crate::wire::Reader(Word))
            }
            fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
            fn show(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    Self::Other(text) => f.debug_tuple("Other").field(text).finish(),
                    listed => std::fmt::Debug::fmt(listed.as_str(), f),
                }
            }
        }

        $crate::wire::serde_by_value!($Name);
    )*};
}
pub(crate) use words;
