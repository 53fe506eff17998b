//! A target's lock: an exclusive queue, which the broker frees when its owner's connection ends.

use std::sync::Arc;

use lapin::{
    Channel,
    options::{QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use proto::TargetName;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Broker,
    fault::{is_held_elsewhere, refused_or_away, unavailable, within},
    session::Session,
};
use crate::{LocalLock, LocalLocks, Lock, QueueError};

const LOCK: &str = "lock a target";

/// The locks of this process.
#[derive(Default)]
pub(super) struct Locks {
    /// Held by somebody in this process: the broker grants one connection its own lock twice.
    held: LocalLocks,
    /// Still there on the broker: whoever declared it anew before it is gone would lose it with the former.
    on_broker: OnBroker,
}

#[derive(Clone)]
struct OnBroker {
    locks: LocalLocks,
    freed: Arc<watch::Sender<()>>,
}

impl Default for OnBroker {
    fn default() -> Self {
        OnBroker { locks: LocalLocks::default(), freed: Arc::new(watch::Sender::new(())) }
    }
}

/// A lock on the broker; freed when it is dropped.
struct Exclusive {
    name: String,
    channel: Channel,
    session: Arc<Session>,
    entry: Option<Entry>,
    /// Told once others can lock it.
    gone: CancellationToken,
}

/// A target's entry among those still there on the broker; tells when it is gone.
struct Entry {
    lock: Option<LocalLock>,
    freed: Arc<watch::Sender<()>>,
    gone: CancellationToken,
}

impl Drop for Entry {
    fn drop(&mut self) {
        drop(self.lock.take());
        self.freed.send_replace(());
        self.gone.cancel();
    }
}

impl Locks {
    /// Locks a target, unless somebody else has.
    pub(super) async fn lock(
        &self,
        broker: &Broker,
        target: &TargetName,
    ) -> Result<Option<Lock>, QueueError> {
        let Some(local) = self.held.enter(target) else { return Ok(None) };
        let session = broker.session(LOCK).await?;
        let asked = async {
            let entry = self.on_broker.enter(target).await;
            declare(session, broker.names.lock(target), entry).await
        };
        let Some(exclusive) = within(LOCK, asked).await? else { return Ok(None) };
        let (channel, session) = (exclusive.channel.clone(), Arc::clone(&exclusive.session));
        let held = move || !session.has_ended() && channel.status().connected();
        let gone = exclusive.gone.clone();
        Ok(Some(Lock::new(local, Box::new(exclusive), held).gone_with(gone)))
    }
}

impl OnBroker {
    /// Enters a target; waits until a former lock of it is gone.
    async fn enter(&self, target: &TargetName) -> Entry {
        let mut freed = self.freed.subscribe();
        loop {
            if let Some(lock) = self.locks.enter(target) {
                let gone = CancellationToken::new();
                return Entry { lock: Some(lock), freed: Arc::clone(&self.freed), gone };
            }
            // Never closed: the sender is ours.
            let _ = freed.changed().await;
        }
    }
}

/// Declares the lock on a channel of its own, which is all that a refusal closes. None when another
/// connection holds it.
async fn declare(session: Arc<Session>, name: String, entry: Entry) -> Result<Option<Exclusive>, QueueError> {
    let channel = session.consuming().create_channel().await.map_err(|error| unavailable(LOCK, error))?;
    // Made before it is asked for: whoever stops waiting for the answer frees what may have been granted.
    let gone = entry.gone.clone();
    let mut exclusive = Exclusive { name, channel: channel.clone(), session, entry: Some(entry), gone };
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let name = exclusive.name.as_str();
    match channel.queue_declare(name.into(), options, FieldTable::default()).await {
        Ok(_) => Ok(Some(exclusive)),
        Err(error) => {
            let held_elsewhere = is_held_elsewhere(&error);
            let error = refused_or_away(name, LOCK, error);
            // Not granted: there is nothing to free.
            exclusive.entry = None;
            if held_elsewhere { Ok(None) } else { Err(error) }
        }
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        if self.session.has_ended() {
            // Gone with its connection.
            return;
        }
        if !self.channel.status().connected() {
            // It stands for as long as its connection does, and nobody can take it away without the channel.
            self.session.end("the channel of a lock was closed");
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (name, channel, session) = (self.name.clone(), self.channel.clone(), Arc::clone(&self.session));
        runtime.spawn(async move {
            let freed = within("free a target", async {
                let deleted = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await;
                deleted.map_err(|error| refused_or_away(&name, "free a target", error))
            });
            if let Err(error) = freed.await
                && !session.has_ended()
            {
                // Nobody could lock the target again while this connection lives.
                tracing::warn!(lock = name, error = &error as &dyn std::error::Error, "a lock was not freed");
                session.end("a lock could not be freed");
            }
            drop(entry);
        });
    }
}
