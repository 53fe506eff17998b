//! What an answer of Rancher, or of what stands before it, means. Its parts make errors of five shapes: its own API, its
//! login, its router of clusters, Kubernetes behind it, and plain text or web pages. Statuses in a body are numbers or
//! texts or missing; the HTTP status alone decides.

use serde_json::Value;

use crate::{
    target::{
        TargetError,
        certificates::is_of_certificates,
        wire::{Answer, Call, Failure, cut, is_html},
    },
    verdict::chain,
};

/// How the refusal of a key begins that is good, and is for one cluster: what is asked is another one's, or Rancher's.
pub(super) const OF_ONE_CLUSTER: &str = "the key is for a single cluster";

/// Which part of Rancher made an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Its own API, or its login.
    Rancher,
    /// What hands requests to clusters.
    Router,
    /// Kubernetes itself, behind it.
    Kubernetes,
    /// Nobody that can be told: no JSON, or JSON of another kind.
    Unknown,
}

/// Who speaks, by the shape of the body.
pub(super) fn part(answer: &Answer) -> Part {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    if body["kind"] == "Status" {
        Part::Kubernetes
    } else if body["Code"].is_object() && body["Message"].is_string() {
        Part::Router
    } else if body["type"] == "error" {
        Part::Rancher
    } else {
        Part::Unknown
    }
}

