//! A field for which `null` and "not there" are two different things.

use std::fmt;

use serde::{Deserializer, Serializer};

use crate::wire::{Field, Value};

/// A field that OpenAI's schema makes both required and nullable: `null` says something that absence does not.
///
/// Most code only asks [`get`](Self::get), which gives an `Option`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Nullable<T> {
    /// The sender left the field out.
    #[default]
    Absent,
    /// The sender wrote `null`.
    Null,
    /// The sender wrote a value.
    Value(T),
}

impl<T> Nullable<T> {
    /// The value, if there is one.
    pub const fn get(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// The value to change, if there is one.
    pub const fn get_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// The value itself, if there is one.
    pub fn into_option(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// Whether the sender left the field out.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Whether the sender wrote `null`.
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether there is a value.
    pub const fn is_value(&self) -> bool {
        matches!(self, Self::Value(_))
    }

    /// Takes the value out and leaves the field absent.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl<T> From<T> for Nullable<T> {
    fn from(value: T) -> Self {
        Self::Value(value)
    }
}

impl<T: PartialEq> PartialEq<T> for Nullable<T> {
    fn eq(&self, other: &T) -> bool {
        self.get() == Some(other)
    }
}

impl<T: Value> Field for Nullable<T> {
    fn read_field<'de, D: Deserializer<'de>>(place: &mut Self, deserializer: D) -> Result<(), D::Error> {
        let mut value = None;
        Option::<T>::read_field(&mut value, deserializer)?;
        *place = value.map_or(Self::Null, Self::Value);
        Ok(())
    }
    fn is_written(&self) -> bool {
        !self.is_absent()
    }
    fn write_field<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.write(serializer),
            Self::Absent | Self::Null => serializer.serialize_none(),
        }
    }
    fn show_field(&self, plain: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) if plain => value.show_plain(f),
            Self::Value(value) => value.show(f),
            Self::Null => f.write_str("null"),
            Self::Absent => f.write_str("absent"),
        }
    }
}

impl<T: Value> fmt::Debug for Nullable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show_field(false, f)
    }
}
