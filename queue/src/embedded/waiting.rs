//! The waiting jobs of all pools as what they are on the disk: for one who hands them on to another engine
//! instead of carrying them out.

use std::sync::Arc;

use bytes::Bytes;
use proto::PoolName;
use redb::ReadableTable;

use super::{Embedded, blocking, store::JOBS, writing::Act};
use crate::QueueError;

/// Where a waiting job stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(super) pool: Arc<PoolName>,
    pub(super) from: u64,
    pub(super) number: u64,
}

impl Spot {
    /// Whose workers it waits for.
    pub(crate) fn pool(&self) -> &PoolName {
        &self.pool
    }
}

impl Embedded {
    /// Makes a job wait, whether its pool was ever served or not and however many wait already.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) async fn keep(&self, pool: &PoolName, body: Bytes) -> Result<(), QueueError> {
        self.engine.perform(Act::Keep { line: pool.into(), body }).await
    }

    /// Shows `look` every waiting job, and gives what it made of them.
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
                let mut last: Option<Arc<PoolName>> = None;
                for row in ReadableTable::iter(&jobs)? {
                    let (key, value) = row?;
                    let (pool, from, number) = key.value();
                    // The rows of a pool stand together, so its name is held once.
                    let known = last.take().filter(|known| known.as_str() == pool);
                    // Every name in the file was one when it was written.
                    let Some(pool) = known.or_else(|| pool.parse().ok().map(Arc::new)) else { continue };
                    look(&mut made, Spot { pool: Arc::clone(&pool), from, number }, value.value().1);
                    last = Some(pool);
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
                    let row = jobs.get((spot.pool.as_str(), spot.from, spot.number))?;
                    Ok(row.map(|row| Bytes::copy_from_slice(row.value().1)))
                };
                spots.iter().map(body).collect()
            })
        })
        .await
    }

    /// Takes a waiting job out of the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) async fn forget(&self, spot: Spot) -> Result<(), QueueError> {
        self.engine.perform(Act::Forget { spot }).await
    }
}
