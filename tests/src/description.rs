//! Whether an answer is one that the API's own description has. The tests of the ingress compile it in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

/// An OpenAPI document, and what answers are checked with.
pub struct Description {
    /// The document.
    pub document: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Description {
    /// Of this document.
    pub fn of(document: Value) -> Description {
        Description { document, validators: Mutex::default() }
    }

    /// Why this is no answer that is described for this method and path; none when it is one.
    pub fn fault(
        &self,
        (method, path): (&str, &str),
        status: u16,
        header: impl Fn(&str) -> Option<String>,
        body: &[u8],
    ) -> Option<String> {
        let path = path.split('?').next().unwrap_or(path);
        let Some(template) = self.template(path) else {
            // Any path has the limits.
            return (![404, 415, 429].contains(&status)).then(|| "no such path is described".to_owned());
        };
        let operation = &self.document["paths"][template][method.to_lowercase()];
        if operation.is_null() {
            return (![405, 415, 429].contains(&status)).then(|| "no such method is described".to_owned());
        }
        let response = &operation["responses"][status.to_string()];
        if response.is_null() {
            return Some("no such code is described".to_owned());
        }
        for (name, described) in response["headers"].as_object().into_iter().flatten() {
            if described["required"] == true && header(name).is_none() {
                return Some(format!("it lacks the header {name}"));
            }
        }
        let Some(kind) = header("content-type") else {
            let is_nothing = response["content"].is_null() && body.is_empty();
            return (!is_nothing).then(|| "it has no type".to_owned());
        };
        let kind = kind.split(';').next().unwrap_or(&kind);
        let schema = &response["content"][kind]["schema"];
        if schema.is_null() {
            return Some(format!("the type {kind} is not described"));
        }
        let value = match kind.ends_with("json") {
            true => serde_json::from_slice(body).unwrap_or(Value::Null),
            false => Value::String(String::from_utf8_lossy(body).into_owned()),
        };
        let place = format!("{template} {method} {status} {kind}");
        let validator = match self.validator(&place, schema) {
            Ok(validator) => validator,
            Err(error) => return Some(error),
        };
        let fault = validator.validate(&value).err();
        fault.map(|error| format!("at `{}`: {error}", error.instance_path()))
    }

    fn template(&self, path: &str) -> Option<&String> {
        let parts: Vec<&str> = path.split('/').collect();
        let fits = |template: &&String| {
            let known: Vec<&str> = template.split('/').collect();
            let same =
                |(known, part): (&&str, &&str)| known == part || (known.starts_with('{') && !part.is_empty());
            known.len() == parts.len() && known.iter().zip(&parts).all(same)
        };
        // What has no parameter in its place goes first.
        let found = self.document["paths"].as_object()?.keys().filter(fits);
        found.min_by_key(|template| template.matches('{').count())
    }

    fn validator(&self, place: &str, schema: &Value) -> Result<Arc<Validator>, String> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(validator) = validators.get(place) {
            return Ok(Arc::clone(validator));
        }
        let whole = json!({"allOf": [schema], "components": self.document["components"]});
        let options = jsonschema::options().should_validate_formats(true);
        let built = options.build(&whole).map_err(|error| format!("its schema cannot be used: {error}"))?;
        let validator = Arc::new(built);
        validators.insert(place.to_owned(), Arc::clone(&validator));
        Ok(validator)
    }
}
