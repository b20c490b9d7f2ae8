//! JSON Schema to the part of it that Gemini takes.
//!
//! Gemini's `Schema` is OpenAPI 3.0's with a few fields more. What it does not have is inlined, put in its words, or left
//! out. Leaving a keyword out lets more values through than before, never fewer; the few rules that let fewer through
//! say so ([`SchemaChange::narrows`]).

mod intersect;
mod node;
mod reduce;

use std::fmt;

use vertex_chat_types::Json;

use crate::Dialect;
use crate::steps::{OutOfSteps, Share, Steps};
use node::Node;

/// How deep a schema may be once references are inlined.
pub const SCHEMA_DEPTH_MAX: usize = 64;
/// How many schemas there may be in one once references are inlined: a few references can stand for billions.
pub const SCHEMA_NODES_MAX: usize = 20_000;
/// How long a schema may be, and how much text inlining may add, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 1 << 20;
/// How many changes are told of; the rest is only done.
pub const SCHEMA_CHANGES_MAX: usize = 64;

/// What was done to a schema in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaChange {
    /// Where, from the root of the schema: `properties.city.oneOf`. A long path is cut.
    pub path: String,
    /// What.
    pub what: &'static str,
    /// Whether values that were good are no longer.
    pub narrows: bool,
}

/// Why a schema cannot be reduced.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaError {
    /// More than [`SCHEMA_DEPTH_MAX`] levels, [`SCHEMA_NODES_MAX`] schemas or [`SCHEMA_BYTES_MAX`] bytes.
    TooLarge,
    /// More work than [`SCHEMA_STEPS_MAX`](crate::SCHEMA_STEPS_MAX) steps.
    TooManySteps,
    /// Not an object.
    NotAnObject,
    /// A key that is no text: a lone surrogate.
    Unreadable,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(
                f,
                "the schema has more than {SCHEMA_DEPTH_MAX} levels, {SCHEMA_NODES_MAX} parts or {SCHEMA_BYTES_MAX} bytes \
                 once references are inlined"
            ),
            Self::TooManySteps => {
                write!(f, "the schema takes more than {} steps to reduce", crate::SCHEMA_STEPS_MAX)
            }
            Self::NotAnObject => f.write_str("the schema is not an object"),
            Self::Unreadable => f.write_str("the schema has a key that is no text"),
        }
    }
}

impl std::error::Error for SchemaError {}

impl From<OutOfSteps> for SchemaError {
    fn from(_: OutOfSteps) -> Self {
        Self::TooManySteps
    }
}

/// Reduces a schema to what Gemini takes. `None` when nothing had to change, so that the text can stay as it is.
///
/// A reference that leads nowhere, or back to where it is, becomes an open object, for Gemini has no references.
///
/// ```
/// use vertex_chat_params::{Dialect, reduce_schema};
///
/// let schema = r##"{"type":"object","properties":{"c":{"$ref":"#/$defs/C"}},"$defs":{"C":{"const":"red"}}}"##.parse()?;
/// let (reduced, changes) = reduce_schema(&schema, Dialect::VertexGemini3)?.expect("it has a reference");
/// assert_eq!(reduced.as_str(), r#"{"type":"object","properties":{"c":{"type":"string","enum":["red"]}}}"#);
/// assert!(changes.iter().all(|change| !change.narrows));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// See [`SchemaError`].
pub fn reduce_schema(
    schema: &Json,
    dialect: Dialect,
) -> Result<Option<(Json, Vec<SchemaChange>)>, SchemaError> {
    reduce_in(schema, dialect, &mut Steps::up_to(crate::PREPARE_STEPS_MAX).share())
}

/// [`reduce_schema`] for a schema of a request, of whose steps it has a share.
pub(crate) fn reduce_in(
    schema: &Json,
    dialect: Dialect,
    share: &mut Share<'_>,
) -> Result<Option<(Json, Vec<SchemaChange>)>, SchemaError> {
    if schema.as_str().len() > SCHEMA_BYTES_MAX {
        return Err(SchemaError::TooLarge);
    }
    let root = Node::read(schema, share)?;
    let Node::Object(_) = root else { return Err(SchemaError::NotAnObject) };
    let Some((reduced, changes)) = reduce::reduce(&root, dialect, share)? else { return Ok(None) };
    let mut text = String::with_capacity(schema.as_str().len());
    reduced.write(&mut text);
    let json = text.parse().expect("because it is written from JSON");
    Ok(Some((json, changes)))
}
