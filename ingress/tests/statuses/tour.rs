//! The operations that the description has, asked one by one.

use std::collections::BTreeSet;

use axum::body::Bytes;
use serde_json::Value;

use crate::{
    JSON, NOBODY,
    support::{
        Server, TOKEN,
        http::{self, Answer, Call},
    },
};

/// What was asked of which servers, and what was answered.
pub(crate) struct Tour {
    document: Value,
    pub(crate) seen: BTreeSet<(String, u16)>,
}

/// A method of a path.
#[derive(Clone)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: String,
    pub(crate) path: String,
    codes: Vec<u16>,
}

impl Tour {
    pub(crate) fn new() -> Tour {
        Tour { document: ingress::openapi::document(), seen: BTreeSet::new() }
    }

    pub(crate) fn operations(&self) -> Vec<Operation> {
        let paths = self.document["paths"].as_object().unwrap().iter();
        let methods = paths.flat_map(|(path, methods)| {
            methods.as_object().unwrap().iter().map(move |(method, described)| (path, method, described))
        });
        let of = |(path, method, described): (&String, &String, &Value)| Operation {
            id: described["operationId"].as_str().unwrap().to_owned(),
            method: method.to_uppercase(),
            path: path.clone(),
            codes: described["responses"]
                .as_object()
                .unwrap()
                .keys()
                .map(|code| code.parse().unwrap())
                .collect(),
        };
        methods.map(of).collect()
    }

    pub(crate) fn operation(&self, id: &str) -> Operation {
        self.operations().into_iter().find(|operation| operation.id == id).unwrap()
    }

    /// Those that may answer so.
    pub(crate) fn that_answer(&self, code: u16) -> Vec<Operation> {
        self.operations().into_iter().filter(|operation| operation.codes.contains(&code)).collect()
    }

    /// Asks, and notes what is answered; it has to be one of the answers that are described.
    pub(crate) async fn ask(&mut self, server: &Server, operation: &Operation, call: Call) -> Answer {
        let answer = match operation.id.starts_with("follow") {
            true => begun(server, call).await,
            false => http::send(server.address, call).await.unwrap(),
        };
        self.seen.insert((operation.id.clone(), answer.status));
        answer
    }

    /// The same, where only this may be the answer.
    pub(crate) async fn gets(
        &mut self,
        server: &Server,
        id: &str,
        path: &str,
        body: &str,
        code: u16,
    ) -> Answer {
        let operation = self.operation(id);
        let call = Call::new(&operation.method, path, body.to_owned()).bearer(TOKEN);
        let answer = self.ask(server, &operation, call).await;
        assert_eq!(answer.status, code, "{id} {path}: {}", answer.text());
        answer
    }

    /// What is described and was never answered.
    pub(crate) fn unseen(&self) -> Vec<(String, u16)> {
        let all = self.operations().into_iter();
        let each = all.flat_map(|operation| {
            let id = operation.id.clone();
            operation.codes.into_iter().map(move |code| (id.clone(), code))
        });
        each.filter(|one| !self.seen.contains(one)).collect()
    }
}

impl Operation {
    /// Its path, with what is there, or what is not.
    pub(crate) fn at(&self, source: &str, job: &str, target: &str) -> String {
        let named = self.path.replace("{source}", source).replace("{key}", "sesame").replace("{id}", job);
        named.replace("{pool}", "default").replace("{name}", target).replace("{slug}", "bad-image")
    }

    /// A source that has to do with it; `keyed` ones ask for a key.
    pub(crate) fn source(&self, keyed: bool) -> &'static str {
        match (self.method.as_str(), keyed) {
            ("GET", false) => "look",
            ("GET", true) => "looked",
            ("OPTIONS", false) => "bus",
            ("OPTIONS", true) => "asked",
            (_, false) => "demo",
            (_, true) => "keyed",
        }
    }

    pub(crate) fn usual(&self) -> String {
        self.at(self.source(false), NOBODY, "demo")
    }

    pub(crate) fn call(&self, path: &str) -> Call {
        // What needs none takes only its own words.
        let plain = ["createJobs", "planTarget", "holdTarget", "findTargets"].contains(&self.id.as_str());
        let body = if plain || self.path.starts_with("/hooks/") { JSON } else { "" };
        Call::new(&self.method, path, body).header("webhook-request-origin", "x.example.org")
    }
}

/// The head of an answer that may be a stream without an end.
async fn begun(server: &Server, call: Call) -> Answer {
    let (head, body) = http::open(server.address, call).await.unwrap().into_parts();
    drop(body);
    Answer { status: head.status.as_u16(), headers: head.headers, body: Bytes::new() }
}
