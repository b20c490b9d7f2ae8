//! What a message holds: text, or a list of parts.

use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, SeqAccess};
use serde::ser::Serializer;

use crate::wire::{Accept, ListOf, Reader, Value, object, serde_by_value, show_text};
use crate::{AudioInputFormat, ExtraContent, ImageDetail, Json, PartType, PromptCacheMode};

/// The content of a message.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Parts of several kinds, in order.
    Parts(Vec<ContentPart>),
}

impl Content {
    /// All text in order: the text itself, or that of every `text` part, without anything between them.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => parts.iter().filter_map(|part| part.text.as_deref()).collect(),
        }
    }

    /// The text, when the content is nothing else.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Parts(_) => None,
        }
    }

    /// The parts; none when the content is plain text.
    #[must_use]
    pub fn parts(&self) -> &[ContentPart] {
        match self {
            Self::Text(_) => &[],
            Self::Parts(parts) => parts,
        }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Parts(parts) => parts.is_empty(),
        }
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<ContentPart>> for Content {
    fn from(parts: Vec<ContentPart>) -> Self {
        Self::Parts(parts)
    }
}

impl<const N: usize> From<[ContentPart; N]> for Content {
    fn from(parts: [ContentPart; N]) -> Self {
        Self::Parts(parts.into())
    }
}

impl Value for Content {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrParts;
        impl<'de> Accept<'de> for TextOrParts {
            type Output = Content;
            const EXPECTED: &'static str = "a string or an array";
            fn string<E: Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }
            fn owned_string<E: Error>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }
            fn list<A: SeqAccess<'de>>(self, list: A) -> Result<Content, A::Error> {
                ListOf::new().list(list).map(Content::Parts)
            }
        }
        deserializer.deserialize_any(Reader(TextOrParts))
    }
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Parts(parts) => parts.write(serializer),
        }
    }
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => show_text(text, f),
            Self::Parts(parts) => parts.show(f),
        }
    }
}

serde_by_value!(Content);

object! {
    /// One part of a message: its `type`, and the field of that name.
    pub struct ContentPart("a content part") {
        /// The kind of the part.
        r#type "type": [opt PartType],
        /// Text of a `text` part.
        text "text": [opt String],
        /// Media of an `image_url` part.
        image_url "image_url": [opt ImageUrl],
        /// Sound of an `input_audio` part.
        input_audio "input_audio": [opt InputAudio],
        /// File of a `file` part.
        file "file": [opt FilePart],
        /// A film, of vLLM, llama.cpp and OpenRouter. Vertex takes films as `image_url`.
        video_url "video_url": [soft VideoUrl],
        /// Text of a `refusal` part.
        refusal "refusal": [opt String],
        /// Google's additions to a part, such as its thought signature.
        extra_content "extra_content": [opt ExtraContent] => with_extra_content,
        /// Marks the end of a prefix that OpenAI should cache.
        prompt_cache_breakpoint "prompt_cache_breakpoint": [opt PromptCacheBreakpoint] => with_prompt_cache_breakpoint,
    }
}

impl ContentPart {
    /// Text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { r#type: Some(PartType::Text), text: Some(text.into()), ..Self::default() }
    }

    /// A picture by address: `https://…`, `gs://…`, or `data:<MIME>;base64,…`. On Vertex the address may be of any
    /// media, and this crate then sends the object form, which every server takes.
    #[must_use]
    pub fn image_url(url: impl Into<String>) -> Self {
        let image_url = ImageUrl::Object(ImageUrlObject { url: url.into(), ..ImageUrlObject::default() });
        Self { r#type: Some(PartType::ImageUrl), image_url: Some(image_url), ..Self::default() }
    }

    /// Recorded sound: base64 data and its format (`wav`, `mp3`; on Vertex also a MIME type).
    #[must_use]
    pub fn input_audio(data: impl Into<String>, format: impl Into<AudioInputFormat>) -> Self {
        let input_audio = InputAudio::Object(InputAudioObject {
            data: Some(data.into()),
            format: Some(format.into()),
            ..InputAudioObject::default()
        });
        Self { r#type: Some(PartType::InputAudio), input_audio: Some(input_audio), ..Self::default() }
    }
}

/// Where a picture is: OpenAI's object, or the bare address that Google's samples use.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum ImageUrl {
    /// The address alone.
    Bare(String),
    /// The address and how to look at it.
    Object(ImageUrlObject),
}

