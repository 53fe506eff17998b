//! What failures of the file mean.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{
    files::{FILE_NAME, JOURNAL_NAME},
    journal::Unfit,
    opening::UnknownFormat,
};
use crate::QueueError;

#[derive(Debug, thiserror::Error)]
#[error("`{FILE_NAME}` is damaged: {0}")]
struct Damaged(String);

/// What a look at the whole file found.
pub(super) fn damaged(attempted: &'static str) -> QueueError {
    let what = "a part of it is not what was written there".to_owned();
    QueueError::Storage { attempted, source: Box::new(Damaged(what)) }
}

/// Whether a failure says that the file is not what was written.
pub(super) fn is_damage(error: &QueueError) -> bool {
    let QueueError::Storage { source, .. } = error else { return false };
    let found = source.downcast_ref::<redb::Error>();
    source.is::<Damaged>() || matches!(found, Some(redb::Error::Corrupted(_)))
}

/// One of the two files is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Parted {
    #[error(
        "`{JOURNAL_NAME}` is there, and `{FILE_NAME}` is missing or blank: put that back, or move both aside to begin anew"
    )]
    FromItsFile,
    /// The file is there alone, and has not everything.
    #[error(
        "`{JOURNAL_NAME}` is gone, and `{FILE_NAME}` was not closed: what was promised last stands in it; put it back, \
         or move the directory aside to begin anew"
    )]
    FromItsJournal,
}

/// Whether a failure says itself what mends it: the files are whole, and not those that belong here.
#[must_use]
pub fn says_what_to_do(error: &QueueError) -> bool {
    let QueueError::Storage { source, .. } = error else { return false };
    let unfit = source.downcast_ref::<Unfit>();
    source.is::<Parted>()
        || source.is::<UnknownFormat>()
        || unfit.is_some_and(|unfit| match unfit {
            Unfit::Foreign
            | Unfit::Gap { .. }
            | Unfit::Hole(_)
            | Unfit::CutOff { .. }
            | Unfit::Overwritten => true,
            Unfit::Rows(_) | Unfit::Io(_) => false,
        })
}

/// The same as a failure of the queue.
pub(super) fn parted(parted: Parted) -> QueueError {
    QueueError::Storage { attempted: "open the file", source: Box::new(parted) }
}

/// Turns a failure of the database into ours.
pub(super) fn storage(attempted: &'static str, source: impl Into<redb::Error>) -> QueueError {
    QueueError::Storage { attempted, source: Box::new(source.into()) }
}

/// One failure that many callers are told of.
pub(super) struct Shared {
    attempted: &'static str,
    cause: Cause,
}

#[derive(Debug, Clone)]
struct Cause(Arc<dyn std::error::Error + Send + Sync>);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Shared {
    /// A failure of the file, told as it was; any other as the cause of one.
    pub(super) fn new(error: QueueError) -> Shared {
        if let QueueError::Storage { attempted, source } = error {
            return Shared { attempted, cause: Cause(Arc::from(source)) };
        }
        Shared { attempted: "write", cause: Cause(Arc::new(error)) }
    }

    /// What one of the callers is told.
    pub(super) fn told(&self) -> QueueError {
        QueueError::Storage { attempted: self.attempted, source: Box::new(self.cause.clone()) }
    }
}

/// A damaged file may make the database panic: that is a failure of the disk like any other.
pub(super) fn undamaged<T>(
    attempted: &'static str,
    work: impl FnOnce() -> Result<T, QueueError>,
) -> Result<T, QueueError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(QueueError::Storage { attempted, source: Box::new(Damaged(text.unwrap_or_default())) })
    })
}
