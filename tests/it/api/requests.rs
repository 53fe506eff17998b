//! Requests made of an API's description: good ones, and ones with something wrong.

use reqwest::Method;
use serde_json::{Map, Value, json};

/// Chance that can be repeated.
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn of(seed: u64) -> Chance {
        Chance(seed | 1)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// A method of a path, as it is described.
pub(super) struct Operation<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) id: &'a str,
    described: &'a Value,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) with_token: bool,
}

/// Every operation of a document.
pub(super) fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            let method = method.to_uppercase().parse().unwrap();
            all.push(Operation { method, path, id: described["operationId"].as_str().unwrap(), described });
        }
    }
    all
}

/// Makes requests, with the names of what is there.
pub(super) struct Maker {
    pub(super) chance: Chance,
    pub(super) jobs: Vec<String>,
    /// What references lead into.
    pub(super) document: Value,
}

impl Maker {
    /// A request as it is described.
    pub(super) fn good(&mut self, operation: &Operation<'_>) -> Request {
        let mut path = operation.path.to_owned();
        let (mut query, mut headers) = (Vec::new(), Vec::new());
        for parameter in operation.described["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let required = parameter["required"] == true;
            if !required && self.chance.one_in(2) {
                continue;
            }
            let value = self.value(&parameter["schema"], name);
            match parameter["in"].as_str().unwrap() {
                "path" => path = path.replace(&format!("{{{name}}}"), &encoded(&text(&value))),
                "query" => query.push(format!("{name}={}", encoded(&text(&value)))),
                _ => headers.push((name.to_owned(), text(&value))),
            }
        }
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        let described = &operation.described["requestBody"];
        let wanted = described["required"] == true || (described.is_object() && self.chance.one_in(2));
        let body = wanted.then(|| {
            let body = self.value(&described["content"]["application/json"]["schema"], "");
            body.to_string().into_bytes()
        });
        Request { path, headers, body, with_token: true }
    }

    /// A request with something wrong.
    pub(super) fn bad(&mut self, operation: &Operation<'_>) -> Request {
        let mut request = self.good(operation);
        let odd = self.chance.one_of::<&str>(&["%ff", "a%20b", "%2e%2e", "x%2fy", "é"]);
        match self.chance.below(9) {
            0 => request.with_token = false,
            1 => {
                request.path = format!(
                    "{}{}nonsense=%ff%00",
                    request.path,
                    if request.path.contains('?') { '&' } else { '?' }
                )
            }
            2 => request.path = request.path.replace("demo", odd),
            3 => request.headers.push(("content-encoding".to_owned(), "gzip".to_owned())),
            4 => request.headers.push(("Idempotency-Key".to_owned(), "k".repeat(1 + self.chance.below(400)))),
            5 => request.headers.push((
                "Last-Event-ID".to_owned(),
                self.chance.one_of(&["x", "-1", "18446744073709551615"]).to_string(),
            )),
            6 => {
                request.body = Some(
                    self.chance
                        .one_of(&["", "{", "nul", "\"", "[[[[", "\u{0}", "{\"a\":1}}"])
                        .as_bytes()
                        .to_vec(),
                )
            }
            7 => request.body = Some(self.anything(3).to_string().into_bytes()),
            _ => request.body = request.body.map(|body| self.spoiled(&body)),
        }
        request
    }

    fn spoiled(&mut self, body: &[u8]) -> Vec<u8> {
        let Ok(mut value) = serde_json::from_slice::<Value>(body) else { return body.to_vec() };
        self.spoil(&mut value);
        value.to_string().into_bytes()
    }

