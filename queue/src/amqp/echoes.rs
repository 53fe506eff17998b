//! What this process said a moment ago: read back from the history, it need not be decoded once more.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use lapin::{message::Delivery, types::ShortString};
use proto::Event;

use super::message::Message;

/// Most that are kept: more than are said and not yet read, unless nothing is read at all.
const MOST: usize = 512;

/// Events on their way through the history, by the names of their messages.
#[derive(Debug, Default)]
pub(super) struct Echoes(Mutex<HashMap<ShortString, (Bytes, Event)>>);

impl Echoes {
    /// Keeps an event that is about to be said with this message. Where there are too many, all are decoded.
    pub(super) fn keep(&self, event: &Event, message: &Message) {
        let Some(name) = message.properties.message_id() else { return };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(name.clone(), (message.body.clone(), event.clone()));
    }

    /// The event that a message brings, where it is one of these to the last byte. It is given once.
    pub(super) fn take(&self, delivery: &Delivery) -> Option<Event> {
        let name = delivery.properties.message_id().as_ref()?;
        let (body, event) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name)?;
        (*body == *delivery.data).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use proto::{PoolName, State};

    use super::*;
    use crate::contract;

    fn delivered(message: &Message, body: &[u8]) -> Delivery {
        let mut delivery = Delivery::mock(1, "events".into(), "key".into(), false, body.to_vec());
        delivery.properties = message.properties.clone();
        delivery
    }

    #[test]
    fn only_what_came_back_as_it_was_said_is_not_decoded() {
        let echoes = Echoes::default();
        let event = Event::of(&contract::job(&PoolName::default(), "web"), State::Accepted, 0, 0);
        let message = Message::new("events", "key", &event.id.to_string(), event.encode());
        assert_eq!(echoes.take(&delivered(&message, &message.body)), None, "said by another");
        echoes.keep(&event, &message);
        assert_eq!(echoes.take(&delivered(&message, b"{}")), None, "another body under its name");
        echoes.keep(&event, &message);
        assert_eq!(echoes.take(&delivered(&message, &message.body)), Some(event.clone()));
        assert_eq!(echoes.take(&delivered(&message, &message.body)), None, "given once");
        for n in 0..=MOST {
            let other = Message::new("events", "key", &n.to_string(), event.encode());
            echoes.keep(&event, &other);
        }
        assert!(echoes.0.lock().unwrap().len() <= MOST);
    }
}
