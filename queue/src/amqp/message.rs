//! A message on its way to the broker.

use std::time::Duration;

use lapin::{
    BasicProperties,
    types::{FieldTable, ShortString},
};
use uuid::Uuid;

use super::ladder::table_bytes;
use crate::line::LineName;

/// A message and where it goes.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) exchange: ShortString,
    pub(super) key: ShortString,
    /// Whether the broker gives it back when no queue takes it.
    pub(super) mandatory: bool,
    pub(super) body: bytes::Bytes,
    pub(super) properties: BasicProperties,
}

/// What the broker did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Every queue it goes to has it.
    Everywhere,
    /// A queue it goes to is full; others may have it.
    NotEverywhere,
    /// No queue takes it.
    Nowhere,
}

const MARKER: &str = "application/vnd.longshore.marker";

const PERSISTENT: u8 = 2;

/// A day: beyond any rung, and within what brokers take.
const LONGEST_EXPIRATION_MS: u128 = 86_400_000;

/// More than all other properties need beside the headers: twelve of 256 bytes at most, and the frame around them.
const PROPERTIES_BYTES: usize = 13 * 256;

/// Longest key on the wire.
const LONGEST_KEY: usize = 255;

impl Message {
    /// A persistent, mandatory message named `id`.
    pub(super) fn new(exchange: &str, key: &str, id: &str, body: impl Into<bytes::Bytes>) -> Message {
        Message {
            exchange: short(exchange),
            key: short(key),
            mandatory: true,
            body: body.into(),
            properties: BasicProperties::default().with_delivery_mode(PERSISTENT).with_message_id(short(id)),
        }
    }

    pub(super) fn content_type(mut self, content_type: &str) -> Message {
        self.properties = self.properties.with_content_type(short(content_type));
        self
    }

    /// The same, published by `user`, who must be the one that logged in: the broker verifies it.
    pub(super) fn in_the_name_of(mut self, user: &str) -> Message {
        self.properties = self.properties.with_user_id(short(user));
        self
    }

    /// A marker, for whoever reads the stream to know when it has read what was written before.
    pub(super) fn marker(stream: &str, marker: Uuid) -> Message {
        let marker = marker.to_string();
        // Through the default exchange: subscribers never see it.
        Message::new("", stream, &marker, marker.clone()).content_type(MARKER)
    }

    /// The same message as it was delivered, on its way elsewhere, with these headers. What belongs to the
    /// former way stays behind: its expiration, and who sent it (the broker refuses to let us name others).
    pub(super) fn forward(delivered: &lapin::message::Delivery, to: &str, headers: FieldTable) -> Message {
        let former = &delivered.properties;
        let id = former.message_id().clone().unwrap_or_else(|| short(&Uuid::now_v7().to_string()));
        let mut properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_message_id(id)
            .with_headers(headers);
        if let Some(content_type) = former.content_type() {
            properties = properties.with_content_type(content_type.clone());
        }
        if let Some(encoding) = former.content_encoding() {
            properties = properties.with_content_encoding(encoding.clone());
        }
        if let Some(correlation) = former.correlation_id() {
            properties = properties.with_correlation_id(correlation.clone());
        }
        if let Some(app) = former.app_id() {
            properties = properties.with_app_id(app.clone());
        }
        if let Some(timestamp) = former.timestamp() {
            properties = properties.with_timestamp(*timestamp);
        }
        Message {
            exchange: short(to),
            key: delivered.routing_key.clone(),
            mandatory: true,
            body: delivered.data.clone().into(),
            properties,
        }
    }

    /// The same, with a key by which it comes back to its line. One that was put into the queue by the queue's name came with
    /// none, and would be kept by the rung for ever.
    pub(super) fn coming_back_to(mut self, line: &LineName) -> Message {
        if let LineName::Pool(pool) = line
            && self.key.as_str().split_once('.').is_none_or(|(first, _)| first != pool.as_str())
        {
            self.key = short(&format!("{pool}.unknown"));
        }
        self
    }

    /// The same, to leave the rung it goes to after `wait`, and at the latest with the rung. A shorter wait than the
    /// rung's may become longer behind those that came before, never longer than the rung: queues look at their
    /// first message only.
    pub(super) fn expiring_after(mut self, wait: Duration) -> Message {
        let ms = wait.as_nanos().div_ceil(1_000_000).clamp(1, LONGEST_EXPIRATION_MS);
        self.properties = self.properties.with_expiration(short(&ms.to_string()));
        self
    }

    /// Bytes of the frame that its properties need, somewhat more than less.
    pub(super) fn frame_bytes(&self) -> usize {
        PROPERTIES_BYTES + self.properties.headers().as_ref().map_or(0, table_bytes)
    }

    /// By what a returned message is known again: lapin hands it to whichever confirm comes next.
    pub(super) fn mark(&self) -> Mark {
        Mark::of(&self.exchange, &self.key, &self.properties)
    }
}

/// Whether a message in a stream was written there by us as a record of this kind. What came through an
/// exchange came from elsewhere, whatever it calls itself.
pub(super) fn is_of_kind(delivery: &lapin::message::Delivery, kind: &str) -> bool {
    let content_type = delivery.properties.content_type().as_ref();
    delivery.exchange.as_str().is_empty() && content_type.is_some_and(|found| found.as_str() == kind)
}

/// The marker in a message of a stream, if it is one.
pub(super) fn marker_of(delivery: &lapin::message::Delivery) -> Option<Result<Uuid, uuid::Error>> {
    is_of_kind(delivery, MARKER).then(|| Uuid::try_parse_ascii(&delivery.data))
}

/// By what a returned message is known again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    exchange: ShortString,
    key: ShortString,
    id: Option<ShortString>,
}

impl Mark {
    pub(super) fn of(exchange: &ShortString, key: &ShortString, properties: &BasicProperties) -> Mark {
        Mark { exchange: exchange.clone(), key: key.clone(), id: properties.message_id().clone() }
    }
}

/// A text for the wire. Ours are all shorter than its 255 bytes; the conversion itself would panic.
pub(super) fn short(text: &str) -> ShortString {
    let end = (0..=text.len().min(LONGEST_KEY)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    ShortString::from(&text[..end])
}
