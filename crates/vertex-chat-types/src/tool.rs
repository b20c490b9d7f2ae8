//! Tools that a model may call, and the choice among them.

use std::fmt;

use serde::de::{Deserializer, Error, MapAccess};
use serde::ser::Serializer;

use crate::wire::{Accept, Reader, Value, object, serde_by_value};
use crate::{CustomFormatType, GrammarSyntax, Json, ToolChoiceType, ToolMode, ToolType};

object! {
    /// A tool that the model may call.
    ///
    /// ```
    /// use vertex_chat_types::Tool;
    ///
    /// let weather = Tool::function("get_current_weather")
    ///     .with_description("The weather of a place, now")
    ///     .with_parameters(r#"{"type":"object","properties":{"place":{"type":"string"}},"required":["place"]}"#.parse()?);
    /// # Ok::<(), vertex_chat_types::ParseError>(())
    /// ```
    pub struct Tool("a tool") {
        /// The kind of tool.
        r#type "type": [opt ToolType],
        /// A function.
        function "function": [opt FunctionDefinition],
        /// A tool with free text as input. Not documented for Vertex.
        custom "custom": [opt CustomTool],
    }
}

impl Tool {
    /// A function of this name. Gemini takes a letter or `_` first, then letters, digits, `_`, `.`, `:`, `-`; 128 in all.
    #[must_use]
    pub fn function(name: impl Into<String>) -> Self {
        let function = FunctionDefinition { name: Some(name.into()), ..FunctionDefinition::default() };
        Self { r#type: Some(ToolType::Function), function: Some(function), ..Self::default() }
    }

    /// What the function does, for the model to read.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.function.get_or_insert_default().description = Some(description.into());
        self
    }

    /// The schema of the arguments. Vertex documents OpenAPI 3.0.3 schema here, not all of JSON Schema.
    #[must_use]
    pub fn with_parameters(mut self, parameters: Json) -> Self {
        self.function.get_or_insert_default().parameters = Some(parameters);
        self
    }

    /// The function's name; empty when there is none.
    #[must_use]
    pub fn name(&self) -> &str {
        let function = self.function.as_ref().and_then(|it| it.name.as_deref());
        let custom = || self.custom.as_ref().and_then(|it| it.name.as_deref());
        function.or_else(custom).unwrap_or_default()
    }
}

object! {
    /// A function: what it is called, what it does, what it takes.
    pub struct FunctionDefinition("a function") {
        /// Its name.
        name "name": plain [opt String],
        /// What it does.
        description "description": [opt String] => with_description,
        /// The schema of its arguments, kept byte for byte.
        parameters "parameters": [opt Json] => with_parameters,
        /// Whether the arguments must fit the schema exactly. Vertex ignores it.
        strict "strict": [opt bool] => with_strict,
    }
}

impl FunctionDefinition {
    /// A function of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }
}

object! {
    /// A tool with free text as input.
    pub struct CustomTool("a custom tool") {
        /// Its name.
        name "name": plain [opt String],
        /// What it does.
        description "description": [opt String],
        /// What its input looks like.
        format "format": [opt CustomToolFormat],
    }
}

object! {
    /// What a custom tool's input looks like.
    pub struct CustomToolFormat("a custom tool's format") {
        /// Free text or a grammar.
        r#type "type": [opt CustomFormatType],
        /// The grammar.
        grammar "grammar": [opt Grammar],
    }
}

object! {
    /// A grammar for a custom tool's input.
    pub struct Grammar("a grammar") {
        /// The rules.
        definition "definition": [opt String],
        /// Their language.
        syntax "syntax": [opt GrammarSyntax],
    }
}

/// Which tool the model calls, if any.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum ToolChoice {
    /// A word for all tools.
    Mode(ToolMode),
    /// One tool, or a selection.
    Named(NamedToolChoice),
}

impl ToolChoice {
    /// This function and no other.
    #[must_use]
    pub fn function(name: impl Into<String>) -> Self {
        Self::Named(NamedToolChoice {
            r#type: Some(ToolChoiceType::Function),
            function: Some(NamedTool { name: Some(name.into()), ..NamedTool::default() }),
            ..NamedToolChoice::default()
        })
    }

    /// The word, when it is one.
    #[must_use]
    pub fn mode(&self) -> Option<&ToolMode> {
        match self {
            Self::Mode(mode) => Some(mode),
            Self::Named(_) => None,
        }
    }
}

impl From<ToolMode> for ToolChoice {
    fn from(mode: ToolMode) -> Self {
        Self::Mode(mode)
    }
}

impl From<&str> for ToolChoice {
    fn from(mode: &str) -> Self {
        Self::Mode(mode.into())
    }
}

object! {
    /// One tool by name, or a selection.
    pub struct NamedToolChoice("a tool choice") {
        /// The kind of choice.
        r#type "type": [opt ToolChoiceType],
        /// The function.
        function "function": [opt NamedTool],
        /// The custom tool.
        custom "custom": [opt NamedTool],
        /// The selection.
        allowed_tools "allowed_tools": [opt AllowedTools],
    }
}

object! {
    /// A tool's name.
    pub struct NamedTool("an object with a `name`") {
        /// The name.
        name "name": plain [opt String],
    }
}

object! {
    /// A selection of tools, and whether one of them must be called.
    pub struct AllowedTools("a selection of tools") {
        /// `auto` or `required`.
        mode "mode": [opt ToolMode],
        /// The tools; OpenAI leaves their form open.
        tools "tools": [opt Vec<Json>],
    }
}

/// Which function the model calls. Deprecated with `functions`.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum FunctionCallChoice {
    /// `none` or `auto`.
    Mode(ToolMode),
    /// One function.
    Named(NamedTool),
}

/// A choice that is a word or an object.
macro_rules! word_or_object {
    ($Name:ident, $Object:ident, $expected:literal) => {
        impl Value for $Name {
            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;
                impl<'de> Accept<'de> for Either {
                    type Output = $Name;
                    const EXPECTED: &'static str = $expected;
                    fn string<E: Error>(self, text: &str) -> Result<$Name, E> {
                        Ok($Name::Mode(text.into()))
                    }
                    fn object<A: MapAccess<'de>>(self, map: A) -> Result<$Name, A::Error> {
                        $Object::read(serde::de::value::MapAccessDeserializer::new(map)).map($Name::Named)
                    }
                }
                deserializer.deserialize_any(Reader(Either))
            }
            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    Self::Mode(mode) => mode.write(serializer),
                    Self::Named(named) => named.write(serializer),
                }
            }
            fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Mode(mode) => mode.show(f),
                    Self::Named(named) => named.show(f),
                }
            }
        }

        serde_by_value!($Name);
    };
}

word_or_object!(ToolChoice, NamedToolChoice, "a string or a tool choice");
word_or_object!(FunctionCallChoice, NamedTool, "a string or an object with a `name`");
