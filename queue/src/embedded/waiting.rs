//! What waits in all lines as what it is on the disk: for one who hands them on to another engine
//! instead of carrying them out.

use std::sync::Arc;

use bytes::Bytes;
use proto::PoolName;
use redb::ReadableTable;

use super::{Embedded, blocking, tables::JOBS, writing::Act};
use crate::{QueueError, line::LineName};

/// Where something that waits stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(super) line: Arc<LineName>,
    pub(super) from: u64,
    pub(super) number: u64,
}

impl Spot {
    /// Whose workers it waits for; none where it came in for the ingresses.
    pub(crate) fn pool(&self) -> Option<&PoolName> {
        self.line.pool()
    }
}

impl Embedded {
    /// Makes something wait in a line, whether that was ever served or not and however much waits already.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) async fn keep(&self, line: LineName, body: Bytes) -> Result<(), QueueError> {
        self.engine.perform(Act::Keep { line, body }).await
    }

    /// Shows `look` all that waits, and gives what it made of them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) async fn survey<T: Send + 'static>(
        &self,
        mut made: T,
        mut look: impl FnMut(&mut T, Spot, &[u8]) + Send + 'static,
    ) -> Result<T, QueueError> {
        self.engine.ensure_open()?;
        let store = Arc::clone(&self.engine.store);
        blocking(move || {
            store.read("read the waiting jobs", |file| {
                let jobs = file.open_table(JOBS)?;
                let mut last: Option<Arc<LineName>> = None;
                for row in ReadableTable::iter(&jobs)? {
                    let (key, value) = row?;
                    let (name, from, number) = key.value();
                    // The rows of a line stand together, so its name is held once.
                    let known = last.take().filter(|known| known.as_str() == name);
                    let Some(line) = known.or_else(|| LineName::in_a_file(name).map(Arc::new)) else {
                        // Every name in the file was one when it was written.
                        continue;
                    };
                    look(&mut made, Spot { line: Arc::clone(&line), from, number }, value.value().1);
                    last = Some(line);
                }
                Ok(())
            })?;
            Ok(made)
        })
        .await
    }

    /// The bodies at these spots, none where nothing stands any more.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) async fn bodies(&self, spots: Vec<Spot>) -> Result<Vec<Option<Bytes>>, QueueError> {
        self.engine.ensure_open()?;
        let store = Arc::clone(&self.engine.store);
        blocking(move || {
            store.read("read the waiting jobs", |file| {
                let jobs = file.open_table(JOBS)?;
                let body = |spot: &Spot| -> Result<Option<Bytes>, redb::Error> {
                    let row = jobs.get((spot.line.as_str(), spot.from, spot.number))?;
                    Ok(row.map(|row| Bytes::copy_from_slice(row.value().1)))
                };
                spots.iter().map(body).collect()
            })
        })
        .await
    }

    /// Takes what waits out of the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) async fn forget(&self, spot: Spot) -> Result<(), QueueError> {
        self.engine.perform(Act::Forget { spot }).await
    }
}
