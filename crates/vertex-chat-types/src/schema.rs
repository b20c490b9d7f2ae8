//! JSON Schemas from Rust types, with the properties in the order of the fields.
//!
//! Gemini answers in the order of a schema's properties, so the order is a part of the question: a field `reasoning`
//! before a field `verdict` lets the model think first. schemars keeps its maps in alphabetical order unless a feature
//! of serde_json is on that would change every other program in the build. But serde's derived `Deserialize` names a
//! struct's fields in order, so the type is asked through a deserializer that does nothing but listen.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::value::{Error as Stop, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use crate::{Json, ResponseFormat, Tool};

/// How deep a type is asked.
const DEPTH_MAX: usize = 24;
/// How often a type is asked; every time tells of one field that cannot be made up, or of one more variant.
const ROUNDS_MAX: usize = 128;
/// How many values are made up in one round: types that hold themselves twice would want more than there are.
const PROBES_MAX: usize = 10_000;
/// The longest name of a schema, in characters; OpenAI's limit.
const NAME_MAX: usize = 64;

impl ResponseFormat {
    /// JSON of a Rust type, named after it. Its answer is read with
    /// [`ChatCompletion::parse`](crate::ChatCompletion::parse).
    ///
    /// ```
    /// use schemars::JsonSchema;
    /// use serde::Deserialize;
    /// use vertex_chat_types::{ChatRequest, Message, ResponseFormat};
    ///
    /// #[derive(Deserialize, JsonSchema)]
    /// struct Verdict {
    ///     /// What speaks for it and against it.
    ///     reasoning: String,
    ///     guilty: bool,
    /// }
    ///
    /// let request = ChatRequest::new("google/gemini-2.5-flash", [Message::user("Did the butler do it?")])
    ///     .with_response_format(ResponseFormat::of::<Verdict>());
    /// # let text = serde_json::to_string(&request).unwrap();
    /// # assert!(text.find("reasoning").unwrap() < text.find("guilty").unwrap(), "{text}");
    /// ```
    #[must_use]
    pub fn of<T: JsonSchema + DeserializeOwned>() -> Self {
        Self::json_schema(name_of::<T>(), Json::schema_of::<T>())
    }
}

impl Tool {
    /// A function whose arguments are a Rust type, described by the type's documentation. They are read with
    /// [`ToolCall::parse_arguments`](crate::ToolCall::parse_arguments).
    #[must_use]
    pub fn of<T: JsonSchema + DeserializeOwned>(name: impl Into<String>) -> Self {
        let (schema, description) = schema_of::<T>();
        let tool = Self::function(name).with_parameters(schema);
        match description {
            Some(description) => tool.with_description(description),
            None => tool,
        }
    }
}

impl Json {
    /// The schema of a Rust type, in itself: without references, but for those that a type has to itself. Properties stand
    /// in the order of the fields, unless serde reads them through a buffer (`flatten`, an enum with a `tag`), or the type
    /// holds itself more than once: then some stand in alphabetical order.
    #[must_use]
    pub fn schema_of<T: JsonSchema + DeserializeOwned>() -> Self {
        schema_of::<T>().0
    }
}

/// The schema, and what the type's documentation says.
fn schema_of<T: JsonSchema + DeserializeOwned>() -> (Json, Option<String>) {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let description = schema.get("description").and_then(Value::as_str).map(str::to_owned);
    let mut text = String::new();
    write(schema.as_value(), &orders::<T>(), &mut text);
    (text.parse().expect("because it is written from JSON"), description)
}

/// The type's name in the letters that OpenAI takes.
fn name_of<T: JsonSchema>() -> String {
    let letter = |it: char| if it.is_ascii_alphanumeric() || it == '-' { it } else { '_' };
    T::schema_name().chars().map(letter).take(NAME_MAX).collect()
}

