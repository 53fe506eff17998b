//! Publishing many messages at once on one channel, each with its own outcome.

use std::{collections::HashMap, sync::Arc};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use lapin::{
    Channel, Confirmation, Connection,
    message::BasicReturnMessage,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    fault::{unavailable, within},
    message::{Mark, Message, Taken},
};
use crate::QueueError;

/// Messages handed over and not yet written; beyond that, publishers wait.
const MOST_HANDED_OVER: usize = 256;

/// Messages on their way at once; a blocked broker would otherwise pile them up without bound.
const MOST_UNCONFIRMED: usize = 4096;

/// The only task that publishes in a session.
///
/// lapin hands a returned message to whichever confirm resolves next, so a message is known to be taken only
/// after every confirm resolved before its own was looked at. One task gives that order: it looks at all that
/// have resolved before it tells any of them.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
struct Order {
    message: Arc<Message>,
    outcome: oneshot::Sender<Result<Taken, lapin::Error>>,
}

/// Why a message has no outcome.
#[derive(Debug)]
pub(super) enum Lost {
    /// The channel closed, with this error.
    Channel(lapin::Error),
    /// The session ended before the message was written or confirmed.
    Session,
}

/// What came back and was not told yet.
#[derive(Debug, Default)]
struct Returned {
    messages: HashMap<Mark, u32>,
}

impl Publisher {
    /// Opens a channel with confirms and publishes on it until every handle is gone.
    pub(super) async fn open(connection: &Connection) -> Result<(Publisher, Channel), QueueError> {
        const OPEN: &str = "open a channel to publish on";
        let channel = within(OPEN, async {
            let channel = connection.create_channel().await.map_err(|error| unavailable(OPEN, error))?;
            let selected = channel.confirm_select(ConfirmSelectOptions::default()).await;
            selected.map(|()| channel).map_err(|error| unavailable(OPEN, error))
        })
        .await?;
        let (orders, ordered) = mpsc::channel(MOST_HANDED_OVER);
        tokio::spawn(publish_all(channel.clone(), ordered));
        Ok((Publisher { orders }, channel))
    }

    /// Publishes and waits for the outcome, however long it takes. Dropping this does not take the message
    /// back.
    pub(super) async fn publish(&self, message: Arc<Message>) -> Result<Taken, Lost> {
        let (outcome, told) = oneshot::channel();
        self.orders.send(Order { message, outcome }).await.map_err(|_| Lost::Session)?;
        told.await.map_err(|_| Lost::Session)?.map_err(Lost::Channel)
    }
}

async fn publish_all(channel: Channel, mut orders: mpsc::Receiver<Order>) {
    let mut returned = Returned::default();
    let mut under_way = FuturesUnordered::new();
    let mut ordered = Vec::with_capacity(MOST_HANDED_OVER);
    loop {
        tokio::select! {
            Some(first) = under_way.next() => returned.tell_all(all_resolved(first, &mut under_way)),
            count = orders.recv_many(&mut ordered, MOST_HANDED_OVER), if under_way.len() < MOST_UNCONFIRMED => {
                if count == 0 {
                    break;
                }
                // Whoever was told its outcome with the first comes with its next now: one turn for them all.
                tokio::task::yield_now().await;
                while let Ok(order) = orders.try_recv() {
                    ordered.push(order);
                }
                under_way.extend(ordered.drain(..).map(|order| carry_out(&channel, order)));
            }
        }
    }
    while let Some(first) = under_way.next().await {
        returned.tell_all(all_resolved(first, &mut under_way));
    }
}

/// A message whose confirm has resolved.
struct Resolved {
    message: Arc<Message>,
    outcome: oneshot::Sender<Result<Taken, lapin::Error>>,
    confirmed: Result<Confirmation, lapin::Error>,
}

async fn carry_out(channel: &Channel, order: Order) -> Resolved {
    let Order { message, outcome } = order;
    let options = BasicPublishOptions { mandatory: message.mandatory, ..Default::default() };
    let (exchange, key, properties) =
        (message.exchange.clone(), message.key.clone(), message.properties.clone());
    let confirmed = match channel.basic_publish(exchange, key, options, &message.body, properties).await {
        Ok(confirm) => confirm.await,
        Err(error) => Err(error),
    };
    Resolved { message, outcome, confirmed }
}

/// Every message whose confirm has resolved by now: each woken future is looked at before this returns.
fn all_resolved(
    first: Resolved,
    under_way: &mut FuturesUnordered<impl Future<Output = Resolved>>,
) -> Vec<Resolved> {
    let mut all = vec![first];
    while let Some(Some(next)) = under_way.next().now_or_never() {
        all.push(next);
    }
    all
}

impl Returned {
    /// Keeps what came back with any of these confirms, and only then tells each its outcome.
    fn tell_all(&mut self, mut all: Vec<Resolved>) {
        for resolved in &mut all {
            if let Ok(Confirmation::Ack(back) | Confirmation::Nack(back)) = &mut resolved.confirmed {
                self.keep(back.take());
            }
        }
        for Resolved { message, outcome, confirmed } in all {
            let taken = match confirmed {
                Ok(Confirmation::Ack(_)) => Ok(self.taken(&message, Taken::Everywhere)),
                Ok(Confirmation::Nack(_)) => Ok(self.taken(&message, Taken::NotEverywhere)),
                // Not in a channel with confirms; an outcome that was not asked for is no outcome.
                Ok(Confirmation::NotRequested) => continue,
                Err(error) => Err(error),
            };
            let _ = outcome.send(taken);
        }
    }

    fn keep(&mut self, back: Option<BasicReturnMessage>) {
        let Some(back) = back else { return };
        let mark = Mark::of(&back.delivery.exchange, &back.delivery.routing_key, &back.delivery.properties);
        *self.messages.entry(mark).or_default() += 1;
    }

    fn taken(&mut self, message: &Message, otherwise: Taken) -> Taken {
        // Hardly ever does anything come back.
        if self.messages.is_empty() {
            return otherwise;
        }
        let mark = message.mark();
        let Some(count) = self.messages.get_mut(&mark) else { return otherwise };
        *count -= 1;
        if *count == 0 {
            self.messages.remove(&mark);
        }
        Taken::Nowhere
    }
}
