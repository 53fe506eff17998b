//! Whether the history reaches back as far as workers must look.
//!
//! Its declared retention is compared when it is declared; a policy of the broker, or its bound in bytes, may cut it
//! shorter all the same, and only its oldest entry tells.

use std::{sync::Weak, time::Duration};

use jiff::Timestamp;

use super::{Broker, history::StreamHistory};
use crate::{Entry, History, QueueError, Recorded, Since, settings::SPAN};

/// Pause before the history is looked at again where it could not be.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Longest wait for an entry: a history without any is not cut short.
const ENTRY_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked: somebody may set a policy at any time, and a history fills.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Looks as soon as the broker answers, and from then on daily, and warns.
pub(super) async fn look(broker: Weak<Broker>) {
    loop {
        let Some(broker) = broker.upgrade() else { return };
        let oldest = tokio::select! {
            oldest = oldest_event(&broker) => oldest,
            () = broker.supervisor.stopped() => return,
        };
        drop(broker);
        let pause = match oldest {
            Ok(oldest) => {
                warn_of(oldest);
                LOOKED_AT_EVERY
            }
            Err(error) if error.is_passing() => LOOK_AGAIN_AFTER,
            // Whoever reads it is told, and tells.
            Err(_) => LOOKED_AT_EVERY,
        };
        tokio::time::sleep(pause).await;
    }
}

/// The place where the history begins, and the time of its first event.
async fn oldest_event(broker: &Broker) -> Result<Option<(u64, Timestamp)>, QueueError> {
    let mut history = StreamHistory::open(broker, Since::Start).await?;
    let mut begins = None;
    loop {
        let Ok(next) = tokio::time::timeout(ENTRY_WITHIN, history.next()).await else { return Ok(None) };
        let Recorded { position, entry } = next?;
        let begins = *begins.get_or_insert(position.0);
        if let Entry::Event(event) = entry {
            return Ok(Some((begins, event.time)));
        }
    }
}

fn warn_of(oldest: Option<(u64, Timestamp)>) {
    if let Some((_, time)) = oldest.filter(|(begins, time)| is_cut_short(*begins, *time, Timestamp::now())) {
        tracing::warn!(
            oldest = %time,
            "the history is cut off before {} days: wishes and holds that are older may be forgotten. Give it more room: \
             look at `keep.history` in the configuration, and for a policy of the broker that limits its age or bytes",
            SPAN.as_secs() / (24 * 60 * 60)
        );
    }
}

/// `begins`: the place of the first entry that is left. A history that lost nothing begins at 0.
fn is_cut_short(begins: u64, oldest: Timestamp, now: Timestamp) -> bool {
    begins > 0 && oldest > now - SPAN
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_history_that_lost_what_is_needed_is_known_by_its_oldest_entry() {
        let now = Timestamp::now();
        let before = |days: i64| now - SignedDuration::from_hours(24 * days);
        assert!(!is_cut_short(0, before(1), now), "it is young");
        assert!(is_cut_short(5, before(1), now));
        assert!(is_cut_short(5, before(8), now));
        assert!(!is_cut_short(5, before(10), now));
    }
}
