//! A recorded request with its answer.

use std::time::Duration;

use reqwest::{Client, Method, StatusCode, redirect::Policy};
use serde_json::Value;

/// One line of a recording.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    /// What it shows.
    pub(crate) case: String,
    pub(crate) server: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Null where there was none; a text where it was no JSON.
    pub(crate) body: Value,
    pub(crate) answer: Told,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// None where the connection broke, or the caller gave up.
    pub(crate) status: Option<u16>,
    /// What the body is said to be; none where nobody wrote it down.
    pub(crate) content: Option<String>,
    pub(crate) location: Option<String>,
    /// Null where it was empty; a text where it was no JSON.
    pub(crate) body: Value,
}

impl Trace {
    pub(crate) fn all(recording: &str) -> Vec<Trace> {
        recording.lines().map(|line| Trace::of(&serde_json::from_str(line).unwrap())).collect()
    }

    fn of(line: &Value) -> Trace {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (request, answer) = (&line["request"], &line["response"]);
        let headers = request["headers"].as_object().into_iter().flatten();
        let mut headers: Vec<(String, String)> =
            headers.map(|(name, value)| (name.clone(), text(value).unwrap_or_default())).collect();
        if let Some(kind) = text(&request["content_type"]) {
            headers.push(("Content-Type".to_owned(), kind));
        }
        Trace {
            case: text(&line["case"]).or_else(|| text(&line["label"])).unwrap(),
            server: text(&line["server"]).unwrap(),
            method: text(&request["method"]).unwrap(),
            path: text(&request["path"]).unwrap(),
            headers,
            body: request["body"].clone(),
            answer: Told {
                status: answer["status"].as_u64().map(|status| u16::try_from(status).unwrap()),
                content: text(&answer["content_type"]).or_else(|| text(&answer["headers"]["Content-Type"])),
                location: text(&answer["location"]),
                body: answer["body"].clone(),
            },
        }
    }

    /// Every text in it changed in the same way: what the fake calls something else.
    pub(crate) fn renamed(&mut self, rename: impl Fn(&str) -> String) {
        self.path = rename(&self.path);
        for (_, value) in &mut self.headers {
            *value = rename(value);
        }
        rename_in(&mut self.body, &rename);
        rename_in(&mut self.answer.body, &rename);
        self.answer.location = self.answer.location.take().map(|location| rename(&location));
    }

    /// Asks it of a server at `http://host:port`, for no longer than `patience`.
    pub(crate) async fn asked_of(&self, server: &str, patience: Duration) -> Told {
        // Fails where another test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(Policy::none()).timeout(patience).build().unwrap();
        let method: Method = self.method.parse().unwrap();
        let mut request = client.request(method, format!("{server}{}", self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request = match &self.body {
            Value::Null => request,
            Value::String(text) => request.body(text.clone()),
            body @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                request.body(body.to_string())
            }
        };
        let Ok(answer) = request.send().await else {
            return Told { status: None, content: None, location: None, body: Value::Null };
        };
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let (content, location) =
            (header("content-type").map(str::to_owned), header("location").map(str::to_owned));
        let status: StatusCode = answer.status();
        let text = answer.text().await.unwrap();
        let body = match text.is_empty() {
            true => Value::Null,
            false => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        };
        Told { status: Some(status.as_u16()), content, location, body }
    }
}

fn rename_in(value: &mut Value, rename: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = rename(text),
        Value::Array(all) => all.iter_mut().for_each(|one| rename_in(one, rename)),
        Value::Object(fields) => fields.values_mut().for_each(|one| rename_in(one, rename)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
