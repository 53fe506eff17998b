//! `longshore schema`: the JSON Schemas of what people outside the project write and read, and the API's description.

use std::{collections::BTreeMap, fs, path::Path};

use config::allow_secret_files;
use proto::{Catalogue, Event, Job, PoolName, Sighting, api::Wish};
use schemars::{
    JsonSchema, Schema, SchemaGenerator,
    generate::SchemaSettings,
    json_schema,
    transform::{Transform, transform_subschemas},
};
use serde_json::{Map, Value, json};

use crate::{arguments, exit::Exit, failure::Failure, output::line};

/// Writes the schemas, or prints them.
pub(crate) fn run(arguments: &arguments::Schema) -> Result<Exit, Failure> {
    match &arguments.out {
        Some(folder) => write(folder)?,
        None => schemas().iter().for_each(|(_, text)| {
            line(text.trim_end());
        }),
    }
    Ok(Exit::Succeeded)
}

fn write(folder: &Path) -> Result<(), Failure> {
    let written = fs::create_dir_all(folder)
        .and_then(|()| schemas().iter().try_for_each(|(name, text)| fs::write(folder.join(name), text)));
    written.map_err(|error| {
        Failure::setup(
            format!("cannot write the schemas to `{}`: {error}", folder.display()),
            "choose another directory with --out",
        )
    })
}

/// Each schema's file and text.
pub(crate) fn schemas() -> [(&'static str, String); 7] {
    [
        ("job.json", of::<Job>("A Longshore job", |_| {})),
        ("event.json", of::<Event>("A Longshore event", |_| {})),
        ("configuration.json", of::<Configuration>("A Longshore configuration", allow_secret_files)),
        ("catalogue.json", of::<Catalogue>("A Longshore catalogue", |_| {})),
        ("openapi.json", format!("{:#}\n", ingress::openapi::document())),
        ("wish.json", of::<Wish>("What is asked of Longshore", |_| {})),
        ("sighting.json", of::<Sighting>("An image that somebody saw", |_| {})),
    ]
}

fn of<T: JsonSchema>(title: &str, change: fn(&mut Schema)) -> String {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), json!(title));
    WithoutFormats.transform(&mut schema);
    inline_kinds(&mut schema);
    change(&mut schema);
    format!("{:#}\n", schema.as_value())
}

/// Takes out the formats of whole numbers, which are Rust's and which validators complain of.
struct WithoutFormats;

impl Transform for WithoutFormats {
    fn transform(&mut self, schema: &mut Schema) {
        let foreign = |format: &Value| format.as_str().is_some_and(|format| format.starts_with("uint"));
        if schema.get("format").is_some_and(foreign) {
            schema.remove("format");
        }
        transform_subschemas(self, schema);
    }
}

/// Writes the schema that a kind of an enum refers to out in its place. A reference beside further properties
/// cannot tell which keys are unknown: each side refuses those of the other.
fn inline_kinds(schema: &mut Schema) {
    let definitions = schema.get("$defs").cloned().unwrap_or_default();
    Inline { definitions: &definitions }.transform(schema);
    let text = schema.as_value().to_string();
    if let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        definitions.retain(|name, _| text.contains(&format!("\"#/$defs/{name}\"")));
    }
}

struct Inline<'a> {
    definitions: &'a Value,
}

impl Transform for Inline<'_> {
    fn transform(&mut self, schema: &mut Schema) {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix("#/$defs/"));
        let definition = name.and_then(|name| self.definitions.get(name)).cloned();
        if let Some(definition) = definition.filter(|_| schema.get("properties").is_some()) {
            schema.remove("$ref");
            merge(schema.ensure_object(), definition);
        }
        transform_subschemas(self, schema);
    }
}

/// Adds what a definition says; what stands there already goes first.
fn merge(into: &mut Map<String, Value>, definition: Value) {
    let Value::Object(definition) = definition else { return };
    for (key, value) in definition {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(known)), value @ Value::Object(_)) => merge(known, value),
            (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
            (Some(_), _) => {}
            (None, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// The whole file. Each section's schema is made of the type that reads it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "read for its schema only; the rooms read the sections themselves")]
struct Configuration {
    /// The version of this form.
    version: Option<Version>,
    /// Where the HTTP server listens: an address and a port, `127.0.0.1:8080` by default.
    listen: Option<String>,
    /// Where hooks alone are taken, for what comes from the internet: an address and a port; nowhere by default.
    hooks_listen: Option<String>,
    /// The URL under which others reach this server; printed in links.
    public_url: Option<String>,
    /// The directory for everything that must be kept, `./longshore-data` by default.
    data: Option<String>,
    /// Where jobs wait and events are kept; `embedded` by default.
    queue: Option<queue::Settings>,
    /// How long what was said and what died is kept, and how much of it.
    keep: Option<queue::Keep>,
    /// What an ingress keeps in the data directory while the broker is away.
    spool: Option<queue::SpoolSettings>,
    /// Who pushes images, by the name in the hook's path.
    sources: Option<BTreeMap<String, ingress::section::SourceSection>>,
    /// How workers read from registries, by host.
    registries: Option<BTreeMap<String, worker::Registry>>,
    /// What stacks may ask for by name; only workers read it.
    secrets: Option<BTreeMap<String, worker::NamedSecret>>,
    /// Where things run, and how to get in.
    systems: Option<BTreeMap<String, System>>,
    /// What is deployed, and the images it follows.
    targets: Option<BTreeMap<String, worker::TypedTarget>>,
    /// When targets may be deployed, by the names that they use.
    windows: Option<BTreeMap<String, ingress::section::WindowSection>>,
    /// Who may call the API.
    access: Option<ingress::section::AccessSection>,
    /// How an ingress works.
    ingress: Option<ingress::section::IngressSection>,
    /// How much callers may ask for.
    limits: Option<ingress::section::LimitsSection>,
    /// How a worker works.
    worker: Option<worker::Limits>,
}

/// The one version there is.
struct Version;

impl JsonSchema for Version {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Version".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"const": 1})
    }
}

/// A system of any kind, with the pool that every kind may name.
struct System;

impl JsonSchema for System {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "System".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = worker::SystemKind::json_schema(generator);
        let pool = generator.subschema_for::<PoolName>();
        let kinds = schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten();
        for kind in kinds {
            kind["properties"]["pool"] = pool.clone().to_value();
            kind["additionalProperties"] = json!(false);
        }
        schema
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_schemas_in_docs_are_those_of_the_code() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/schema");
        for (name, text) in schemas() {
            let kept = fs::read_to_string(folder.join(name)).unwrap_or_default();
            assert!(
                kept == text,
                "docs/schema/{name} is stale; renew it: cargo run -- schema --out docs/schema"
            );
        }
    }

    #[test]
    fn every_section_that_is_read_is_in_the_schema() {
        let schema: Value = serde_json::from_str(&schemas()[2].1).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        let mut known: Vec<_> = properties.keys().map(String::as_str).collect();
        known.sort_unstable();
        let mut read = crate::configuration::SECTIONS.to_vec();
        read.sort_unstable();
        assert_eq!(known, read);
    }
}