    /// Takes one key of a value out, or makes something else of one thing in it.
    fn spoil(&mut self, place: &mut Value) {
        match place {
            Value::Object(map) if !map.is_empty() && !self.chance.one_in(3) => {
                let keys: Vec<String> = map.keys().cloned().collect();
                let key = self.chance.one_of(&keys);
                match map.get_mut(key) {
                    Some(inner) if !self.chance.one_in(3) => self.spoil(inner),
                    Some(_) | None => drop(map.remove(key)),
                }
            }
            Value::Array(items) if !items.is_empty() => {
                let index = self.chance.below(items.len());
                self.spoil(&mut items[index]);
            }
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_)) => *other = self.anything(2),
        }
    }

    /// A value as a schema wants it.
    fn value(&mut self, schema: &Value, name: &str) -> Value {
        let Some(map) = schema.as_object().filter(|map| !map.is_empty()) else { return self.anything(2) };
        if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
            let meant = self.document.pointer(reference.trim_start_matches('#')).unwrap().clone();
            return self.value(&meant, name);
        }
        if let Some(only) = map.get("const") {
            return only.clone();
        }
        if let Some(all) = map.get("enum").and_then(Value::as_array) {
            return self.chance.one_of(all).clone();
        }
        let choices = map.get("anyOf").or(map.get("oneOf")).and_then(Value::as_array);
        if let Some(choices) = choices.filter(|choices| {
            choices.iter().any(|choice| {
                choice.get("$ref").is_some()
                    || choice.get("type").is_some()
                    || choice.get("anyOf").is_some()
                    || choice.get("oneOf").is_some()
            })
        }) {
            let chosen = self.chance.one_of(choices).clone();
            let mut value = self.value(&chosen, name);
            if let (Some(object), true) = (value.as_object_mut(), map.contains_key("properties")) {
                let rest = self.object(map);
                object.extend(rest);
            }
            return value;
        }
        let kind = match map.get("type") {
            Some(Value::Array(kinds)) => self.chance.one_of(kinds).clone(),
            Some(kind) => kind.clone(),
            None => return self.anything(2),
        };
        match kind.as_str().unwrap_or_default() {
            "object" => Value::Object(self.object(map)),
            "array" => {
                let least = map.get("minItems").and_then(Value::as_u64).unwrap_or(0);
                let count = usize::try_from(least).unwrap() + self.chance.below(3);
                Value::Array((0..count).map(|_| self.value(&map["items"], name)).collect())
            }
            "string" => Value::String(self.string(map, name)),
            "integer" | "number" => {
                let least = map.get("minimum").and_then(Value::as_u64).unwrap_or(0);
                json!(least + self.chance.below(9) as u64)
            }
            "boolean" => json!(self.chance.one_in(2)),
            _ => Value::Null,
        }
    }

    fn object(&mut self, map: &Map<String, Value>) -> Map<String, Value> {
        let required: Vec<&str> = map
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut object = Map::new();
        for (key, schema) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if required.contains(&key.as_str()) || self.chance.one_in(3) {
                object.insert(key.clone(), self.value(schema, key));
            }
        }
        object
    }

    fn string(&mut self, schema: &Map<String, Value>, name: &str) -> String {
        let known: &[&str] = match name {
            "target" => &["demo", "default/demo", "held"],
            "name" => &["demo", "held"],
            "pool" => &["default"],
            "source" => &["demo", "cloud"],
            "image" => &[
                "demo:1",
                "docker.io/library/demo:2",
                "demo@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            ],
            "wait" => &["1ms", "50ms"],
            "not_before" => &["2020-01-01T00:00:00Z"],
            "slug" => &["bad-image", "nothing"],
            "tag" | "service" | "key" | "access_token" => &["web", "v1"],
            "url" | "portainer" => &["http://127.0.0.1:1/x"],
            "Last-Event-ID" => &["0", "1", "3"],
            "WebHook-Request-Origin" => &["sender.example.org"],
            "Idempotency-Key" => &["one", "two", "three", "four", "five"],
            "before" | "job" | "id" => &[],
            _ if schema.contains_key("pattern") || schema.contains_key("format") => &[],
            _ => &["text", "", "ü/…", "a b"],
        };
        if !known.is_empty() {
            return (*self.chance.one_of(known)).to_owned();
        }
        match self.jobs.is_empty() || self.chance.one_in(5) {
            true => "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
            false => self.chance.one_of(&self.jobs.clone()).clone(),
        }
    }

    fn anything(&mut self, depth: usize) -> Value {
        match self.chance.below(if depth == 0 { 5 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.chance.one_in(2)),
            2 => json!(-7),
            3 => json!(1e300),
            4 => json!(*self.chance.one_of(&["", "text", "\u{0}\u{7f}", "ü🚢", "demo:1"])),
            5 => json!({"image": "demo:5"}),
            6 => Value::Array((0..self.chance.below(4)).map(|_| self.anything(depth - 1)).collect()),
            _ => {
                let keys = ["image", "target", "operation", "type", "x", ""];
                let count = self.chance.below(4);
                (0..count)
                    .map(|_| ((*self.chance.one_of(&keys)).to_owned(), self.anything(depth - 1)))
                    .collect()
            }
        }
    }
}

/// As a path or a query has it; a list is separated by commas.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,:".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
