//! What can be a row of the table that the service makes of an input file.
//!
//! The rules are BigQuery's for loading JSON. What breaks one of them fails the whole job, with `Failed to import data`.

use serde_json::Value;
use vertex_chat::Json;
use vertex_chat::types::Extra;

use super::BatchError;

/// How many objects may be inside of each other in a line, that of the line not counted.
pub const RECORDS_DEPTH_MAX: usize = 15;
/// The longest name of a column, in characters.
const COLUMN_CHARS_MAX: usize = 300;
/// What no name of a column has.
const NOT_IN_COLUMNS: &str = "!\"$()*,./;?@[\\]^`{}~";

/// Whether the request can be a part of a row. `request` is the name of its column.
pub(super) fn check(request: &str) -> Result<(), BatchError> {
    match serde_json::from_str::<Value>(request) {
        Ok(value) => value_fits(&value, "request", 1),
        Err(_) => Err(too_deep("request")),
    }
}

fn too_deep(path: &str) -> BatchError {
    let problem = format!(
        "more than {RECORDS_DEPTH_MAX} objects inside of each other, for which the import of a batch file fails"
    );
    BatchError::new(path, problem, "make the schema or the arguments flatter")
}

fn value_fits(value: &Value, path: &str, depth: usize) -> Result<(), BatchError> {
    match value {
        Value::Object(fields) => {
            if depth > RECORDS_DEPTH_MAX {
                return Err(too_deep(path));
            }
            if fields.is_empty() {
                let problem = "an object without fields, for which the import of a batch file fails";
                return Err(BatchError::new(path, problem, "leave it out, or give it a field"));
            }
            for (key, value) in fields {
                if key.is_empty()
                    || key.chars().nth(COLUMN_CHARS_MAX).is_some()
                    || key.contains(|it: char| NOT_IN_COLUMNS.contains(it) || it.is_control())
                {
                    let problem =
                        "a key that cannot name a column, for which the import of a batch file fails";
                    return Err(BatchError::new(path, problem, "use letters, digits and `_` only"));
                }
                value_fits(value, &format!("{path}.{key}"), depth + 1)?;
            }
            Ok(())
        }
        Value::Array(items) => items.iter().enumerate().try_for_each(|(i, item)| {
            if item.is_array() {
                let problem = "a list in a list, for which the import of a batch file fails";
                return Err(BatchError::new(
                    format!("{path}[{i}]"),
                    problem,
                    "put the inner list into an object",
                ));
            }
            value_fits(item, &format!("{path}[{i}]"), depth)
        }),
        _ => Ok(()),
    }
}

/// A schema without what says nothing: nulls and objects without fields. `None` when nothing is left.
///
/// Where it is deeper than a row can be it stays as it is; [`check`] will say so.
pub(super) fn without_nothing(json: &Json, depth: usize) -> Option<Json> {
    let text = json.as_str();
    if depth > 2 * RECORDS_DEPTH_MAX {
        return Some(json.clone());
    }
    if text.starts_with('{') {
        let Ok(fields) = Extra::from_json(text) else { return Some(json.clone()) };
        let mut kept = Extra::default();
        for (key, value) in fields.iter() {
            if let Some(value) = without_nothing(value, depth + 1) {
                kept.insert(key, value);
            }
        }
        return if kept.is_empty() { None } else { Some(Json::from(&kept)) };
    }
    if text.starts_with('[') {
        let Ok(items) = json.parse_as::<Vec<Json>>() else { return Some(json.clone()) };
        let kept: Vec<Json> = items.iter().filter_map(|it| without_nothing(it, depth + 1)).collect();
        return Json::from_serialize(&kept).ok();
    }
    (!json.is_null()).then(|| json.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_row_is_named() {
        let check = |request: &str, field: &str| {
            assert_eq!(
                check(request).map_err(|it| it.field().to_owned()),
                Err(field.to_owned()),
                "{request}"
            );
        };
        check(r#"{"tools":[{"googleSearch":{}}]}"#, "request.tools[0].googleSearch");
        check(r#"{"a":{"$ref":1}}"#, "request.a");
        check(r#"{"a":[1,[2]]}"#, "request.a[1]");
        let deep = format!("{}1{}", r#"{"a":"#.repeat(16), "}".repeat(16));
        check(&deep, &format!("request{}", ".a".repeat(15)));
        check(&format!("{}1{}", "[".repeat(500), "]".repeat(500)), "request");
    }

    #[test]
    fn fifteen_objects_fit() {
        assert_eq!(check(&format!("{}1{}", r#"{"a":"#.repeat(15), "}".repeat(15))), Ok(()));
    }

    #[test]
    fn nothing_is_taken_out_and_the_order_stays() {
        let json: Json = r#"{"z":{"properties":{}},"b":null,"a":[{},1],"c":{"d":2}}"#.parse().unwrap();
        assert_eq!(without_nothing(&json, 0).unwrap().as_str(), r#"{"a":[1],"c":{"d":2}}"#);
    }
}