impl ImageUrl {
    /// The address.
    #[must_use]
    pub fn url(&self) -> &str {
        match self {
            Self::Bare(url) => url,
            Self::Object(object) => &object.url,
        }
    }

    /// How to look at it.
    #[must_use]
    pub fn detail(&self) -> Option<&ImageDetail> {
        match self {
            Self::Bare(_) => None,
            Self::Object(object) => object.detail.as_ref(),
        }
    }
}

object! {
    /// OpenAI's form of a picture's address.
    pub struct ImageUrlObject("an object with a `url`") {
        /// The address.
        url "url": [must String],
        /// How closely to look. Before Gemini 3 one value has to do for a whole request.
        detail "detail": [opt ImageDetail] => with_detail,
    }
}

/// Recorded sound: OpenAI's object, or the bare data that some servers take.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum InputAudio {
    /// The data alone.
    Bare(String),
    /// The data and its format.
    Object(InputAudioObject),
}

impl InputAudio {
    /// The sound, or its address; empty when there is none.
    #[must_use]
    pub fn data(&self) -> &str {
        match self {
            Self::Bare(data) => data,
            Self::Object(object) => object.data.as_deref().unwrap_or_default(),
        }
    }
}

object! {
    /// OpenAI's form of recorded sound.
    pub struct InputAudioObject("an object with `data` and `format`") {
        /// The sound in base64; on Vertex also an address.
        data "data": [opt String],
        /// Its format.
        format "format": [opt AudioInputFormat],
    }
}

/// A value that is either a string or an object.
macro_rules! string_or_object {
    ($Name:ident, $Object:ident, $expected:literal) => {
        impl Value for $Name {
            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;
                impl<'de> Accept<'de> for Either {
                    type Output = $Name;
                    const EXPECTED: &'static str = $expected;
                    fn string<E: Error>(self, text: &str) -> Result<$Name, E> {
                        Ok($Name::Bare(text.to_owned()))
                    }
                    fn owned_string<E: Error>(self, text: String) -> Result<$Name, E> {
                        Ok($Name::Bare(text))
                    }
                    fn object<A: MapAccess<'de>>(self, map: A) -> Result<$Name, A::Error> {
                        $Object::read(serde::de::value::MapAccessDeserializer::new(map)).map($Name::Object)
                    }
                }
                deserializer.deserialize_any(Reader(Either))
            }
            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    Self::Bare(text) => serializer.serialize_str(text),
                    Self::Object(object) => object.write(serializer),
                }
            }
            fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Bare(text) => show_text(text, f),
                    Self::Object(object) => object.show(f),
                }
            }
        }

        serde_by_value!($Name);
    };
}

string_or_object!(ImageUrl, ImageUrlObject, "a string or an object with a `url`");
string_or_object!(InputAudio, InputAudioObject, "a string or an object with `data` and `format`");

object! {
    /// Where a film is.
    pub struct VideoUrl("an object with a `url`") {
        /// Its address, or the film as `data:`.
        url "url": [must String],
    }
}

object! {
    /// A file in a request.
    pub struct FilePart("a file") {
        /// Its name.
        filename "filename": [opt String] => with_filename,
        /// Its content in base64.
        file_data "file_data": [opt String] => with_file_data,
        /// Its id, when it was uploaded before.
        file_id "file_id": plain [opt String] => with_file_id,
    }
}

object! {
    /// The end of a prefix that should be cached.
    pub struct PromptCacheBreakpoint("a cache break point") {
        /// How it is marked.
        mode "mode": [opt PromptCacheMode],
    }
}

object! {
    /// A reference to a file that Google's `extra_content.google.parts` carries, and what it is.
    pub struct FileData("file data") {
        /// MIME type.
        mime_type "mime_type": plain [opt String] => with_mime_type,
        /// The name that the tool's answer uses for it.
        display_name "display_name": [opt String] => with_display_name,
        /// Where it is, such as `gs://bucket/object`.
        file_uri "file_uri": [opt String] => with_file_uri,
    }
}

object! {
    /// One entry of Google's `extra_content.google.parts`, the media of a tool's answer.
    pub struct FunctionResponsePart("a function response part") {
        /// A file by address.
        file_data "file_data": [opt FileData] => with_file_data,
        /// A file inline: `mime_type` and base64 `data`.
        inline_data "inline_data": [opt Json] => with_inline_data,
    }
}
