//! What `docs/asyncapi.json` says of the intake is what the intake does.

use std::path::{Path, PathBuf};

use proto::Event;

use super::*;
use crate::{
    http::whole_wish,
    route::{Target, Targets},
};

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn document() -> Value {
    serde_json::from_str(&std::fs::read_to_string(docs().join("asyncapi.json")).unwrap()).unwrap()
}

/// The examples of a message, each as it would come.
fn examples(document: &Value, message: &str) -> Vec<(Vec<u8>, Envelope)> {
    let message = &document["components"]["messages"][message];
    let of_one = |example: &Value| {
        let headers = example.get("headers").and_then(Value::as_object).into_iter().flatten();
        let envelope = Envelope {
            content_type: message["contentType"].as_str().map(str::to_owned),
            headers: headers
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect(),
            ..Envelope::default()
        };
        (example["payload"].to_string().into_bytes(), envelope)
    };
    message["examples"].as_array().unwrap().iter().map(of_one).collect()
}

#[test]
fn every_example_is_taken_as_what_it_is_said_to_be() {
    let document = document();
    let targets = ["web", "shop", "office/web"].map(|name| Target::sample(name, &[]));
    let targets = Targets::new(targets.into());
    let on_the_intake = document["channels"]["intake"]["messages"].as_object().unwrap();
    assert_eq!(on_the_intake.len(), 7, "each form is described");
    for name in on_the_intake.keys() {
        let examples = examples(&document, name);
        assert!(!examples.is_empty(), "{name}");
        for (body, envelope) in examples {
            match read(&body, &envelope) {
                Ok(Form::Wishes(asked)) => {
                    assert!(name.starts_with("deploy") && !asked.is_empty(), "{name}");
                    for asked in asked {
                        whole_wish(&asked.wish, &targets, asked.delivery).unwrap();
                        // The schema is made of this type, which must not promise more than is taken.
                        let typed: proto::api::Wish = serde_json::from_value(asked.wish.clone()).unwrap();
                        let again = serde_json::to_value(&typed).unwrap();
                        assert_eq!(again.as_object().unwrap().len(), asked.wish.as_object().unwrap().len());
                    }
                }
                Ok(Form::Sightings(seen)) => {
                    assert!(!name.starts_with("deploy") && !seen.sightings.is_empty(), "{name}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    for (body, _) in examples(&document, "event") {
        Event::decode(&body).unwrap();
    }
}

#[test]
fn the_names_are_those_of_the_contract_and_every_reference_leads_somewhere() {
    let document = document();
    assert_eq!(document["asyncapi"], "3.0.0");
    let exchange =
        |channel: &str| document["channels"][channel]["bindings"]["amqp"]["exchange"]["name"].clone();
    assert_eq!(
        (exchange("intake"), exchange("events")),
        ("longshore.intake".into(), "longshore.events".into())
    );
    let states = document["channels"]["events"]["parameters"]["state"]["enum"].as_array().unwrap();
    assert_eq!(states.len(), proto::State::ALL.len());
    for state in proto::State::ALL {
        assert!(states.contains(&state.as_str().into()), "{state}");
    }
    let data = &document["components"]["messages"]["deployEvent"]["payload"]["allOf"][1]["properties"];
    assert_eq!(data["type"]["const"], DEPLOY);
    let mut found = 0;
    follow(&document, &document, &docs(), &mut found);
    assert!(found > 20, "{found}");
}

fn follow(value: &Value, document: &Value, folder: &Path, found: &mut usize) {
    match value {
        Value::Object(keys) => {
            if let Some(reference) = keys.get("$ref").and_then(Value::as_str) {
                *found += 1;
                let leads = match reference.strip_prefix('#') {
                    Some(pointer) => document.pointer(pointer).is_some(),
                    None => folder.join(reference).is_file(),
                };
                assert!(leads, "{reference}");
            }
            keys.values().for_each(|value| follow(value, document, folder, found));
        }
        Value::Array(items) => items.iter().for_each(|value| follow(value, document, folder, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
