//! Messages that go by themselves, one at a time and on a connection of their own.
//!
//! A broker that refuses a message closes the channel, or the whole connection, for all that are under way on it, and does
//! not say which it meant. What is refused here is the one that is refused, and costs the others nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as Note, MutexGuard, PoisonError},
    time::Duration,
};

use lapin::types::ShortString;
use tokio::{sync::Mutex, time::Instant};

use super::{
    aside::Aside,
    fault::message_refusal,
    message::{Message, Taken},
    publish::{Lost, Publisher},
};
use crate::{AmqpSettings, QueueError};

/// How long messages go by themselves to where one was refused.
const MINDED_FOR: Duration = Duration::from_secs(5 * 60);

/// To how many such places at most; a place beyond costs the others its channel each time.
const MOST_MINDED: usize = 1024;

/// Publishes messages by themselves.
pub(super) struct Alone {
    aside: Aside,
    turn: Mutex<()>,
    /// Where the broker refused a message, and when it did last.
    refused: Note<HashMap<Place, Instant>>,
}

/// An exchange and a key.
type Place = (ShortString, ShortString);

impl Alone {
    pub(super) fn new(settings: AmqpSettings) -> Alone {
        Alone {
            aside: Aside::new(settings, "publishing alone"),
            turn: Mutex::default(),
            refused: Note::default(),
        }
    }

    /// Whether a message should go by itself from the start: one to the same place was refused a while ago.
    pub(super) fn is_for(&self, message: &Message) -> bool {
        let mut refused = self.refused();
        if refused.is_empty() {
            return false;
        }
        refused.retain(|_, last| last.elapsed() < MINDED_FOR);
        refused.contains_key(&place(message))
    }

    /// Publishes, and waits for the outcome, however long it takes.
    ///
    /// # Errors
    /// [`QueueError::Topology`] when the broker refuses this very message; else it is not known whether it was taken.
    pub(super) async fn publish(
        &self,
        message: &Arc<Message>,
        attempted: &'static str,
    ) -> Result<Taken, QueueError> {
        let _turn = self.turn.lock().await;
        let connection = self.aside.connection().await?;
        let (publisher, channel) = Publisher::open(&connection).await?;
        let place = place(message);
        let lost = match publisher.publish(Arc::clone(message)).await {
            Ok(taken) => {
                self.refused().remove(&place);
                // The connection stays open for the next; a channel that does not close goes with it.
                let _ = channel.close(200, "done".into()).await;
                return Ok(taken);
            }
            Err(lost) => lost,
        };
        if let Lost::Channel(error) = lost
            && let Some(answer) = message_refusal(&error)
        {
            let name = place.0.to_string();
            self.note_refused(place);
            return Err(QueueError::Topology { name, answer });
        }
        self.aside.forget(&connection).await;
        Err(QueueError::Unconfirmed { attempted })
    }

    pub(super) async fn close(&self) {
        self.aside.close().await;
    }

    fn note_refused(&self, place: Place) {
        let mut refused = self.refused();
        if refused.len() < MOST_MINDED || refused.contains_key(&place) {
            refused.insert(place, Instant::now());
        }
    }

    fn refused(&self) -> MutexGuard<'_, HashMap<Place, Instant>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(message: &Message) -> Place {
    (message.exchange.clone(), message.key.clone())
}
