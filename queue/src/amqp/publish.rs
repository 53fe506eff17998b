//! Publishing many messages at once on one channel, each with its own outcome.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use futures::{StreamExt, stream::FuturesUnordered};
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
/// after every confirm resolved before its own was looked at. One task gives that order: confirms wake their
/// futures in the order they resolve, and each looks for its own return one turn later.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
struct Order {
    message: Message,
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

#[derive(Debug, Clone, Default)]
struct Returned {
    messages: Arc<Mutex<HashMap<Mark, u32>>>,
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
    pub(super) async fn publish(&self, message: Message) -> Result<Taken, Lost> {
        let (outcome, told) = oneshot::channel();
        self.orders.send(Order { message, outcome }).await.map_err(|_| Lost::Session)?;
        told.await.map_err(|_| Lost::Session)?.map_err(Lost::Channel)
    }
}

async fn publish_all(channel: Channel, mut orders: mpsc::Receiver<Order>) {
    let returned = Returned::default();
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = under_way.next() => {}
            order = orders.recv(), if under_way.len() < MOST_UNCONFIRMED => match order {
                Some(order) => under_way.push(carry_out(channel.clone(), order, returned.clone())),
                None => break,
            },
        }
    }
    while under_way.next().await.is_some() {}
}

async fn carry_out(channel: Channel, order: Order, returned: Returned) {
    let Order { message, outcome } = order;
    let mark = message.mark();
    let options = BasicPublishOptions { mandatory: message.mandatory, ..Default::default() };
    let Message { exchange, key, body, properties, .. } = message;
    let confirmed = match channel.basic_publish(exchange, key, options, &body, properties).await {
        Ok(confirm) => confirm.await,
        Err(error) => Err(error),
    };
    let taken = match confirmed {
        Ok(Confirmation::Ack(back)) => {
            returned.keep(back);
            returned.after_earlier_confirms(&mark, Taken::Everywhere).await
        }
        Ok(Confirmation::Nack(back)) => {
            returned.keep(back);
            returned.after_earlier_confirms(&mark, Taken::NotEverywhere).await
        }
        // Not in a channel with confirms; an outcome that was not asked for is no outcome.
        Ok(Confirmation::NotRequested) => return,
        Err(error) => {
            let _ = outcome.send(Err(error));
            return;
        }
    };
    let _ = outcome.send(Ok(taken));
}

impl Returned {
    fn keep(&self, back: Option<BasicReturnMessage>) {
        let Some(back) = back else { return };
        let mark = Mark::of(&back.delivery.exchange, &back.delivery.routing_key, &back.delivery.properties);
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        *messages.entry(mark).or_default() += 1;
    }

    async fn after_earlier_confirms(&self, mark: &Mark, otherwise: Taken) -> Taken {
        one_turn().await;
        if self.take(mark) { Taken::Nowhere } else { otherwise }
    }

    fn take(&self, mark: &Mark) -> bool {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = messages.get_mut(mark) else { return false };
        *count -= 1;
        if *count == 0 {
            messages.remove(mark);
        }
        true
    }
}

/// Lets every future that was woken before now run first.
async fn one_turn() {
    let mut waited = false;
    poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
