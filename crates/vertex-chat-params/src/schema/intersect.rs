//! Two schemas that hold together become one.

use std::collections::HashSet;

use super::SchemaError;
use super::node::{Fields, Node};
use crate::steps::Share;

/// One schema that takes at least what both take. Where they cannot be put together, the first one's word stands, which
/// lets more through than both.
pub(super) fn both(first: Node, second: Node, share: &mut Share<'_>) -> Result<Node, SchemaError> {
    let Node::Object(own) = first else { return Ok(second) };
    let Node::Object(others) = second else { return Ok(Node::Object(own)) };
    share.take(own.len() + others.len())?;
    let mut out = Fields::of(own);
    for (key, value) in others {
        let Some(own) = out.get_mut(&key) else {
            out.set(key, value);
            continue;
        };
        if *own == value {
            continue;
        }
        let first = std::mem::replace(own, Node::Array(Vec::new()));
        let together = of_keyword(&key, first, value, share)?;
        if let Some(own) = out.get_mut(&key) {
            *own = together;
        }
    }
    Ok(out.into_node())
}

/// What a keyword says that both schemas have.
fn of_keyword(key: &str, own: Node, value: Node, share: &mut Share<'_>) -> Result<Node, SchemaError> {
    Ok(match key {
        "properties" | "$defs" | "definitions" => {
            let Node::Object(mine) = own else { return Ok(own) };
            let Node::Object(others) = value else { return Ok(Node::Object(mine)) };
            share.take(mine.len() + others.len())?;
            let mut all = Fields::of(mine);
            for (name, property) in others {
                match all.get_mut(&name) {
                    Some(known) if *known != property => {
                        let first = std::mem::replace(known, Node::Array(Vec::new()));
                        let parts = Node::Array(vec![first, property]);
                        *known = Node::Object(vec![("allOf".to_owned(), parts)]);
                    }
                    Some(_) => {}
                    None => all.set(name, property),
                }
            }
            all.into_node()
        }
        "required" => {
            share.take(own.items().len() + value.items().len())?;
            let mut all = own.items().to_vec();
            let known: HashSet<String> = all.iter().map(Node::shown).collect();
            all.extend(value.items().iter().filter(|name| !known.contains(&name.shown())).cloned());
            Node::Array(all)
        }
        "enum" => {
            share.take(own.items().len() + value.items().len())?;
            let others: HashSet<String> = value.items().iter().map(Node::value_key).collect();
            let shared: Vec<Node> =
                own.items().iter().filter(|it| others.contains(&it.value_key())).cloned().collect();
            if shared.is_empty() { own } else { Node::Array(shared) }
        }
        "minimum" | "minItems" | "minLength" | "minProperties" => {
            if value.number() > own.number() {
                value
            } else {
                own
            }
        }
        "maximum" | "maxItems" | "maxLength" | "maxProperties" => {
            if value.number() < own.number() {
                value
            } else {
                own
            }
        }
        "type" => shared_types(own, &value, share)?,
        "nullable" => Node::boolean(own.is("true") && value.is("true")),
        _ => own,
    })
}

/// `type` with a list on one side: what both name.
fn shared_types(own: Node, value: &Node, share: &mut Share<'_>) -> Result<Node, SchemaError> {
    fn names(node: &Node) -> Vec<&str> {
        match node {
            Node::Array(items) => items.iter().filter_map(Node::as_text).collect(),
            one => one.as_text().into_iter().collect(),
        }
    }
    let (mine, others) = (names(&own), names(value));
    share.take(mine.len() + others.len())?;
    let others: HashSet<&str> = others.into_iter().collect();
    let mut known = HashSet::new();
    let shared: Vec<&str> = mine
        .into_iter()
        .filter_map(|name| match name {
            name if others.contains(name) => Some(name),
            // Every integer is a number.
            "number" if others.contains("integer") => Some("integer"),
            "integer" if others.contains("number") => Some("integer"),
            _ => None,
        })
        .filter(|name| known.insert(*name))
        .collect();
    Ok(match shared.as_slice() {
        [] => own,
        [one] => Node::text(one),
        several => Node::Array(several.iter().map(|it| Node::text(it)).collect()),
    })
}
