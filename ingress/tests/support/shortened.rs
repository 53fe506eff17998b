//! Histories of which less is shown than there is.

use async_trait::async_trait;
use queue::{History, Position, QueueError, Recorded};
use tokio::sync::watch;

/// A history that stops where a test wants it.
pub struct Held {
    pub history: Box<dyn History>,
    pub read: usize,
    pub shown: watch::Receiver<usize>,
}

/// A history that shows nothing, or nothing old.
pub struct Veiled {
    pub history: Box<dyn History>,
    pub is_hidden: bool,
    pub after: Option<Position>,
}

#[async_trait]
impl History for Veiled {
    async fn next(&mut self) -> Result<Recorded, QueueError> {
        if self.is_hidden {
            std::future::pending::<()>().await;
        }
        loop {
            let recorded = self.history.next().await?;
            if self.after.is_none_or(|after| recorded.position > after) {
                return Ok(recorded);
            }
        }
    }
}

#[async_trait]
impl History for Held {
    async fn next(&mut self) -> Result<Recorded, QueueError> {
        let read = self.read;
        self.shown.wait_for(|shown| read < *shown).await.map_err(|_| QueueError::Closed)?;
        self.read += 1;
        self.history.next().await
    }
}
