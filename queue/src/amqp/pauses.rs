//! How long to wait before the broker is reached for again.

use std::time::Duration;

use tokio::time::Instant;

const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause while the outage is young: who comes back within minutes is found within a second.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause in an outage that lasts: however long it was, service is back within five seconds.
const LONGEST_PAUSE_LATER: Duration = Duration::from_secs(3);

const YOUNG: Duration = Duration::from_secs(120);

/// The pauses of one outage.
pub(super) struct Pauses {
    since: Instant,
    next: Duration,
}

impl Pauses {
    pub(super) fn begin() -> Pauses {
        Pauses { since: Instant::now(), next: SHORTEST_PAUSE }
    }

    /// The next pause, with a random part so that a fleet does not come back in one moment.
    pub(super) fn next(&mut self) -> Duration {
        self.next_in(self.since.elapsed())
    }

    fn next_in(&mut self, outage: Duration) -> Duration {
        let longest = if outage < YOUNG { LONGEST_PAUSE } else { LONGEST_PAUSE_LATER };
        let pause = self.next.min(longest);
        self.next = (pause * 2).min(longest);
        pause.mul_f64(rand::random_range(0.5..1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_second_and_later_to_three() {
        let mut pauses = Pauses::begin();
        let early: Vec<Duration> = (0..20).map(|_| pauses.next_in(Duration::from_secs(5))).collect();
        assert!(early[0] <= SHORTEST_PAUSE && early[0] >= SHORTEST_PAUSE / 2, "{early:?}");
        assert!(early.iter().all(|pause| *pause <= LONGEST_PAUSE), "{early:?}");
        assert!(early[19] >= LONGEST_PAUSE / 2, "{early:?}");
        let late: Vec<Duration> = (0..20).map(|_| pauses.next_in(YOUNG)).collect();
        assert!(late.iter().all(|pause| *pause <= LONGEST_PAUSE_LATER), "{late:?}");
        assert!(late[19] >= LONGEST_PAUSE_LATER / 2, "{late:?}");
    }
}