/// Its words, whatever the shape; empty where it has none.
pub(super) fn words(answer: &Answer) -> String {
    let body: Option<Value> = serde_json::from_str(&answer.body).ok();
    let field = |name: &str| {
        let text = body.as_ref()?.get(name)?.as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let text = field("message").or_else(|| field("Message"));
    cut(match text.or_else(|| code(body.as_ref()?)) {
        Some(text) => text,
        None if is_html(&answer.body) => "a web page".to_owned(),
        None if body.is_some() => String::new(),
        None => answer.body.trim().to_owned(),
    })
}

/// An error's name in Rancher's own API, or in its router's.
fn code(body: &Value) -> Option<String> {
    body["code"].as_str().or_else(|| body["Code"]["Code"].as_str()).map(str::to_owned)
}

/// The literal `null` where an object should be: of a project that the namespace is not in. A write answered so was
/// carried out all the same.
fn null(system: &str, answer: &Answer, call: Call<'_>) -> Option<TargetError> {
    (answer.body.trim() == "null").then(|| TargetError::NotFound {
        system: system.to_owned(),
        what: format!(
            "{} in that project (it answers `null`): the project's id is wrong, or the namespace is in another project",
            call.what
        ),
    })
}

/// The body of a success as JSON, or what else came.
pub(super) fn json(system: &str, answer: Answer, call: Call<'_>) -> Result<Value, TargetError> {
    if !answer.status.is_success() {
        return Err(meant(system, &answer, call));
    }
    if let Some(error) = null(system, &answer, call) {
        return Err(error);
    }
    serde_json::from_str(&answer.body).map_err(|_| no_json(system, &answer.body, call.attempted))
}

/// The meaning of a call that brought nothing.
pub(super) fn failed(system: &str, failure: Failure, call: Call<'_>) -> TargetError {
    let attempted = call.attempted;
    let of = || system.to_owned();
    match failure {
        Failure::NotAsked(error) => error,
        Failure::NotConnected(source) if is_of_certificates(&*source) => {
            TargetError::Untrusted { system: of(), why: chain(&*source) }
        }
        Failure::NotConnected(source) => TargetError::Unreachable { system: of(), source },
        Failure::Broken(_) | Failure::TimedOut if call.writes => {
            TargetError::NoAnswer { system: of(), attempted }
        }
        Failure::Broken(source) => TargetError::Unreachable { system: of(), source },
        Failure::TimedOut => TargetError::Unreachable {
            system: of(),
            source: format!("no answer when asked to {attempted}").into(),
        },
        Failure::Answered(answer) => meant(system, &answer, call),
        Failure::Nonsense(body) => no_json(system, &body, attempted),
    }
}

/// The one place that knows what a status of Rancher means.
pub(super) fn meant(system: &str, answer: &Answer, call: Call<'_>) -> TargetError {
    let words = words(answer);
    let (of, attempted) = (|| system.to_owned(), call.attempted);
    let refused = |answer: String| TargetError::Refused { system: of(), attempted, answer };
    let missing = |what: String| TargetError::NotFound { system: of(), what };
    let unavailable = |answer_of: String| TargetError::Unavailable {
        system: of(),
        answer: if answer_of.is_empty() { format!("status {}", answer.status.as_u16()) } else { answer_of },
        retry_after: answer.retry_after,
    };
    match answer.status.as_u16() {
        300..=399 => refused(
            "it sends us elsewhere; give the address that it sends to as `url`, with https".to_owned(),
        ),
        401 => TargetError::CredentialsRefused { system: of(), answer: unauthorized(words) },
        403 => TargetError::CredentialsRefused { system: of(), answer: forbidden(words) },
        404 if words.contains("self link not found") => missing(format!(
            "{} in that project: the project's id is wrong, or the namespace is in another project",
            call.what
        )),
        404 | 503 if is_no_cluster(&words) => missing(format!("{NO_CLUSTER} ({words})")),
        404 if is_html(&answer.body) => not_rancher(system, attempted),
        // Or what stands before it does not reach it.
        404 if part(answer) == Part::Unknown => {
            let answer = "this version of Rancher does not know how to".to_owned();
            TargetError::OtherServer { system: of(), attempted, answer }
        }
        404 => missing(call.what.to_owned()),
        405 => refused("this version of Rancher does not know how to".to_owned()),
        408 | 429 => unavailable(words),
        409 => TargetError::Conflict,
        500..=599 if is_no_tunnel(answer) => {
            unavailable(format!("the cluster's own agent is not connected to Rancher ({words})"))
        }
        500..=599 => unavailable(words),
        _ => refused(if words.is_empty() { format!("status {}", answer.status.as_u16()) } else { words }),
    }
}

/// All that is wrong with a key looks alike, except one that is for a single cluster.
fn unauthorized(words: String) -> String {
    if words.contains("clusterID does not match") {
        return format!("{OF_ONE_CLUSTER}, and not for this ({words})");
    }
    let words = if words.is_empty() { "status 401".to_owned() } else { words };
    format!("{words}: the key is mistyped, has expired or was deleted, or its user was disabled")
}

fn forbidden(words: String) -> String {
    let words = if words.is_empty() { "status 403".to_owned() } else { words };
    format!("{words}: the key's user may not; make it a member of the workload's project")
}

/// How what is missing begins where it is the cluster.
pub(super) const NO_CLUSTER: &str = "such cluster";

/// A cluster that there is none of looks like one that is away, and never comes back.
pub(super) fn is_no_cluster(words: &str) -> bool {
    words.starts_with("cluster") && words.contains(".management.cattle.io") && words.contains("not found")
}

fn is_no_tunnel(answer: &Answer) -> bool {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    code(&body).as_deref() == Some("ClusterUnavailable")
        || answer.body.contains("failed to find Session for client")
}

fn no_json(system: &str, body: &str, attempted: &'static str) -> TargetError {
    if is_html(body) {
        return not_rancher(system, attempted);
    }
    TargetError::BadAnswer { system: system.to_owned(), attempted, answer: cut(body.to_owned()) }
}

pub(super) fn not_rancher(system: &str, attempted: &'static str) -> TargetError {
    let answer = "a web page came back instead of an answer; check that `url` leads to Rancher itself and not to \
                  something before it";
    TargetError::OtherServer { system: system.to_owned(), attempted, answer: answer.to_owned() }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    const CALL: Call<'static> = Call::read("show the workload", "deployment `s1`");

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status: StatusCode::from_u16(status).unwrap(), body: body.to_owned(), retry_after: None }
    }

    fn shown(status: u16, body: &str) -> String {
        match json("r", answer(status, body), CALL).unwrap_err() {
            TargetError::CredentialsRefused { answer, .. } => format!("credentials: {answer}"),
            TargetError::NotFound { what, .. } => format!("missing: {what}"),
            TargetError::Refused { answer, .. } => format!("refused: {answer}"),
            TargetError::Unavailable { answer, .. } => format!("unavailable: {answer}"),
            TargetError::BadAnswer { answer, .. } => format!("nonsense: {answer}"),
            TargetError::OtherServer { answer, .. } => format!("another server: {answer}"),
            TargetError::Conflict => "conflict".to_owned(),
            other @ (TargetError::Unreachable { .. }
            | TargetError::Untrusted { .. }
            | TargetError::GivenUp { .. }
            | TargetError::NoPart { .. }
            | TargetError::NoAnswer { .. }
            | TargetError::Busy { .. }
            | TargetError::ImageNotFound { .. }
            | TargetError::Rewritten { .. }
            | TargetError::Declined { .. }) => format!("{other:?}"),
        }
    }

    /// Bodies as recorded from 2.4.3, or as the issues of later versions show them.
    #[test]
    fn the_five_shapes_are_told_apart_by_meaning() {
        const NO_CLUSTER: &str = r#"{"Code":{"Code":"NotFound","Status":404},"Message":"clusters.management.cattle.io \"c-zzzzz\" not found","Cause":null,"FieldName":""}"#;
        for (status, body, said) in [
            // The login's: a status that is a text, and no code.
            (
                401,
                r#"{"type":"error","status":"401","message":"must authenticate"}"#,
                "credentials: must authenticate: the key is mistyped",
            ),
            (
                401,
                r#"{"type":"error","status":"401","message":"clusterID does not match"}"#,
                "credentials: the key is for a single cluster, and not for this",
            ),
            // Rancher's own API.
            (
                404,
                r#"{"baseType":"error","code":"NotFound","message":"deployments.apps \"nope\" not found","status":404,"type":"error"}"#,
                "missing: deployment `s1`",
            ),
            (
                404,
                r#"{"type":"error","status":404,"code":"NotFound","message":"self link not found"}"#,
                "missing: deployment `s1` in that project: the project's id is wrong",
            ),
            (
                405,
                r#"{"type":"error","status":405,"code":"MethodNotAllow","message":"Method PATCH not supported"}"#,
                "refused: this version of Rancher does not know how to",
            ),
            (409, r#"{"type":"error","status":409,"code":"Conflict","message":"x"}"#, "conflict"),
            (
                422,
                r#"{"type":"error","status":422,"code":"InvalidBodyContent","message":"Failed to parse body: unexpected EOF"}"#,
                "refused: Failed to parse body: unexpected EOF",
            ),
            (
                503,
                r#"{"baseType":"error","code":"ClusterUnavailable","message":"cluster.management.cattle.io \"c-zzzzz\" not found","status":503,"type":"error"}"#,
                "missing: such cluster (cluster.management.cattle.io \"c-zzzzz\" not found)",
            ),
            (
                503,
                r#"{"type":"error","status":503,"code":"ClusterUnavailable","message":"cluster not ready"}"#,
                "unavailable: the cluster's own agent is not connected",
            ),
            // The router of clusters.
            (404, NO_CLUSTER, "missing: such cluster (clusters.management.cattle.io \"c-zzzzz\" not found)"),
            (
                403,
                r#"{"Code":{"Code":"Forbidden","Status":403},"Message":"","Cause":null,"FieldName":""}"#,
                "credentials: Forbidden: the key's user may not",
            ),
            // Text and web pages.
            (
                500,
                "failed to find Session for client stv-cluster-c-abcde",
                "unavailable: the cluster's own agent is not connected",
            ),
            (502, "<html><body>Bad Gateway</body></html>", "unavailable: a web page"),
            (504, "", "unavailable: status 504"),
            (400, "400 Bad Request", "refused: 400 Bad Request"),
            (301, "", "refused: it sends us elsewhere"),
            (404, "<!DOCTYPE html>", "another server: a web page came back"),
            (404, "404 page not found\n", "another server: this version of Rancher does not know how to"),
            (200, "<!DOCTYPE html>", "another server: a web page came back"),
            (200, "ok then", "nonsense: ok then"),
            (200, "null", "missing: deployment `s1` in that project (it answers `null`)"),
        ] {
            assert!(shown(status, body).starts_with(said), "{status} {body}\n{}", shown(status, body));
        }
    }

    #[test]
    fn who_speaks_is_told_by_the_shape() {
        for (body, speaks) in [
            (r#"{"kind":"Status","status":"Failure","reason":"Conflict","code":409}"#, Part::Kubernetes),
            (r#"{"type":"error","status":"401","message":"must authenticate"}"#, Part::Rancher),
            (r#"{"Code":{"Code":"NotFound"},"Message":""}"#, Part::Router),
            ("404 page not found", Part::Unknown),
            ("null", Part::Unknown),
        ] {
            assert_eq!(part(&answer(404, body)), speaks, "{body}");
        }
    }
}
