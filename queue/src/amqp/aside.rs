//! A connection beside the session, for questions: what others send there may break it, and nothing else.

use std::{sync::Arc, time::Duration};

use lapin::Connection;
use tokio::sync::Mutex;

use super::connect::connect_for;
use crate::{AmqpSettings, QueueError};

/// Longest wait for a connection to say goodbye.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// A connection for one purpose, opened when it is first needed and anew after it broke.
pub(super) struct Aside {
    settings: AmqpSettings,
    role: &'static str,
    connection: Mutex<Option<Arc<Connection>>>,
}

impl Aside {
    pub(super) fn new(settings: AmqpSettings, role: &'static str) -> Aside {
        Aside { settings, role, connection: Mutex::default() }
    }

    /// The connection as it stands, or a new one.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, QueueError> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.as_ref().filter(|connection| connection.status().connected()) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(connect_for(&self.settings, self.role).await?);
        *kept = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Says goodbye; whoever asks for the connection later gets a new one.
    pub(super) async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            say_goodbye(&connection).await;
        }
    }

    /// Gives up a connection that seems dead.
    pub(super) async fn forget(&self, dead: &Arc<Connection>) {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.take_if(|kept| Arc::ptr_eq(kept, dead)) {
            tokio::spawn(async move { say_goodbye(&connection).await });
        }
    }
}

async fn say_goodbye(connection: &Connection) {
    let _ = tokio::time::timeout(CLOSE_WITHIN, connection.close(200, "bye".into())).await;
}
