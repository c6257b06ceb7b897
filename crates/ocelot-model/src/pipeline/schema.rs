//! The JSON Schema of `ocelot.yml` for editors, made from the tables that the parser reads.

use serde_json::{Map, Value, json};

use super::keys;
use super::shape::{Shape, Support, Table};
use super::text::Kind;

/// The schema, draft 2020-12. Keys that do nothing yet are in it and say so.
pub fn json_schema() -> Value {
    let mut definitions = Map::new();
    let mut schema = table(&keys::TOP, &mut definitions);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("ocelot.yml");
    schema["$defs"] = Value::Object(definitions);
    schema
}

fn table(table: &'static Table, definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for key in table.keys() {
        // Beside `$ref`, other keywords hold too in this draft.
        let mut schema = of(&key.shape, definitions);
        let about = match key.support {
            Support::NotYet(_) => format!("{} (Not supported yet.)", key.about),
            Support::Now | Support::Required => key.about.to_owned(),
        };
        schema["description"] = json!(about);
        properties.insert(key.name.to_owned(), schema);
    }
    let required = table.keys().filter(|key| key.support == Support::Required).map(|key| key.name);
    let required: Vec<&str> = required.collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn of(shape: &'static Shape, definitions: &mut Map<String, Value>) -> Value {
    match shape {
        Shape::Text(kind) => text(*kind),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::Choice(words) => json!({"enum": words}),
        Shape::Table(inner) => {
            if !definitions.contains_key(inner.name) {
                let schema = table(inner, definitions);
                definitions.insert(inner.name.to_owned(), schema);
            }
            json!({"$ref": format!("#/$defs/{}", inner.name)})
        }
        Shape::List { of: item, .. } => json!({"type": "array", "items": of(item, definitions)}),
        Shape::Map { names, of: value, .. } => {
            let values = of(value, definitions);
            json!({"type": "object", "propertyNames": text(*names), "additionalProperties": values})
        }
        Shape::Matrix => json!({"type": "object", "additionalProperties": {"type": "array"}}),
        Shape::Either(shapes) => {
            let any: Vec<Value> = shapes.iter().map(|shape| of(shape, definitions)).collect();
            json!({"anyOf": any})
        }
    }
}

/// An editor may read `3.10` or `on` as something else than text, which Ocelot does not.
fn text(kind: Kind) -> Value {
    match kind.pattern() {
        Some(pattern) => json!({"type": "string", "pattern": pattern}),
        None => json!({"type": ["string", "number", "boolean"]}),
    }
}
