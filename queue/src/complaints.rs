//! What goes on failing is told once, and again every few minutes.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// How often it is said again: an outage of hours must not be one line of long ago.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(5 * 60);

/// What was said, and when. Its reasons may take turns.
#[derive(Debug, Default)]
pub struct Complaints(HashMap<String, Instant>);

impl Complaints {
    /// Whether a reason is to be said now; it is noted as said then.
    pub fn is_due(&mut self, reason: &str, now: Instant) -> bool {
        self.0.retain(|_, said| now.duration_since(*said) < SAY_AGAIN_AFTER);
        let is_due = !self.0.contains_key(reason);
        if is_due {
            self.0.insert(reason.to_owned(), now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_take_turns_are_each_said_once_and_again_after_minutes() {
        let (mut complaints, begin) = (Complaints::default(), Instant::now());
        let mut said = |reason, after| complaints.is_due(reason, begin + Duration::from_secs(after));
        assert_eq!(
            [said("reset", 0), said("alert", 1), said("reset", 2), said("alert", 3)],
            [true, true, false, false]
        );
        assert_eq!([said("reset", 299), said("reset", 300), said("reset", 301)], [false, true, false]);
    }
}
