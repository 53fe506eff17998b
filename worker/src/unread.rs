//! Messages that are no job this worker can read.

use std::time::Duration;

use proto::{Reason, Undecodable, reason};
use queue::{Delivery, Settlement};

use crate::verdict::chain;

/// How long a message from a newer version waits for a newer worker to take it.
const WAITS_FOR: Duration = Duration::from_secs(600);

/// Pause before it may be taken again.
const PAUSE: Duration = Duration::from_secs(30);

/// What is done with messages of no or newer words. Nothing is remembered here: how long a message has waited goes with the
/// message, since workers are restarted oftener than that. When it was accepted says nothing either: a backlog may be
/// older than any patience, and a message may name any time.
#[derive(Debug)]
pub(crate) struct Unread {
    waits_for: Duration,
    pause: Duration,
}

impl Default for Unread {
    fn default() -> Unread {
        Unread { waits_for: WAITS_FOR, pause: PAUSE }
    }
}

impl Unread {
    /// A message that is no job goes to the dead letters as it is; one from a newer version waits a while for a
    /// newer worker first.
    pub(crate) async fn set_aside(&self, delivery: Delivery, undecodable: &Undecodable) {
        let text = unreadable(undecodable);
        let is_newer = undecodable.is_from_a_newer_version();
        let settlement = if is_newer && delivery.set_aside() < self.waits_for {
            let waited_s = delivery.set_aside().as_secs();
            tracing::info!(why = text, waited_s, "a job for a newer worker waits");
            Settlement::SetAside { after: self.pause }
        } else {
            tracing::warn!(why = text, "a message goes to the dead letters");
            let code = if is_newer { reason::UNKNOWN_WORDS } else { reason::UNDECODABLE };
            Settlement::Dead { reason: Reason::new(code, text) }
        };
        if let Err(error) = delivery.settle(settlement).await {
            tracing::warn!(error = chain(&error), "could not be settled, the message comes again");
        }
    }
}

/// What is wrong with a body, in few words and without any of its own: it may hold anything, secrets too, and as much
/// of it as the sender liked.
fn unreadable(undecodable: &Undecodable) -> String {
    match undecodable {
        Undecodable::NotAJob(error) if error.is_data() => {
            "the message is not a job: it has not a job's fields".into()
        }
        Undecodable::NotAJob(error) => {
            format!("the message is not a job: not JSON at line {}, column {}", error.line(), error.column())
        }
        Undecodable::UnknownOperation(operation) if !is_a_name(operation) => {
            "the job asks for something that this worker does not know".into()
        }
        Undecodable::NewerVersion(_) | Undecodable::UnknownOperation(_) | Undecodable::UnknownGate(_) => {
            undecodable.to_string()
        }
    }
}

/// Whether it is one of those that operations have.
fn is_a_name(text: &str) -> bool {
    text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proto::{Job, PoolName};
    use queue::{DeadLetter, Queue, embedded::Embedded};

    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    /// A job with one field replaced.
    fn with(field: &str, value: &str) -> String {
        format!(r#"{{"version":1,"id":"x","operation":{{"type":"restart"}},"{field}":{value}}}"#)
    }

    #[test]
    fn what_is_told_of_a_body_is_short_and_none_of_it() {
        let secret = "hunter2 ".repeat(40_000);
        let quoted = format!("\"{secret}\"");
        let bodies = [
            secret.clone(),
            quoted.clone(),
            format!("{{\"version\":{quoted}}}"),
            with("id", &quoted),
            with("operation", &format!("{{\"type\":{quoted}}}")),
            with("gates", &format!("{{\"approve\":{quoted}}}")),
            with("gates", &format!("{{{quoted}:1}}")),
            with("target", &quoted),
        ];
        for body in bodies {
            let undecodable = Job::decode(body.as_bytes()).unwrap_err();
            let told = unreadable(&undecodable);
            assert!(told.len() < 200 && !told.contains("hunter2"), "{:.300}", told);
        }
    }

    #[test]
    fn what_a_newer_worker_knows_is_named() {
        let unknown = |body: &str| unreadable(&Job::decode(body.as_bytes()).unwrap_err());
        assert!(unknown(&with("operation", r#"{"type":"fly-away"}"#)).contains("`fly-away`"));
        assert!(unknown(r#"{"version":9}"#).contains("version 9"));
        assert!(unknown("{").contains("line 1, column 1"));
    }

    /// Lays aside whatever the queue gives, until nothing comes any more but the letters, and gives those. Each time it is
    /// another worker, with the queue as it finds it.
    async fn letters_of(body: &'static str, unread: impl Fn() -> Unread) -> (u32, Vec<DeadLetter>) {
        let directory = tempfile::tempdir().unwrap();
        let pool = PoolName::default();
        let queue = Embedded::open(directory.path()).unwrap();
        drop(queue.take(&pool, 1).await.unwrap());
        queue.publish_body(&pool, body.into()).await.unwrap();
        queue.close().await;
        drop(queue);
        let mut times = 0;
        loop {
            let queue = Embedded::open(directory.path()).unwrap();
            let letters = queue.letters_that(Arc::new(|_| true)).await.unwrap();
            if !letters.is_empty() {
                return (times, letters);
            }
            let mut taking = queue.take(&pool, 1).await.unwrap();
            let delivery = tokio::time::timeout(SOON, taking.next()).await.unwrap().unwrap();
            let undecodable = Job::decode(delivery.body()).unwrap_err();
            unread().set_aside(delivery, &undecodable).await;
            times += 1;
            queue.close().await;
        }
    }

    #[tokio::test]
    async fn a_job_of_a_newer_version_comes_again_until_it_is_laid_aside_as_it_came() {
        let newer = r#"{"version":9,"accepted_at":"2020-01-01T00:00:00Z"}"#;
        let brief = || Unread { waits_for: Duration::from_millis(500), pause: Duration::from_millis(200) };
        let (times, letters) = letters_of(newer, brief).await;
        assert_eq!(times, 4, "newer workers had three chances, however often the others began anew");
        assert_eq!((letters[0].reason.code.as_ref(), letters.len()), (reason::UNKNOWN_WORDS, 1));
        assert_eq!(letters[0].body, newer.as_bytes());
        // It took no attempt of anybody's.
        assert_eq!(letters[0].attempts, 1);
        let (times, letters) = letters_of("no job", Unread::default).await;
        assert_eq!((times, letters[0].reason.code.as_ref()), (1, reason::UNDECODABLE));
        assert_eq!(letters[0].body, b"no job".as_slice());
    }

    #[test]
    fn it_waits_ten_minutes_as_the_contract_says() {
        let Unread { waits_for, pause } = Unread::default();
        assert_eq!(waits_for, Duration::from_secs(600));
        assert!(waits_for.as_millis().is_multiple_of(pause.as_millis()), "and no longer than that");
    }
}
