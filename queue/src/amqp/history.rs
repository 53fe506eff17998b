//! The history, as it stands in its stream.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::message::Delivery;
use proto::{Catalogue, Event};

use super::{
    Broker,
    echoes::Echoes,
    fault::{unavailable, within},
    logins::Logins,
    message::marker_of,
    stream::{StreamReader, first_position, offset_of},
    topology::declare_history,
};
use crate::{Entry, History, Position, QueueError, Recorded, Since};

const READ: &str = "read the history";

/// A reader of the history.
pub(super) struct StreamHistory {
    logins: Arc<Logins>,
    echoes: Arc<Echoes>,
    stream: StreamReader,
    from: Position,
}

impl StreamHistory {
    pub(super) async fn open(broker: &Broker, since: Since) -> Result<StreamHistory, QueueError> {
        let (session, name) = (broker.session(READ).await?, broker.names.history());
        let opening = async {
            let channel = session.reading().create_channel().await;
            let channel = channel.map_err(|error| unavailable(READ, error))?;
            // Should it have been deleted, it stands again when it is read.
            declare_history(&channel, &broker.names, &broker.keep.history).await?;
            StreamReader::open(session, channel, &name, offset_of(since), READ).await
        };
        let stream = within(READ, opening).await?;
        let (logins, echoes) = (Arc::clone(&broker.logins), Arc::clone(&broker.echoes));
        Ok(StreamHistory { logins, echoes, stream, from: first_position(since) })
    }
}

#[async_trait]
impl History for StreamHistory {
    async fn next(&mut self) -> Result<Recorded, QueueError> {
        loop {
            let (position, delivery) = self.stream.next().await?;
            // The stream begins with the chunk that holds the entry asked for.
            if position >= self.from {
                self.logins.note_writer(&delivery, "an event");
                return Ok(Recorded { position, entry: self.entry_of(&delivery) });
            }
        }
    }
}

impl StreamHistory {
    fn entry_of(&self, delivery: &Delivery) -> Entry {
        match self.echoes.take(delivery) {
            Some(event) => Entry::Event(Box::new(event)),
            None => decoded(delivery),
        }
    }
}

fn decoded(delivery: &Delivery) -> Entry {
    if let Some(marker) = marker_of(delivery) {
        return match marker {
            Ok(marker) => Entry::Marker(marker),
            Err(error) => Entry::Unreadable(format!("a marker that is no name: {error}")),
        };
    }
    match Event::decode(&delivery.data) {
        Ok(event) => Entry::Event(Box::new(event)),
        Err(error) => match Catalogue::decode(&delivery.data) {
            Ok(catalogue) => Entry::Catalogue(Box::new(catalogue)),
            Err(_) => Entry::Unreadable(error.to_string()),
        },
    }
}
