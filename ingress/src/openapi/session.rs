//! The paths of sessions: log in, go on, log out, register.

use serde_json::{Value, json};

use super::operation::{Access, Operation};
use crate::problem::Kind;

/// All of them.
pub(super) fn operations() -> Vec<Operation> {
    let of = |access, method, path, id, summary| {
        let operation = Operation::new(access, (method, path), id, summary);
        operation.problems(&[Kind::BadQuery, Kind::Internal])
    };
    let show = of(Access::Token, "get", "/v1/session", "showSession", "Say who the caller is").answers(
        200,
        "Their name, and what they may do.",
        who(),
    );
    let log_in = of(Access::Anybody, "post", "/v1/session", "logIn", "Begin a session")
        .takes(true, fields(&["user", "password"], &[]))
        .answers(200, "Its two tokens.", pair())
        .problems(&[Kind::NotJson, Kind::BadJob, Kind::WrongPassword, Kind::TooManyAttempts]);
    let log_out = of(Access::Session, "delete", "/v1/session", "logOut", "End a session")
        .query("everywhere", "All sessions of the user.", json!({"type": "boolean"}))
        .answers_nothing(204, "It has ended.");
    let refresh =
        of(Access::Anybody, "post", "/v1/session/refresh", "refreshSession", "Go on with a session")
            .takes(true, fields(&["refresh_token"], &[]))
            .answers(200, "Two new tokens.", pair())
            .problems(&[
                Kind::NotJson,
                Kind::BadJob,
                Kind::WrongToken,
                Kind::ExpiredToken,
                Kind::SessionEnded,
            ]);
    let register =
        of(Access::Anybody, "post", "/v1/session/register", "register", "Enter oneself, where anybody may")
            .takes(true, fields(&["user", "password"], &["name", "phone"]))
            .answers(
                201,
                "The user, who can log in now.",
                json!({"type": "object", "required": ["user", "role"]}),
            )
            .problems(&[
                Kind::NotJson,
                Kind::BadJob,
                Kind::RegistrationClosed,
                Kind::UserExists,
                Kind::BadUser,
            ])
            .problems(&[Kind::TooManyAttempts]);
    vec![show, log_in, log_out, refresh, register]
}

/// An object of texts.
fn fields(required: &[&str], more: &[&str]) -> Value {
    let text = |name: &&str| ((*name).to_owned(), json!({"type": "string"}));
    let optional = |name: &&str| ((*name).to_owned(), json!({"type": ["string", "null"]}));
    let properties: serde_json::Map<String, Value> =
        required.iter().map(text).chain(more.iter().map(optional)).collect();
    json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
}

fn who() -> Value {
    json!({"type": "object", "required": ["name", "may"], "properties": {"name": {"type": "string"}}})
}

fn pair() -> Value {
    let seconds = json!({"type": "integer", "minimum": 1});
    json!({
        "type": "object",
        "required": ["token_type", "access_token", "expires_in", "refresh_token", "refresh_expires_in"],
        "properties": {
            "token_type": {"const": "Bearer"},
            "access_token": {"type": "string"},
            "expires_in": seconds.clone(),
            "refresh_token": {"type": "string"},
            "refresh_expires_in": seconds,
        },
    })
}
