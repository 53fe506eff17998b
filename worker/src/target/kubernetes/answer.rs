//! What an answer of an API server, or of what stands before it, or the want of one, means.

use serde_json::Value;

use crate::{
    target::{
        TargetError,
        certificates::is_of_certificates,
        wire::{Answer, Call, Failure, cut, is_html},
    },
    verdict::chain,
};

/// The object that a success holds. A success without one is none: what stands before an API server says `null` where
/// it hides the object.
pub(in crate::target) fn object(answer: Answer) -> Result<Value, Failure> {
    let status = answer.status;
    let retry_after = answer.retry_after;
    let body = answer.json()?;
    if !body.is_object() {
        return Err(Failure::Nonsense(format!("{} and no object: {body}", status.as_u16())));
    }
    // A refusal that lost its status on the way.
    if body["kind"] == "Status" && body["status"] == "Failure" {
        let code = body["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        let status = code.and_then(|code| reqwest::StatusCode::from_u16(code).ok()).unwrap_or(status);
        return Err(Failure::Answered(Answer { status, body: body.to_string(), retry_after }));
    }
    Ok(body)
}

/// The words of a refusal: those of a Kubernetes `Status`, of a Rancher's errors, or the text as it is.
pub(in crate::target) fn words(answer: &Answer) -> String {
    let body: Option<Value> = serde_json::from_str(&answer.body).ok();
    let said = ["message", "Message"].iter().find_map(|field| body.as_ref()?.get(field)?.as_str());
    cut(match said.filter(|said| !said.is_empty()) {
        Some(said) => said.to_owned(),
        None if body.is_some() || answer.body.trim().is_empty() => String::new(),
        None if is_html(&answer.body) => "a web page".to_owned(),
        None => answer.body.trim().to_owned(),
    })
}

/// The meaning of the failure of `call` at `system`.
pub(in crate::target) fn meaning(failure: Failure, system: &str, call: Call<'_>) -> TargetError {
    let system = system.to_owned();
    let attempted = call.attempted;
    match failure {
        Failure::NotAsked(error) => error,
        Failure::NotConnected(source) if is_of_certificates(&*source) => {
            TargetError::Untrusted { system, why: chain(&*source) }
        }
        Failure::NotConnected(source) => TargetError::Unreachable { system, source },
        Failure::Broken(_) | Failure::TimedOut if call.writes => TargetError::NoAnswer { system, attempted },
        Failure::Broken(source) => TargetError::Unreachable { system, source },
        Failure::TimedOut => {
            TargetError::Unreachable { system, source: format!("no answer when asked to {attempted}").into() }
        }
        Failure::Answered(answer) => answered(system, &answer, call),
        Failure::Nonsense(body) if is_html(&body) => no_api_server(system, attempted),
        Failure::Nonsense(body) => TargetError::BadAnswer { system, attempted, answer: cut(body) },
    }
}

/// The one place that knows what a status of an API server means.
fn answered(system: String, answer: &Answer, call: Call<'_>) -> TargetError {
    let attempted = call.attempted;
    let words = words(answer);
    let unavailable = |system: String, words: String| TargetError::Unavailable {
        system,
        answer: if words.is_empty() { format!("status {}", answer.status.as_u16()) } else { words },
        retry_after: answer.retry_after,
    };
    match answer.status.as_u16() {
        300..=399 => TargetError::Refused {
            system,
            attempted,
            answer: "it sends us elsewhere; give the address that it sends to".to_owned(),
        },
        400..=599 if is_denied_by_policy(&words) => TargetError::Refused { system, attempted, answer: words },
        401 => TargetError::CredentialsRefused { system, answer: if_any(words, "it does not know who asks") },
        403 => TargetError::CredentialsRefused { system, answer: if_any(words, "it may not be done") },
        404 if is_of_kubernetes(answer) => TargetError::NotFound { system, what: call.what.to_owned() },
        404 if is_html(&answer.body) => no_api_server(system, attempted),
        404 | 405 => TargetError::OtherServer {
            system,
            attempted,
            answer: format!(
                "it does not know how to ({}); check that the address leads to an API server of Kubernetes",
                if_any(words, "no such page")
            ),
        },
        409 => TargetError::Conflict,
        // How newer servers say that the object is another one by now.
        412 => TargetError::Conflict,
        408 | 429 | 500..=599 => unavailable(system, words),
        _ => TargetError::Refused { system, attempted, answer: if_any(words, "without a word") },
    }
}

/// Whether somebody in the cluster took the object apart and does not want it. Such a webhook chooses its own status,
/// and the next attempt will be told the same.
fn is_denied_by_policy(words: &str) -> bool {
    words.contains("denied the request") || words.contains("denied request")
}

/// Whether the server, or a Rancher, speaks of the object, and not what hands requests to its parts.
fn is_of_kubernetes(answer: &Answer) -> bool {
    let body: Option<Value> = serde_json::from_str(&answer.body).ok();
    let of = |body: &Value| {
        (body["kind"] == "Status" && (body["reason"] == "NotFound" || body["reason"].is_null()))
            || body["type"] == "error"
    };
    body.as_ref().is_some_and(of)
}

fn if_any(words: String, otherwise: &str) -> String {
    if words.is_empty() { otherwise.to_owned() } else { words }
}

fn no_api_server(system: String, attempted: &'static str) -> TargetError {
    let answer = "a web page came back instead of an answer; check that the address leads to the API server itself and \
                  not to something before it";
    TargetError::OtherServer { system, attempted, answer: answer.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::StatusCode;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            body: body.to_owned(),
            retry_after: Some(Duration::from_secs(3)),
        }
    }

    fn shown(status: u16, body: &str) -> String {
        use TargetError as E;
        let call = Call::write("update the workload", "deployment `web` in the namespace `shop`");
        let Err(failure) = object(answer(status, body)) else { return "an object".to_owned() };
        match meaning(failure, "k", call) {
            E::CredentialsRefused { answer, .. } => format!("credentials: {answer}"),
            E::NotFound { what, .. } => format!("missing: {what}"),
            E::Refused { answer, .. } => format!("refused: {answer}"),
            E::Unavailable { answer, retry_after: Some(after), .. } => {
                format!("unavailable for {}: {answer}", after.as_secs())
            }
            E::BadAnswer { answer, .. } => format!("nonsense: {answer}"),
            E::OtherServer { answer, .. } => format!("another server: {answer}"),
            E::Conflict => "conflict".to_owned(),
            other @ (E::Unreachable { .. }
            | E::Untrusted { .. }
            | E::GivenUp { .. }
            | E::NoPart { .. }
            | E::NoAnswer { .. }
            | E::Busy { .. }
            | E::ImageNotFound { .. }
            | E::Unavailable { .. }
            | E::Rewritten { .. }
            | E::Declined { .. }) => format!("{other:?}"),
        }
    }

    /// Bodies as recorded from kube-apiserver 1.12 and 1.36 and from Rancher 2.4.3.
    #[test]
    fn answers_are_told_apart_by_meaning() {
        for (status, body, expected) in [
            (200, r#"{"kind":"Deployment"}"#, "an object"),
            (200, "null", "nonsense: 200 and no object: null"),
            (200, "", "nonsense: 200 and no object: null"),
            (200, "[]", "nonsense: 200 and no object: []"),
            (200, "ok", "nonsense: ok"),
            (
                401,
                r#"{"kind":"Status","status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#,
                "credentials: Unauthorized",
            ),
            (
                401,
                r#"{"type":"error","status":"401","message":"must authenticate"}"#,
                "credentials: must authenticate",
            ),
            (401, "", "credentials: it does not know who asks"),
            (
                403,
                r#"{"kind":"Status","status":"Failure","message":"deployments.apps \"web\" is forbidden: User \"ci\" cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"shop\"","reason":"Forbidden","code":403}"#,
                "credentials: deployments.apps \"web\" is forbidden: User \"ci\" cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"shop\"",
            ),
            (
                403,
                r#"{"kind":"Status","message":"admission webhook \"policy.lan\" denied the request: no latest","code":403}"#,
                "refused: admission webhook \"policy.lan\" denied the request: no latest",
            ),
            (
                404,
                r#"{"kind":"Status","status":"Failure","message":"deployments.apps \"web\" not found","reason":"NotFound","code":404}"#,
                "missing: deployment `web` in the namespace `shop`",
            ),
            (
                404,
                r#"{"type":"error","status":404,"code":"NotFound","message":"failed to find type"}"#,
                "missing: deployment `web` in the namespace `shop`",
            ),
            (
                404,
                "404 page not found\n",
                "another server: it does not know how to (404 page not found); check that the address leads to an API server of Kubernetes",
            ),
            (409, r#"{"kind":"Status","reason":"Conflict","code":409}"#, "conflict"),
            // It was carried by a proxy that made a success of it.
            (200, r#"{"kind":"Status","status":"Failure","reason":"Conflict","code":409}"#, "conflict"),
            (
                422,
                r#"{"kind":"Status","message":"Deployment \"web\" is invalid"}"#,
                "refused: Deployment \"web\" is invalid",
            ),
            (
                429,
                r#"{"kind":"Status","message":"Too many requests"}"#,
                "unavailable for 3: Too many requests",
            ),
            (
                500,
                "failed to find Session for client stv-cluster-c",
                "unavailable for 3: failed to find Session for client stv-cluster-c",
            ),
            (
                503,
                r#"{"Code":{"Code":"ClusterUnavailable","Status":503},"Message":"cluster not found"}"#,
                "unavailable for 3: cluster not found",
            ),
            (504, "", "unavailable for 3: status 504"),
            (301, "", "refused: it sends us elsewhere; give the address that it sends to"),
        ] {
            assert_eq!(shown(status, body), expected, "{status} {body}");
        }
        assert!(shown(404, "<!DOCTYPE html><html>").contains("a web page came back"));
        assert!(shown(200, "<html>log in</html>").contains("a web page came back"));
    }

    #[test]
    fn a_write_without_an_answer_is_in_doubt_and_a_read_is_not() {
        let call = Call::write("update the workload", "it");
        assert!(matches!(meaning(Failure::TimedOut, "k", call), TargetError::NoAnswer { .. }));
        let call = Call::read("show the workload", "it");
        assert!(matches!(meaning(Failure::TimedOut, "k", call), TargetError::Unreachable { .. }));
    }
}
