//! Messages that are no job this worker can read.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use proto::{Reason, Undecodable, reason};
use queue::{Delivery, Settlement};

use crate::verdict::chain;

/// How long a message from a newer version waits for a newer worker to take it.
const WAITS_FOR: Duration = Duration::from_secs(600);

/// Pause before it may be taken again.
const PAUSE: Duration = Duration::from_secs(30);

/// Messages that are remembered at most; beyond, the one seen first is forgotten, and waits once more.
const MOST: usize = 10_000;

/// When each message from a newer version was seen first, by what it holds. By this worker: when it was accepted says
/// nothing, since a backlog may be older than any patience, and a message may name any time.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    first_seen: Mutex<HashMap<u64, Instant>>,
}

impl Unread {
    /// A message that is no job goes to the dead letters as it is; one from a newer version waits a while for a
    /// newer worker first.
    pub(crate) async fn set_aside(&self, delivery: Delivery, undecodable: &Undecodable) {
        let text = chain(undecodable);
        let is_newer = undecodable.is_from_a_newer_version();
        let settlement = if is_newer && self.waits(delivery.body(), Instant::now()) {
            tracing::info!(why = text, "a job for a newer worker waits");
            Settlement::Snooze { after: PAUSE }
        } else {
            tracing::warn!(why = text, "a message goes to the dead letters");
            let code = if is_newer { reason::UNKNOWN_WORDS } else { reason::UNDECODABLE };
            Settlement::Dead { reason: Reason::new(code, text) }
        };
        if let Err(error) = delivery.settle(settlement).await {
            tracing::warn!(error = chain(&error), "could not be settled, the message comes again");
        }
    }

    /// Whether a message of a newer version has to wait longer; forgotten once it has not.
    fn waits(&self, body: &[u8], now: Instant) -> bool {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let name = hasher.finish();
        let mut first_seen = self.first_seen.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *first_seen.entry(name).or_insert(now);
        let waits = now.duration_since(since) < WAITS_FOR;
        if !waits {
            first_seen.remove(&name);
        } else if first_seen.len() > MOST {
            let oldest = first_seen.iter().min_by_key(|(_, seen)| **seen).map(|(name, _)| *name);
            oldest.map(|oldest| first_seen.remove(&oldest));
        }
        waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_waits_ten_minutes_from_when_it_was_seen_first_whatever_it_says() {
        let (unread, begin) = (Unread::default(), Instant::now());
        for body in [r#"{"version":9,"accepted_at":"2020-01-01T00:00:00Z"}"#, r#"{"version":9}"#] {
            assert!(unread.waits(body.as_bytes(), begin), "{body}");
            assert!(unread.waits(body.as_bytes(), begin + WAITS_FOR / 2), "{body}");
            assert!(!unread.waits(body.as_bytes(), begin + WAITS_FOR), "{body}");
        }
        let future = r#"{"version":9,"accepted_at":"2190-01-01T00:00:00Z"}"#;
        assert!(unread.waits(future.as_bytes(), begin));
        assert!(!unread.waits(future.as_bytes(), begin + WAITS_FOR), "it does not wait for ever");
    }

    #[test]
    fn few_enough_are_remembered() {
        let (unread, begin) = (Unread::default(), Instant::now());
        for n in 0..=MOST {
            assert!(unread.waits(&n.to_le_bytes(), begin + Duration::from_millis(n as u64)));
        }
        assert_eq!(unread.first_seen.lock().unwrap().len(), MOST);
    }
}
