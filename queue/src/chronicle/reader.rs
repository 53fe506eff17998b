//! The one who reads for ever.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{Course, Waiting};
use crate::{History, Position, Queue, QueueError, Recorded, Since};

/// Pause before the history is opened again after it was cut off.
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// Pause where waiting mends nothing: somebody has to change something first.
const REOPEN_REFUSED_AFTER: Duration = Duration::from_secs(5);

/// Reads for ever.
pub(super) struct Reader {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) course: Arc<Course>,
}

/// Why a reader stopped.
enum Stopped {
    /// It was cut off.
    CutOff(QueueError),
    /// What was said is not seen, nor is anything else.
    Deaf,
}

impl Reader {
    /// A reader that is cut off, or sees nothing any more, is opened again behind the last entry read. One that still
    /// sees nothing there begins anew: a history that was deleted and made again counts from the beginning, below the
    /// last entry read.
    pub(super) async fn keep_reading(self, begin: Since, mut read: impl FnMut(&Recorded) + Send) {
        let (begin, mut since) = (Begin::at(begin), begin);
        let (mut doubted, mut refusals) = (None::<Since>, Refusals::default());
        loop {
            let mut pause = REOPEN_AFTER;
            match self.read_on(&mut since, &mut read).await {
                Stopped::CutOff(QueueError::Closed) => return,
                Stopped::CutOff(error) => pause = refusals.tell(&error),
                Stopped::Deaf if doubted == Some(since) => {
                    tracing::warn!(
                        "nothing is seen in the history any more, reading it again: if it was deleted and made anew, from its begin"
                    );
                    since = begin.anew(since);
                    doubted = None;
                }
                Stopped::Deaf => {
                    tracing::debug!("nothing is seen in the history, opening it again");
                    doubted = Some(since);
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn read_on(&self, since: &mut Since, read: &mut (impl FnMut(&Recorded) + Send)) -> Stopped {
        let mut history = match self.queue.history(*since).await {
            Ok(history) => history,
            Err(error) => return Stopped::CutOff(error),
        };
        self.course.opened();
        loop {
            match self.next_of(&mut *history).await {
                Ok(recorded) if already_read(*since, recorded.position) => {}
                Ok(recorded) => {
                    *since = Since::After(recorded.position);
                    self.course.read(&recorded);
                    read(&recorded);
                    self.waiting.tell(&recorded);
                }
                Err(stopped) => return stopped,
            }
        }
    }

    /// The next entry, unless the reader is doubted while it waits. A doubt that what was read since has settled does not
    /// give up the waiting: an entry half-way here would be lost with it.
    async fn next_of(&self, history: &mut dyn History) -> Result<Recorded, Stopped> {
        let mut next = history.next();
        loop {
            tokio::select! {
                biased;
                next = &mut next => return next.map_err(Stopped::CutOff),
                () = self.course.unseen.notified() => {
                    if self.course.is_doubted() {
                        return Err(Stopped::Deaf);
                    }
                }
            }
        }
    }
}

/// Where a reader began.
#[derive(Debug, Clone, Copy)]
struct Begin {
    since: Since,
    /// How far back that was then.
    window: SignedDuration,
}

impl Begin {
    fn at(since: Since) -> Begin {
        let window = match since {
            Since::Time(time) | Since::Clock(time) => Timestamp::now().duration_since(time),
            Since::Start | Since::After(_) => SignedDuration::ZERO,
        };
        Begin { since, window }
    }

    /// Where to begin anew: as far back as at first, and no further however long ago that was. A time from which nothing
    /// at all was seen may lie ahead of the broker's clock, where a history shows nothing, not even what is said later.
    fn anew(self, reached: Since) -> Since {
        match (reached, self.since) {
            (Since::Time(_) | Since::Clock(_), _) => Since::Start,
            (Since::Start | Since::After(_), Since::Time(first)) => Since::Time(self.moved(first)),
            (Since::Start | Since::After(_), Since::Clock(first)) => Since::Clock(self.moved(first)),
            (Since::Start | Since::After(_), begin @ (Since::Start | Since::After(_))) => begin,
        }
    }

    fn moved(self, first: Timestamp) -> Timestamp {
        Timestamp::now().checked_sub(self.window).map_or(first, |now| now.max(first))
    }
}

/// An engine may begin somewhat before the place asked for.
fn already_read(since: Since, position: Position) -> bool {
    matches!(since, Since::After(last) if position <= last)
}

/// What kept a reader from the history, told aloud once for each cause: whoever waits to see something there is only
/// told that it does not come.
#[derive(Debug, Default)]
struct Refusals {
    told: Option<String>,
}

impl Refusals {
    /// Tells of an error, and how long to wait after it.
    fn tell(&mut self, error: &QueueError) -> Duration {
        let source = error as &dyn std::error::Error;
        if error.is_passing() {
            tracing::debug!(error = source, "the history was cut off, opening it again");
            return REOPEN_AFTER;
        }
        let cause = error.to_string();
        if self.told.as_ref() == Some(&cause) {
            tracing::debug!(error = source, "the history still cannot be read");
        } else {
            tracing::warn!(
                error = source,
                "the history cannot be read, nothing is seen of any job; trying again"
            );
            self.told = Some(cause);
        }
        REOPEN_REFUSED_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::ear::Ear;

    #[test]
    fn who_begins_anew_reads_no_further_back_than_at_first() {
        let (now, window) = (Timestamp::now(), SignedDuration::from_hours(25));
        let first = now - SignedDuration::from_hours(21 * 24);
        let begin = Begin { since: Since::Time(first), window };
        let place = Since::After(Position(7));
        let Since::Time(anew) = begin.anew(place) else { panic!("not from a time") };
        assert!(anew >= now - window && anew <= Timestamp::now() - window, "{anew}");
        let Since::Time(anew) = Begin::at(Since::Time(now - window)).anew(place) else {
            panic!("not from a time")
        };
        assert!(anew >= now - window, "{anew}");
        assert_eq!(begin.anew(Since::Time(first)), Since::Start);
        assert_eq!(Begin::at(Since::Start).anew(place), Since::Start);
    }

    #[test]
    fn a_history_that_cannot_be_read_is_told_once_for_each_cause() {
        let refused = |answer: &str| QueueError::Topology { name: "history".into(), answer: answer.into() };
        let away = QueueError::Unavailable { attempted: "read", source: "away".into() };
        let ear = Ear::default();
        let mut refusals = Refusals::default();
        tracing::subscriber::with_default(ear.clone(), || {
            let mut tell = |error: &QueueError| (refusals.tell(error), ear.heard("WARN"));
            assert_eq!(tell(&away), (REOPEN_AFTER, 0));
            assert_eq!(tell(&refused("access refused")), (REOPEN_REFUSED_AFTER, 1));
            assert_eq!(tell(&away), (REOPEN_AFTER, 1));
            assert_eq!(tell(&refused("access refused")), (REOPEN_REFUSED_AFTER, 1));
            assert_eq!(tell(&refused("not a stream")), (REOPEN_REFUSED_AFTER, 2));
        });
    }
}
