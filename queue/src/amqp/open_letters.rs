//! What was found among the dead letters: those that nobody closed, and what closed the others.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use proto::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use crate::{Closed, DeadLetter, LetterFilter, LetterId, MOST_LETTERS, Position, letter::Bound};

/// How many letters are kept, for as long as the process lives: as many as are ever listed, and of bodies less than for the
/// moment in which they are.
const KEPT: Bound = Bound { bytes: 16 << 20, ..Bound::JOBS };
const KEPT_SUBMITTED: Bound = Bound { bytes: 4 << 20, ..Bound::SUBMITTED };

/// The letters that are open, as far as the stream was read.
pub(super) struct Open {
    wanted: LetterFilter,
    jobs: Listed,
    /// What was for an ingress: however much of it there is, the others are listed.
    submitted: Listed,
    /// When something was last written, as far as it is known.
    time: Timestamp,
}

/// The newest letters of a kind.
#[derive(Debug)]
struct Listed {
    letters: BTreeMap<LetterId, DeadLetter>,
    bytes: usize,
    bound: Bound,
    /// Whether letters were left out as too many.
    left_out: bool,
}

/// What closed letters: of each the record that stands first, of the newest of them.
#[derive(Debug, Default)]
pub(super) struct Closings {
    first: BTreeMap<LetterId, Closed>,
}

/// A record of closing. How, a later version may say in other words.
#[derive(Deserialize)]
struct Closing {
    letter: u64,
    #[serde(flatten)]
    how: How,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum How {
    Known(Closed),
    Other {},
}

impl Open {
    /// What is kept from one look to the next.
    pub(super) fn to_keep() -> Open {
        Open::within((KEPT, KEPT_SUBMITTED), Arc::new(|_| true))
    }

    /// What is listed once.
    pub(super) fn to_list(wanted: LetterFilter) -> Open {
        Open::within((Bound::JOBS, Bound::SUBMITTED), wanted)
    }

    fn within((jobs, submitted): (Bound, Bound), wanted: LetterFilter) -> Open {
        let (jobs, submitted) = (Listed::within(jobs), Listed::within(submitted));
        Open { wanted, jobs, submitted, time: Timestamp::UNIX_EPOCH }
    }

    /// When something was last written, as far as it is known.
    pub(super) fn time(&self) -> Timestamp {
        self.time
    }

    pub(super) fn add(&mut self, letter: DeadLetter) {
        self.time = self.time.max(letter.died_at);
        if !(self.wanted)(&letter) {
            return;
        }
        let kind = if letter.submitted { &mut self.submitted } else { &mut self.jobs };
        kind.add(letter);
    }

    pub(super) fn close(&mut self, letter: LetterId) {
        for kind in [&mut self.jobs, &mut self.submitted] {
            kind.remove(letter);
        }
    }

    pub(super) fn saw_marker(&mut self, marker: Uuid) {
        let time = marker.get_timestamp().and_then(|time| {
            let (seconds, nanos) = time.to_unix();
            Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
        });
        self.time = self.time.max(time.unwrap_or(Timestamp::UNIX_EPOCH));
    }

    /// Those that are wanted, newest last; none where there are more than are kept, so that these are not all.
    pub(super) fn those(&self, wanted: &LetterFilter) -> Option<Vec<DeadLetter>> {
        if self.jobs.left_out || self.submitted.left_out {
            return None;
        }
        let both = self.jobs.letters.values().chain(self.submitted.letters.values());
        let mut letters: Vec<DeadLetter> = both.filter(|letter| wanted(letter)).cloned().collect();
        letters.sort_unstable_by_key(|letter| letter.id);
        Some(letters)
    }

    /// All of them, newest last.
    pub(super) fn into_letters(self) -> Vec<DeadLetter> {
        let mut letters = self.jobs.letters;
        letters.extend(self.submitted.letters);
        letters.into_values().collect()
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("time", &self.time).finish_non_exhaustive()
    }
}

impl Listed {
    fn within(bound: Bound) -> Listed {
        Listed { letters: BTreeMap::new(), bytes: 0, bound, left_out: false }
    }

    fn add(&mut self, letter: DeadLetter) {
        self.bytes += letter.body.len();
        self.letters.insert(letter.id, letter);
        while self.letters.len() > self.bound.letters || self.bytes > self.bound.bytes {
            let Some((_, oldest)) = self.letters.pop_first() else { break };
            self.bytes -= oldest.body.len();
            self.left_out = true;
        }
    }

    fn remove(&mut self, letter: LetterId) {
        if let Some(closed) = self.letters.remove(&letter) {
            self.bytes -= closed.body.len();
        }
    }
}

impl Closings {
    /// Notes what a record at this place says; gives the letter that it closes, which stands before it.
    pub(super) fn note(&mut self, position: Position, record: &[u8]) -> Option<LetterId> {
        let closing: Closing = match serde_json::from_slice(record) {
            Ok(closing) => closing,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(position = position.0, error, "a record among the dead letters is no record");
                return None;
            }
        };
        let letter = LetterId(closing.letter);
        if letter.0 >= position.0 {
            return None;
        }
        if let Entry::Vacant(first) = self.first.entry(letter) {
            first.insert(match closing.how {
                How::Known(how) => how,
                How::Other {} => Closed::Discarded { by: None },
            });
            if self.first.len() > MOST_LETTERS {
                self.first.pop_first();
            }
        }
        Some(letter)
    }

    /// What closed a letter first, as far as it is known.
    pub(super) fn first_of(&self, letter: LetterId) -> Option<Closed> {
        self.first.get(&letter).cloned()
    }
}

#[cfg(test)]
mod tests {
    use proto::{Reason, reason};

    use super::*;

    fn letter(number: u64, body: usize) -> DeadLetter {
        DeadLetter {
            id: LetterId(number),
            body: vec![0; body].into(),
            pool: None,
            attempts: 1,
            reason: Reason::new(reason::INTERNAL, ""),
            died_at: Timestamp::UNIX_EPOCH,
            submitted: false,
            left_by: None,
        }
    }

    #[test]
    fn the_first_record_closes_and_none_closes_what_comes_after_it() {
        let mut closings = Closings::default();
        let record = |text: &str| format!("{{\"letter\":3,{text}}}").into_bytes();
        assert_eq!(closings.note(Position(3), &record(r#""closed":"discarded","by":"ann""#)), None);
        assert_eq!(closings.first_of(LetterId(3)), None);
        for by in ["bob", "ann"] {
            let record = record(&format!(r#""closed":"discarded","by":"{by}""#));
            assert_eq!(closings.note(Position(4), &record), Some(LetterId(3)));
        }
        let bob = Closed::Discarded { by: Some("bob".to_owned()) };
        assert_eq!(closings.first_of(LetterId(3)), Some(bob));
        assert_eq!(closings.note(Position(5), b"{}"), None);
        // In words of a later version.
        let mut closings = Closings::default();
        assert_eq!(closings.note(Position(9), &record(r#""closed":"shredded""#)), Some(LetterId(3)));
        assert_eq!(closings.first_of(LetterId(3)), Some(Closed::Discarded { by: None }));
    }

    #[test]
    fn what_is_more_than_is_kept_is_not_given_for_all() {
        let mut open = Open::to_keep();
        let all: LetterFilter = Arc::new(|_| true);
        open.add(letter(1, 10));
        open.add(letter(2, KEPT.bytes - 10));
        assert_eq!(open.those(&all).map(|letters| letters.len()), Some(2));
        open.add(letter(3, 1));
        assert_eq!(open.those(&all), None);
    }
}
