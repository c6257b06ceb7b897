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
    let mut schema = json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    together(table.name, &mut schema);
    schema
}

/// What keys of one map mean for each other, as far as a schema can say it.
fn together(name: &str, schema: &mut Value) {
    let has = |key: &str| json!({"required": [key]});
    let both = |one: &str, other: &str| json!({"not": {"required": [one, other]}});
    match name {
        "file" => {
            let host = json!({"type": "object", "properties": {"executor": {"const": "host"}}, "required": ["executor"]});
            let on_host = json!({"properties": {"labels": host}, "required": ["labels"]});
            schema["oneOf"] = json!([has("stages"), has("jobs")]);
            schema["anyOf"] = json!([has("image"), has("machineTag"), has("jobs"), on_host]);
            schema["allOf"] = json!([both("image", "machineTag")]);
            schema["properties"]["jobs"]["minProperties"] = json!(1);
            schema["properties"]["stages"]["minItems"] = json!(1);
        }
        "job" => {
            schema["required"] = json!(["stages"]);
            schema["allOf"] = json!([both("image", "machineTag")]);
            schema["properties"]["stages"]["minItems"] = json!(1);
        }
        "stage" => {
            schema["oneOf"] = json!([has("script"), has("command")]);
            schema["allOf"] = json!([both("command", "shell")]);
            // At least one line that is not blank, and a program's name.
            schema["properties"]["script"]["allOf"] = json!([
                {"if": {"type": "string"}, "then": {"pattern": "[^ \\t\\r\\n]"}},
                {"if": {"type": "array"}, "then": {"minItems": 1}},
            ]);
            schema["properties"]["command"]["minItems"] = json!(1);
        }
        "subscription" => {
            schema["oneOf"] = json!([has("branchQueueMap"), has("branches")]);
            for name in ["branchQueueMap", "branches"] {
                schema["properties"][name]["allOf"] = json!([
                    {"if": {"type": "object"}, "then": {"minProperties": 1}},
                    {"if": {"type": "array"}, "then": {"minItems": 1}},
                ]);
            }
        }
        _ => {}
    }
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
        Shape::List { of: item, max } => {
            let mut list = json!({"type": "array", "items": of(item, definitions)});
            if *max != usize::MAX {
                list["maxItems"] = json!(max);
            }
            list
        }
        Shape::Map { names, of: value, max, .. } => {
            let (names, values) = (text(*names), of(value, definitions));
            json!({"type": "object", "propertyNames": names, "additionalProperties": values, "maxProperties": max})
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
    let rule = kind.rule();
    let mut schema = if rule.never_a_number {
        json!({"type": "string"})
    } else {
        json!({"type": ["string", "number", "boolean"]})
    };
    schema["maxLength"] = json!(rule.longest.unwrap_or(kind.longest()));
    if !rule.pattern.is_empty() {
        schema["pattern"] = json!(rule.pattern);
    }
    if !rule.not.is_empty() {
        schema["not"] = json!({"type": "string", "pattern": rule.not});
    }
    schema
}
