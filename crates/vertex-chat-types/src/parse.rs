//! Text to types, and what is said when that fails.

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;

/// Why a text is not what it should be: where, and what was expected there. Never the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    path: Box<str>,
    message: Box<str>,
    position: Option<(usize, usize)>,
}

impl ParseError {
    /// The JSON path, such as `messages[3].content[0].image_url`; empty when the text as a whole is at fault.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong there.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Line and column, both from 1, when the text has one fault at one place.
    #[must_use]
    pub fn position(&self) -> Option<(usize, usize)> {
        self.position
    }

    /// Takes apart what [`within`](crate::wire::within) put together.
    pub(crate) fn from_serde(error: &serde_json::Error) -> Self {
        let position = (error.line() > 0).then_some((error.line(), error.column()));
        let text = error.to_string();
        let text = match position {
            Some((line, column)) => {
                text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text)
            }
            None => &text,
        };
        let (path, message) = match text.strip_prefix("at `").and_then(|rest| rest.split_once("`: ")) {
            Some((path, message)) => (path, message),
            None => ("", text),
        };
        let message = if error.is_data() { without_values(message) } else { Cow::Borrowed(message) };
        Self { path: path.into(), message: message.into(), position }
    }

    fn not_text(valid_up_to: usize) -> Self {
        let message = format!("not UTF-8 from byte {valid_up_to} on");
        Self { path: "".into(), message: message.into(), position: None }
    }
}

/// serde's messages about somebody else's type, without the values that they quote: a value may be what a model wrote.
fn without_values(message: &str) -> Cow<'_, str> {
    let harmless = ["expected ", "it is missing", "missing field ", "duplicate field ", "invalid length "];
    if harmless.iter().any(|it| message.starts_with(it)) {
        return Cow::Borrowed(message);
    }
    let expected = message.rfind(", expected ").map_or("", |at| &message[at..]);
    for what in ["invalid type: ", "invalid value: "] {
        if let Some(rest) = message.strip_prefix(what) {
            // `string "…"`, ``integer `5` ``, `map`.
            let kind = rest.split(['"', '`', ',']).next().unwrap_or_default().trim();
            return Cow::Owned(format!("{what}{kind}{expected}"));
        }
    }
    for what in ["unknown variant", "unknown field"] {
        if message.starts_with(what) {
            return Cow::Owned(format!("{what}{expected}"));
        }
    }
    Cow::Borrowed("not a value of the type that was asked for")
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if let Some((line, column)) = self.position {
            write!(f, " (line {line}, column {column})")?;
        }
        Ok(())
    }
}

impl std::error::Error for ParseError {}

/// Reads one value from bytes, with errors that name the path.
///
/// ```
/// use vertex_chat_types::ChatRequest;
///
/// let error = vertex_chat_types::from_slice::<ChatRequest>(br#"{"messages":[{"role":"user","content":5}]}"#).unwrap_err();
/// assert_eq!(error.path(), "messages[0].content");
/// assert_eq!(error.message(), "expected a string or an array, found a number");
/// ```
///
/// # Errors
/// When the bytes are not UTF-8, not JSON, or not a `T`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ParseError> {
    // One check of the whole, then text: measurably cheaper than letting the parser check every string by itself.
    match std::str::from_utf8(bytes) {
        Ok(text) => from_str(text),
        Err(error) => Err(ParseError::not_text(error.valid_up_to())),
    }
}

/// Reads one value from text, with errors that name the path.
///
/// # Errors
/// When the text is not JSON, or not a `T`.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, ParseError> {
    serde_json::from_str(text).map_err(|error| ParseError::from_serde(&error))
}

/// JSON to the type and back by functions that are compiled here.
///
/// [`from_slice`] and serde's functions are generic: each crate that calls them for a request has another copy of the whole
/// reader, and five copies were a tenth of a program that is made of our crates.
macro_rules! json_functions {
    ($($Type:ident)*) => {$(
        impl crate::$Type {
            /// Reads it from JSON, as [`from_slice`] does. It is compiled once, in this crate.
            ///
            /// # Errors
            /// As [`from_slice`].
            pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, ParseError> {
                // Not generic, so that this is what is compiled here.
                fn read(json: &[u8]) -> Result<crate::$Type, ParseError> {
                    from_slice(json)
                }
                read(json.as_ref())
            }

            /// Writes it as JSON.
            #[must_use]
            pub fn to_json(&self) -> String {
                serde_json::to_string(self).expect("because every field is JSON")
            }

            /// Its fields by their names.
            #[must_use]
            pub fn to_fields(&self) -> crate::Extra {
                crate::Extra::from_json(self.to_json()).expect("because it is written as an object")
            }

            /// Writes it as JSON behind what is there.
            pub fn write_json(&self, to: &mut Vec<u8>) {
                serde_json::to_writer(to, self).expect("because every field is JSON");
            }
        }

        impl From<&crate::$Type> for crate::Json {
            fn from(value: &crate::$Type) -> Self {
                Self::from_serialize(value).expect("because every field is JSON")
            }
        }
    )*};
}
json_functions! { ChatRequest ChatCompletion ChatCompletionChunk Extra GoogleOptions Usage }
