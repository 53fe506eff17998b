//! The schemas of what is sent, made of the types.

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// Schemas by their names. Those of requests may leave out more than those of answers, and have names of their own.
pub(super) struct Schemas {
    answers: SchemaGenerator,
    requests: Map<String, Value>,
}

impl Schemas {
    pub(super) fn new() -> Schemas {
        let settings = SchemaSettings::draft2020_12().for_serialize();
        let answers = settings.with(|settings| settings.definitions_path = "/components/schemas".into());
        Schemas { answers: answers.into_generator(), requests: Map::new() }
    }

    /// The schema of an answer.
    pub(super) fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().to_value()
    }

    /// The schema of what a caller sends.
    pub(super) fn request<T: JsonSchema>(&mut self) -> Value {
        let settings = SchemaSettings::draft2020_12().for_deserialize();
        let settings = settings.with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
        let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
        without_foreign_formats(&mut schema);
        if let Some(keys) = schema.as_object_mut() {
            keys.remove("title");
        }
        let name = format!("{}Request", T::schema_name());
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        self.requests.insert(name, schema);
        reference
    }

    /// All that answers refer to.
    pub(super) fn definitions(mut self) -> Map<String, Value> {
        let mut definitions = self.answers.take_definitions(true);
        definitions.values_mut().for_each(without_foreign_formats);
        definitions.extend(self.requests);
        definitions
    }
}

/// Takes out the formats of numbers, which are Rust's and which validators complain of.
fn without_foreign_formats(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let foreign = |format: &str| format.starts_with("uint") || format.starts_with("int");
            if map.get("format").and_then(Value::as_str).is_some_and(foreign) {
                map.remove("format");
            }
            map.values_mut().for_each(without_foreign_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(without_foreign_formats),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// One or several.
pub(super) fn one_or_several(one: &Value, most: usize) -> Value {
    json!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": most}]})
}

/// What `POST /v1/targets/{pool}/{name}/plan` takes: a wish without its target.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
#[expect(dead_code, reason = "read for its schema only")]
pub(super) enum PlanWish {
    /// Any operation.
    Operation {
        /// What would be wished.
        operation: proto::Operation,
    },
    /// Short for `set-image`.
    Image {
        /// The image that would run.
        image: proto::ImageRef,
        /// The service within the target.
        service: Option<String>,
    },
}

/// A place to say that a schema is whatever it is.
pub(super) fn anything() -> Value {
    Schema::default().to_value()
}
