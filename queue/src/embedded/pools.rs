//! Which jobs are in a worker's hands. Only memory: after a crash nothing is, so all come again.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::line::LineName;

/// Where a job stands in its pool's line: the time from which it may be taken, and its number.
pub(super) type Place = (u64, u64);

/// The lines of all pools.
#[derive(Debug, Default)]
pub(super) struct Pools {
    lines: Mutex<HashMap<LineName, Arc<Line>>>,
}

/// What the takers of one line share.
#[derive(Debug)]
pub(super) struct Line {
    name: LineName,
    claimed: Mutex<HashSet<Place>>,
    /// What was claimed and is no more: a list of its own, for nobody who gives a place back waits for the file.
    freed: Mutex<Vec<Place>>,
    changed: Notify,
}

/// A job in a worker's hands. Dropped before it was settled, it comes again.
#[derive(Debug)]
pub(super) struct Claim {
    line: Arc<Line>,
    place: Place,
    // Given back after the place is free, so that whoever waited for it finds the job again.
    _permit: OwnedSemaphorePermit,
}

impl Pools {
    /// A line by its name.
    pub(super) fn line(&self, name: &LineName) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || {
            let (claimed, freed, changed) = (Mutex::default(), Mutex::default(), Notify::new());
            Arc::new(Line { name: name.clone(), claimed, freed, changed })
        };
        Arc::clone(lines.entry(name.clone()).or_insert_with(made))
    }

    /// Tells those who wait in these lines to look again.
    pub(super) fn changed<'a>(&self, names: impl IntoIterator<Item = &'a LineName>) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        names.into_iter().filter_map(|name| lines.get(name)).for_each(|line| line.changed.notify_waiters());
    }
}

impl Line {
    /// Whose line it is.
    pub(super) fn name(&self) -> &LineName {
        &self.name
    }

    /// Tells when there may be something new to take.
    pub(super) fn change(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Keeps the places as they are while one is chosen. A snapshot of the file taken while this is held
    /// shows no job that was settled and whose place is free.
    pub(super) fn claimed(&self) -> MutexGuard<'_, HashSet<Place>> {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        let freed = std::mem::take(&mut *self.freed());
        for place in &freed {
            claimed.remove(place);
        }
        claimed
    }

    fn freed(&self) -> MutexGuard<'_, Vec<Place>> {
        self.freed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, which must be free.
    pub(super) fn claim(
        self: &Arc<Line>,
        claimed: &mut HashSet<Place>,
        place: Place,
        permit: OwnedSemaphorePermit,
    ) -> Claim {
        claimed.insert(place);
        Claim { line: Arc::clone(self), place, _permit: permit }
    }
}

impl Claim {
    /// The line it was taken from.
    pub(super) fn line(&self) -> &LineName {
        &self.line.name
    }

    /// Where the job stands.
    pub(super) fn place(&self) -> Place {
        self.place
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.line.freed().push(self.place);
        self.line.changed.notify_waiters();
    }
}
