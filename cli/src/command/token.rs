//! `longshore token`: who may call the API and hooks, by the file that every running Longshore reads.

use std::path::Path;

use config::Document;
use ingress::{
    Scope, TOKENS_FILE,
    tokens::{self, TokenError, TokenRecord},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    accounts,
    arguments::{CreateToken, Expiry, Reach, Token},
    exit::Exit,
    failure::{Failure, with_causes},
    output::{Output, table},
};

/// A token as it is listed; of its hash nothing.
#[derive(Debug, Serialize)]
struct Listed {
    id: String,
    name: String,
    targets: Vec<String>,
    operations: Vec<String>,
    sources: Vec<String>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    expired: bool,
}

/// A token that was just made.
#[derive(Debug, Serialize)]
struct Made<'a> {
    id: &'a str,
    name: &'a str,
    token: &'a str,
    expires_at: Option<Timestamp>,
}

pub(crate) fn run(token: &Token, output: Output) -> Result<Exit, Failure> {
    match token {
        Token::Create(create) => make(create, output),
        Token::List { reach } => list(reach, output),
        Token::Revoke { name, reach } => {
            let removed = tokens::revoke(&accounts::file(reach, "tokens_file", TOKENS_FILE)?, name);
            let removed = removed.map_err(|error| failed(&error))?;
            let text = || format!("revoked `{}`: within a second it opens nothing", removed.name);
            output.document(&serde_json::json!({"revoked": removed.name}), text);
            Ok(Exit::Succeeded)
        }
    }
}

fn make(create: &CreateToken, output: Output) -> Result<Exit, Failure> {
    let file = accounts::file(&create.reach, "tokens_file", TOKENS_FILE)?;
    let expires_at = match create.expires {
        Expiry::Never => None,
        Expiry::After(span) => Some(after(span)?),
    };
    let is_new = accounts::is_new(&file);
    let scope = scope(create)?;
    let unknown = sources_unknown(&scope, create)?;
    let made = tokens::create(&file, &create.name, scope, expires_at).map_err(|error| failed(&error))?;
    let (name, token) = (create.name.as_str(), made.token.expose());
    output.document(&Made { id: &made.id, name, token, expires_at }, || shown(token, expires_at, &file));
    for source in unknown {
        eprintln!(
            "note: no source is called `{source}` in the configuration: the token opens none until there is one"
        );
    }
    if is_new {
        accounts::say_where(&file);
    }
    Ok(Exit::Succeeded)
}

/// The names, or patterns, by which no source of the configuration is called; none where no file is named.
fn sources_unknown(scope: &Scope, create: &CreateToken) -> Result<Vec<String>, Failure> {
    if create.reach.config.is_empty() {
        return Ok(Vec::new());
    }
    let document = Document::load(&create.reach.config)?;
    let sources = document.root().get("sources");
    let names: Vec<&str> =
        sources.into_iter().flat_map(|node| node.entries().map(|(key, _)| key.text.as_str())).collect();
    let is_unknown = |pattern: &&String| {
        let one = Scope { sources: vec![(*pattern).clone()], ..Scope::default() };
        !names.iter().any(|name| one.opens(name))
    };
    Ok(scope.sources.iter().filter(is_unknown).cloned().collect())
}

/// What the token may do; a slip must not make one that may do everything.
fn scope(create: &CreateToken) -> Result<Scope, Failure> {
    let hooks_only = create.operations.is_empty() && !create.sources.is_empty();
    let targets = match (create.targets.is_empty(), hooks_only) {
        (true, true) => vec!["*".to_owned()],
        (true, false) => {
            return Err(Failure::setup(
                "it is not said for which targets the token is",
                "add `--target web`, or `--target '*'` for all",
            ));
        }
        (false, _) => create.targets.clone(),
    };
    if create.operations.is_empty() && create.sources.is_empty() {
        return Err(Failure::setup(
            "it is not said what the token may do",
            "add `--operation set-image`, `--operation read`, or `--operation '*'` for everything; `--source NAME` for a hook",
        ));
    }
    Ok(Scope { targets, operations: create.operations.clone(), sources: create.sources.clone() })
}

fn after(span: config::Span) -> Result<Timestamp, Failure> {
    let span = SignedDuration::try_from(span.0).ok();
    let until = span.and_then(|span| Timestamp::now().checked_add(span).ok());
    until.ok_or_else(|| Failure::setup("that time is too far ahead", "write `--expires never`"))
}

fn shown(token: &str, expires_at: Option<Timestamp>, file: &Path) -> String {
    let until = expires_at.map_or("for ever".to_owned(), |until| format!("until {}", day(until)));
    format!(
        "{token}\n\nIt opens {until}, and is shown this once: only its hash is in `{}`.\n\
         Give it to what uses it as LONGSHORE_TOKEN, or as `Authorization: Bearer …`.",
        file.display()
    )
}

fn list(reach: &Reach, output: Output) -> Result<Exit, Failure> {
    let found = tokens::list(&accounts::file(reach, "tokens_file", TOKENS_FILE)?);
    let now = Timestamp::now();
    let listed = found.map_err(|error| failed(&error))?.into_iter().map(|(id, token)| listed(id, token, now));
    let listed: Vec<Listed> = listed.collect();
    output.document(&listed, || {
        if listed.is_empty() {
            return "there is no token; `longshore token create --help` shows how one is made".to_owned();
        }
        let rows = listed.iter().map(|token| {
            let until = match (token.expired, token.expires_at) {
                (true, _) => "expired".to_owned(),
                (false, None) => "never".to_owned(),
                (false, Some(until)) => day(until),
            };
            let (targets, operations) = (token.targets.join(","), token.operations.join(","));
            [token.name.clone(), token.id.clone(), targets, operations, token.sources.join(","), until]
        });
        table(["NAME", "ID", "TARGETS", "OPERATIONS", "SOURCES", "EXPIRES"], rows)
    });
    Ok(Exit::Succeeded)
}

fn listed(id: String, token: TokenRecord, now: Timestamp) -> Listed {
    let TokenRecord { name, targets, operations, sources, created_at, expires_at, .. } = token;
    let expired = expires_at.is_some_and(|until| until <= now);
    Listed { id, name, targets, operations, sources, created_at, expires_at, expired }
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

fn failed(error: &TokenError) -> Failure {
    Failure::setup(with_causes(error), error.hint())
}
