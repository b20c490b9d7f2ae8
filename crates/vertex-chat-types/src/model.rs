//! The list of models, as OpenAI libraries ask for it.

use crate::ObjectType;
use crate::wire::object;

object! {
    /// A model.
    pub struct Model("a model") {
        /// Its name in requests.
        id "id": plain [opt String],
        /// `model`.
        object "object": [opt ObjectType],
        /// Seconds since 1970.
        created "created": [opt i64],
        /// Who made it.
        owned_by "owned_by": plain [opt String],
        /// When it goes away, `YYYY-MM-DD`; `null` when that is not known.
        shutdown_date "shutdown_date": plain [null String],
    }
}

impl Model {
    /// A model of this name and maker.
    #[must_use]
    pub fn new(id: impl Into<String>, owned_by: impl Into<String>) -> Self {
        Self {
            id: Some(id.into()),
            object: Some(ObjectType::Model),
            created: Some(0),
            owned_by: Some(owned_by.into()),
            ..Self::default()
        }
    }
}

object! {
    /// A list of models.
    pub struct ModelList("a list of models") {
        /// `list`.
        object "object": [opt ObjectType],
        /// The models.
        data "data": [list Model],
    }
}

impl ModelList {
    /// A list of these models.
    #[must_use]
    pub fn new(data: impl Into<Vec<Model>>) -> Self {
        Self { object: Some(ObjectType::List), data: data.into(), ..Self::default() }
    }
}
