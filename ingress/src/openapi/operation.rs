//! One method of one path.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::problem::Kind;

/// Who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody.
    Anybody,
    /// Who has a token.
    Token,
    /// Who has a session.
    Session,
    /// Who knows the source's key, or signs.
    Key,
}

/// What may be wrong with who somebody says they are.
pub(super) const IDENTITY: &[Kind] =
    &[Kind::WrongToken, Kind::ExpiredToken, Kind::SessionEnded, Kind::IssuerAway, Kind::NotAllowed];

/// What a method of a path takes and answers.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    id: &'static str,
    summary: &'static str,
    access: Access,
    parameters: Vec<Value>,
    body: Option<Value>,
    /// By their code; the content is by its type.
    answers: BTreeMap<u16, (String, Map<String, Value>)>,
    problems: Vec<Kind>,
}

impl Operation {
    pub(super) fn new(
        access: Access,
        (method, path): (&'static str, &'static str),
        id: &'static str,
        summary: &'static str,
    ) -> Operation {
        // The gate's, which stands before every path, and what may happen anywhere.
        let problems = match access {
            Access::Anybody => vec![],
            Access::Token => [&[Kind::MissingToken, Kind::Internal], IDENTITY].concat(),
            Access::Session => {
                vec![Kind::MissingToken, Kind::WrongToken, Kind::SessionEnded, Kind::Internal]
            }
            Access::Key => vec![Kind::UnknownSource],
        };
        let watched = ["/healthz", "/readyz"].contains(&path);
        let limits: &[Kind] =
            if watched { &[Kind::EncodedBody] } else { &[Kind::EncodedBody, Kind::TooManyRequests] };
        let (parameters, answers) = (segments(path), BTreeMap::new());
        let operation =
            Operation { method, path, id, summary, access, parameters, body: None, answers, problems };
        let operation = if path.contains('{') { operation.problems(&[Kind::NotFound]) } else { operation };
        operation.problems(limits)
    }

    /// A parameter of the query.
    pub(super) fn query(self, name: &str, about: &str, schema: Value) -> Operation {
        self.parameter("query", name, about, schema)
    }

    /// A header.
    pub(super) fn header(self, name: &str, about: &str, schema: Value) -> Operation {
        self.parameter("header", name, about, schema)
    }

    fn parameter(mut self, place: &str, name: &str, about: &str, schema: Value) -> Operation {
        self.parameters.push(json!({"in": place, "name": name, "description": about, "schema": schema}));
        self
    }

    /// A body as JSON.
    pub(super) fn takes(mut self, required: bool, schema: Value) -> Operation {
        self.body = Some(json!({"required": required, "content": {"application/json": {"schema": schema}}}));
        self.problems(&[Kind::TooLarge, Kind::TooSlow, Kind::Busy])
    }

    /// An answer as JSON.
    pub(super) fn answers(self, code: u16, about: &str, schema: Value) -> Operation {
        self.answers_as(code, about, ("application/json", schema))
    }

    /// An answer of another type.
    pub(super) fn answers_as(mut self, code: u16, about: &str, (kind, schema): (&str, Value)) -> Operation {
        let (_, content) = self.answers.entry(code).or_insert_with(|| (about.to_owned(), Map::new()));
        content.insert(kind.to_owned(), json!({"schema": schema}));
        self
    }

    /// An answer without a body.
    pub(super) fn answers_nothing(mut self, code: u16, about: &str) -> Operation {
        self.answers.insert(code, (about.to_owned(), Map::new()));
        self
    }

    /// What may be refused.
    pub(super) fn problems(mut self, kinds: &[Kind]) -> Operation {
        for kind in kinds {
            if !self.problems.contains(kind) {
                self.problems.push(*kind);
            }
        }
        self
    }

    /// As OpenAPI has it.
    pub(super) fn described(self) -> Value {
        let mut responses: BTreeMap<u16, Value> = BTreeMap::new();
        for (code, (about, content)) in self.answers {
            let mut response = json!({"description": about});
            if !content.is_empty() {
                response["content"] = Value::Object(content);
            }
            responses.insert(code, response);
        }
        let mut refused: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
        for kind in self.problems {
            refused.entry(kind.status().as_u16()).or_default().push(kind);
        }
        for (code, kinds) in refused {
            let response = responses.entry(code).or_insert_with(|| json!({"description": titles(&kinds)}));
            response["content"]["application/problem+json"] = json!({"schema": problem(code, &kinds)});
            if let Some(header) = header_of(code) {
                response["headers"] = header;
            }
        }
        let responses: Map<String, Value> =
            responses.into_iter().map(|(code, response)| (code.to_string(), response)).collect();
        let mut described = json!({
            "operationId": self.id,
            "summary": self.summary,
            "tags": [tag(self.path)],
            "security": security(self.access),
            "responses": responses,
        });
        if !self.parameters.is_empty() {
            described["parameters"] = Value::Array(self.parameters);
        }
        if let Some(body) = self.body {
            described["requestBody"] = body;
        }
        described
    }
}

fn tag(path: &str) -> &'static str {
    match path {
        path if path.starts_with("/hooks/") => "hooks",
        path if path.starts_with("/v1/targets") || path.starts_with("/v1/stacks") => "targets",
        path if path.starts_with("/v1/session") => "session",
        path if path.starts_with("/v1/") => "jobs",
        _ => "server",
    }
}

fn security(access: Access) -> Value {
    match access {
        Access::Anybody => json!([]),
        Access::Token | Access::Session => json!([{"token": []}]),
        // A source may be open, or want a signature instead.
        Access::Key => json!([{"key": []}, {"keyHeader": []}, {"authorization": []}, {}]),
    }
}

fn titles(kinds: &[Kind]) -> String {
    let titles: Vec<&str> = kinds.iter().map(|kind| kind.title()).collect();
    titles.join("; ")
}

fn problem(code: u16, kinds: &[Kind]) -> Value {
    let types: Vec<String> = kinds.iter().map(|kind| format!("/problems/{}", kind.slug())).collect();
    let own = json!({"properties": {"type": {"enum": types}, "status": {"const": code}}});
    json!({"allOf": [{"$ref": "#/components/schemas/Problem"}, own]})
}

fn header_of(code: u16) -> Option<Value> {
    let text = |about: &str| json!({"description": about, "required": true, "schema": {"type": "string"}});
    match code {
        401 => Some(json!({"WWW-Authenticate": text("How to come in.")})),
        415 => Some(json!({"Accept-Encoding": text("The encodings that are taken.")})),
        429 | 503 => Some(json!({"Retry-After": {"description": "Seconds until it is worth trying again.",
            "schema": {"type": "integer", "minimum": 1}}})),
        _ => None,
    }
}

/// The parameters in a path.
fn segments(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let described = |name: &str| {
        let (about, schema) = match name {
            "source" => {
                ("The source, as the configuration names it.", json!({"type": "string", "minLength": 1}))
            }
            "key" => ("The source's key.", json!({"type": "string", "minLength": 1})),
            "slug" => ("The last segment of a problem's `type`.", json!({"type": "string", "minLength": 1})),
            "pool" | "name" => (
                "The target's name is its pool's and its own: `default/web`.",
                json!({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"}),
            ),
            _ => (
                "The job's id; where it has to do with dead letters, also the name of one, as in `letter-17`.",
                json!({"type": "string", "anyOf": [{"format": "uuid"}, {"pattern": "^letter-[0-9]+$"}]}),
            ),
        };
        json!({"in": "path", "name": name, "required": true, "description": about, "schema": schema})
    };
    names.map(described).collect()
}
