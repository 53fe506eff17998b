//! Jobs that were published and not yet said to be accepted.

use std::collections::BTreeSet;

use proto::JobId;

/// Most jobs between the two: one whose caller was cut off there is never said.
const MOST: usize = 10_000;

/// Published a moment ago, and not yet said to be accepted.
#[derive(Debug, Default)]
pub(super) struct Unsaid(BTreeSet<JobId>);

impl Unsaid {
    /// Notes a job. When there are too many, the oldest is forgotten: its `started` tells of it as well.
    pub(super) fn insert(&mut self, id: JobId) {
        self.0.insert(id);
        if self.0.len() > MOST {
            self.0.pop_first();
        }
    }

    /// Takes a job out, and tells whether it was there.
    pub(super) fn remove(&mut self, id: JobId) -> bool {
        self.0.remove(&id)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn those_whose_callers_were_cut_off_are_forgotten_in_the_end() {
        let (mut unsaid, first) = (Unsaid::default(), JobId::mint(Timestamp::now(), None));
        let mut last = first;
        unsaid.insert(last);
        for _ in 0..MOST {
            last = last.successor();
            unsaid.insert(last);
        }
        assert_eq!(unsaid.0.len(), MOST);
        assert!(!unsaid.remove(first), "the oldest makes room");
        assert!(unsaid.remove(last) && !unsaid.remove(last));
    }
}