/// Writes a schema, the properties of its objects in the orders that are known.
fn write(value: &Value, orders: &Orders, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                write(item, orders, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (i, (key, value)) in fields.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                out.push_str(Json::from(key.as_str()).as_str());
                out.push(':');
                match value {
                    Value::Object(properties) if key == "properties" => {
                        let names: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
                        let alphabetical = || names.iter().copied().collect::<Vec<_>>();
                        let order = orders.of(&names).unwrap_or_else(alphabetical);
                        out.push('{');
                        for (i, name) in order.into_iter().enumerate() {
                            out.push_str(if i == 0 { "" } else { "," });
                            out.push_str(Json::from(name).as_str());
                            out.push(':');
                            write(&properties[name], orders, out);
                        }
                        out.push('}');
                    }
                    value => write(value, orders, out),
                }
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// The orders of fields that a type has told, by the fields themselves.
#[derive(Default)]
struct Orders(BTreeMap<BTreeSet<&'static str>, &'static [&'static str]>);

impl Orders {
    /// The order of these names. A struct may have told of more: aliases, and fields that schemars leaves out.
    fn of(&self, names: &BTreeSet<&str>) -> Option<Vec<&'static str>> {
        let exact = self.0.get(names);
        let told = exact
            .or_else(|| self.0.iter().find(|(told, _)| names.is_subset(told)).map(|(_, order)| order))?;
        Some(told.iter().copied().filter(|it| names.contains(it)).collect())
    }
}

/// Asks a type, in rounds: a field whose value cannot be made up ends a round, and is left out of the next.
fn orders<T: DeserializeOwned>() -> Orders {
    let mut survey = Survey::default();
    for round in 0..ROUNDS_MAX {
        survey.round = round;
        (survey.failed, survey.probes) = (None, 0);
        let done = T::deserialize(Probe { survey: &mut survey, path: Vec::new() }).is_ok();
        let news = survey.failed.take().is_some_and(|path| survey.left_out.insert(path));
        // Every variant of every enum has had its turn.
        if !news && (done || survey.left_out.is_empty()) && round >= survey.variants {
            break;
        }
        if !news && round >= survey.variants {
            break;
        }
    }
    survey.orders
}

#[derive(Default)]
struct Survey {
    orders: Orders,
    round: usize,
    /// Values that were made up in this round.
    probes: usize,
    /// The most variants that an enum has.
    variants: usize,
    /// The field at which this round ended.
    failed: Option<Vec<&'static str>>,
    left_out: BTreeSet<Vec<&'static str>>,
}

/// Makes values up, and notes the fields that structs ask for.
struct Probe<'a> {
    survey: &'a mut Survey,
    path: Vec<&'static str>,
}

impl Probe<'_> {
    fn inner(&mut self) -> Probe<'_> {
        self.survey.probes += 1;
        Probe { survey: self.survey, path: self.path.clone() }
    }

    fn fields(&mut self, fields: &'static [&'static str]) -> Fields<'_> {
        self.survey.orders.0.insert(fields.iter().copied().collect(), fields);
        Fields { probe: self.inner(), fields: fields.iter(), value: None }
    }

    fn is_deep(&self) -> bool {
        self.path.len() > DEPTH_MAX || self.survey.probes > PROBES_MAX
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_unit()
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_bool(false)
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_str("")
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_str("")
    }
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_char('a')
    }
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_f64(0.0)
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_f64(0.0)
    }
    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_u64(1)
    }
    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_u64(1)
    }
    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_u64(1)
    }
    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_u64(1)
    }
    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_u64(1)
    }
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_u64(1)
    }
    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_u64(1)
    }
    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_u64(1)
    }
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_u64(1)
    }
    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_u64(1)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        if self.is_deep() { visitor.visit_none() } else { visitor.visit_some(self) }
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let items = usize::from(!self.is_deep());
        visitor.visit_seq(Items { probe: self, left: items })
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_seq(Items { probe: self, left: length })
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        visitor.visit_seq(Items { probe: self, left: length })
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let items = usize::from(!self.is_deep());
        visitor.visit_map(Items { probe: self, left: items })
    }
    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        if self.is_deep() {
            return Err(Stop::custom("too deep"));
        }
        visitor.visit_map(self.fields(fields))
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        if self.is_deep() || variants.is_empty() {
            return Err(Stop::custom("too deep"));
        }
        self.survey.variants = self.survey.variants.max(variants.len());
        let variant = variants[self.survey.round % variants.len()];
        visitor.visit_enum(Variant { probe: self, variant })
    }
    forward_to_deserialize_any! { bytes byte_buf unit unit_struct identifier ignored_any }
}

/// The fields of a struct, one after the other, but for those that are left out.
struct Fields<'a> {
    probe: Probe<'a>,
    fields: std::slice::Iter<'static, &'static str>,
    value: Option<&'static str>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        for field in self.fields.by_ref() {
            let mut path = self.probe.path.clone();
            path.push(field);
            if !self.probe.survey.left_out.contains(&path) {
                self.value = Some(field);
                let key: StrDeserializer<'_, Stop> = field.into_deserializer();
                return seed.deserialize(key).map(Some);
            }
        }
        Ok(None)
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Stop> {
        let mut path = self.probe.path.clone();
        path.extend(self.value.take());
        self.probe.survey.probes += 1;
        let result = seed.deserialize(Probe { survey: self.probe.survey, path: path.clone() });
        if result.is_err() && self.probe.survey.failed.is_none() {
            self.probe.survey.failed = Some(path);
        }
        result
    }
}

/// The items of a list or tuple, or the entries of a map.
struct Items<'a> {
    probe: Probe<'a>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.probe.path.push("[]");
        let item = seed.deserialize(self.probe.inner());
        self.probe.path.pop();
        item.map(Some)
    }
}

impl<'de> MapAccess<'de> for Items<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.probe.inner()).map(Some)
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Stop> {
        self.probe.path.push("{}");
        let value = seed.deserialize(self.probe.inner());
        self.probe.path.pop();
        value
    }
}

/// One variant of an enum.
struct Variant<'a> {
    probe: Probe<'a>,
    variant: &'static str,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = Stop;
    type Variant = Probe<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(mut self, seed: V) -> Result<(V::Value, Probe<'a>), Stop> {
        let name: StrDeserializer<'_, Stop> = self.variant.into_deserializer();
        self.probe.path.push(self.variant);
        Ok((seed.deserialize(name)?, self.probe))
    }
}

impl<'de> VariantAccess<'de> for Probe<'_> {
    type Error = Stop;

    fn unit_variant(self) -> Result<(), Stop> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Stop> {
        seed.deserialize(self)
    }
    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_tuple(length, visitor)
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.deserialize_struct("", fields, visitor)
    }
}
