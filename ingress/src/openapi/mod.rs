//! The API's own description, OpenAPI 3.1: schemas made of the types that are sent, around a table of what each path
//! takes and answers.

mod operation;
mod schemas;
mod session;
mod table;

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use schemas::Schemas;

const ABOUT: &str = "Hooks of registries, forges and CI at `/hooks/{source}`, and the API of those who operate at \
    `/v1`. A refusal is problem details (RFC 9457) whose `type` leads to words on how to mend it. Before any path is \
    looked at, a head that is too large is refused with 431 or 414, and one that is no HTTP with 400, all without a body.";

/// The document, as it is served at `/openapi.json`.
#[must_use]
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths: Map<String, Value> = Map::new();
    for operation in table::operations(&mut schemas) {
        let (path, method) = (operation.path.to_owned(), operation.method.to_owned());
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[method] = operation.described();
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Longshore",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "hooks", "description": "For those who tell of new images."},
            {"name": "jobs", "description": "What is to be deployed, and what became of it."},
            {"name": "targets", "description": "What can be deployed."},
            {"name": "session", "description": "Who the caller is."},
            {"name": "server", "description": "The server itself."},
        ],
        "paths": paths,
        "components": {"schemas": schemas.definitions(), "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "description": "A token of the API."},
            "key": {"type": "apiKey", "in": "query", "name": "key", "description": "The source's key."},
            "keyHeader": {"type": "apiKey", "in": "header", "name": "X-Longshore-Key", "description": "The source's key."},
            "authorization": {"type": "apiKey", "in": "header", "name": "Authorization",
                "description": "The source's key as a bearer token, or its `authorization` to the letter."},
        }},
    })
}

/// The same as text, made once.
pub(crate) fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| document().to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::problem::Kind;

    /// What the router has, as its file has it.
    const ROUTES: &str = include_str!("../http/mod.rs");

    #[test]
    fn every_route_is_described_with_its_methods() {
        let document = document();
        let routed: BTreeSet<(String, &str)> = ROUTES.lines().filter_map(route).flatten().collect();
        assert!(routed.len() > 20, "the routes were not understood: {routed:?}");
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                let method =
                    ["get", "post", "delete", "options"].into_iter().find(|known| known == method).unwrap();
                described.insert((path.clone(), method));
            }
        }
        assert_eq!(described, routed);
    }

    /// The path and the methods of a line `.route("/path", get(…).post(…))`.
    fn route(line: &str) -> Option<impl Iterator<Item = (String, &'static str)>> {
        let (path, methods) = line.trim().strip_prefix(".route(\"")?.split_once("\", ")?;
        let (path, any) = (path.to_owned(), methods.contains("any("));
        let known: Vec<&str> = ["get", "post", "delete", "options"]
            .into_iter()
            // Nothing is deleted by a hook.
            .filter(|method| methods.contains(&format!("{method}(")) || (any && *method != "delete"))
            .collect();
        Some(known.into_iter().map(move |method| (path.clone(), method)))
    }

    #[test]
    fn every_problem_is_described_somewhere() {
        let text = text();
        // The others are those of paths and methods that are not there.
        for kind in Kind::ALL.iter().filter(|kind| **kind != Kind::MethodNotAllowed) {
            assert!(text.contains(&format!("\"/problems/{}\"", kind.slug())), "{}", kind.slug());
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str));
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 50);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
