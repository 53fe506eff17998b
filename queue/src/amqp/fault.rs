//! What the broker's errors mean to us.

use std::{future::Future, time::Duration};

use lapin::{
    ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
};

use crate::QueueError;

/// Longest wait for the broker's answer to anything but a publish.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Waits for an answer of the broker, but not for ever.
pub(super) async fn within<T>(
    attempted: &'static str,
    asked: impl Future<Output = Result<T, QueueError>>,
) -> Result<T, QueueError> {
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(answer) => answer,
        Err(elapsed) => Err(QueueError::Unavailable { attempted, source: elapsed.into() }),
    }
}

/// The broker could not be asked, or the connection broke before it answered.
pub(super) fn unavailable(attempted: &'static str, error: lapin::Error) -> QueueError {
    QueueError::Unavailable { attempted, source: error.into() }
}

/// An error of a call about the exchange or queue `name`: a refusal is final, all else passes.
pub(super) fn refused_or_away(name: &str, attempted: &'static str, error: lapin::Error) -> QueueError {
    match refusal(&error) {
        Some(answer) => QueueError::Topology { name: name.to_owned(), answer },
        None => unavailable(attempted, error),
    }
}

/// The broker's words when it says that the names or rights are wrong, which no repetition mends.
pub(super) fn refusal(error: &lapin::Error) -> Option<String> {
    let ErrorKind::ProtocolError(error) = error.kind() else { return None };
    match error.kind() {
        AMQPErrorKind::Soft(
            AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::ACCESSREFUSED | AMQPSoftError::RESOURCELOCKED,
        )
        | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED | AMQPHardError::NOTIMPLEMENTED) => {
            Some(error.get_message().to_string())
        }
        AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => None,
    }
}

/// The broker's words when a message can never be published: what [`refusal`] knows, and a message that it cannot
/// read at all. That one closes the whole connection, and would do so again on the next.
pub(super) fn message_refusal(error: &lapin::Error) -> Option<String> {
    refusal(error).or_else(|| {
        let ErrorKind::ProtocolError(error) = error.kind() else { return None };
        matches!(error.kind(), AMQPErrorKind::Hard(AMQPHardError::FRAMEERROR | AMQPHardError::SYNTAXERROR))
            .then(|| error.get_message().to_string())
    })
}

/// Whether there is nothing by the name that was asked for.
pub(super) fn is_unknown(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error)
        if matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)))
}

/// Whether another connection holds what was asked for.
pub(super) fn is_held_elsewhere(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error)
        if matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED)))
}

/// Whether the broker does not let us in. That it has as many connections as it may passes.
pub(super) fn is_login_refused(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error)
    if !error.get_message().as_str().contains("limit") && matches!(
        error.kind(),
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
    ))
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    fn error(kind: AMQPErrorKind) -> lapin::Error {
        ErrorKind::ProtocolError(AMQPError::new(kind, "frame_too_large".into())).into()
    }

    #[test]
    fn a_limit_of_connections_is_no_refusal() {
        let not_allowed = |text: &str| -> lapin::Error {
            let kind = AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED);
            ErrorKind::ProtocolError(AMQPError::new(kind, text.into())).into()
        };
        assert!(is_login_refused(&not_allowed("NOT_ALLOWED - vhost nowhere not found")));
        let full =
            "NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (2) is reached";
        assert!(!is_login_refused(&not_allowed(full)));
    }

    #[test]
    fn what_closed_the_connection_is_not_sent_again() {
        for kind in [AMQPHardError::FRAMEERROR, AMQPHardError::SYNTAXERROR, AMQPHardError::NOTALLOWED] {
            let refused = message_refusal(&error(AMQPErrorKind::Hard(kind)));
            assert_eq!(refused.as_deref(), Some("frame_too_large"));
        }
        let passing = error(AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED));
        assert_eq!(message_refusal(&passing), None);
    }
}
