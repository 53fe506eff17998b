//! One writer for a target.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use proto::TargetName;
use tokio_util::sync::CancellationToken;

/// Holds a target until it is dropped.
#[must_use = "dropping the lock frees the target"]
pub struct Lock {
    target: TargetName,
    held: Box<dyn Fn() -> bool + Send + Sync>,
    gone: Option<CancellationToken>,
    // Fields drop in this order: the engine's lock is freed before the process's own entry, so that the next
    // taker in this process never meets our remains in the engine.
    _engine: Box<dyn Send + Sync>,
    _local: LocalLock,
}

impl Lock {
    /// A lock made of the process's own entry and whatever the engine holds; `held` tells whether the
    /// engine's part still stands.
    pub fn new(
        local: LocalLock,
        engine: Box<dyn Send + Sync>,
        held: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Lock {
        let target = local.target.clone();
        Lock { target, held: Box::new(held), gone: None, _engine: engine, _local: local }
    }

    /// The same, of an engine that frees it in the background and says so here.
    pub fn gone_with(mut self, gone: CancellationToken) -> Lock {
        self.gone = Some(gone);
        self
    }

    /// Frees the target, and waits until others can lock it: whoever is told that it is free must not find it
    /// locked. Dropping it frees it as well, some time soon.
    pub async fn free(mut self) {
        let gone = self.gone.take();
        drop(self);
        if let Some(gone) = gone {
            gone.cancelled().await;
        }
    }

    /// The target.
    #[must_use]
    pub fn target(&self) -> &TargetName {
        &self.target
    }

    /// Whether it still keeps others out, as far as this process can know: false once the connection that
    /// carried it is lost.
    #[must_use]
    pub fn is_held(&self) -> bool {
        (self.held)()
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("target", &self.target).finish_non_exhaustive()
    }
}

/// The locks of this process: a broker grants one connection its own lock twice.
#[derive(Debug, Clone, Default)]
pub struct LocalLocks {
    targets: Arc<Mutex<HashSet<TargetName>>>,
}

/// A target's entry among the locks of this process.
#[derive(Debug)]
pub struct LocalLock {
    target: TargetName,
    locks: LocalLocks,
}

impl LocalLocks {
    /// Enters a target, unless it is there.
    #[must_use]
    pub fn enter(&self, target: &TargetName) -> Option<LocalLock> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.insert(target.clone()).then(|| LocalLock { target: target.clone(), locks: self.clone() })
    }
}

impl Drop for LocalLock {
    fn drop(&mut self) {
        self.locks.targets.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_entered_once_until_it_is_dropped() {
        let locks = LocalLocks::default();
        let target: TargetName = "web".parse().unwrap();
        let first = locks.enter(&target);
        assert!(first.is_some());
        assert!(locks.enter(&target).is_none());
        assert!(locks.enter(&"other".parse().unwrap()).is_some());
        drop(first);
        assert!(locks.enter(&target).is_some());
    }
}
