//! How a delivery ends: whatever it is to come back as is durable before it is taken from the queue.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::FutureExt;
use jiff::Timestamp;
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
    types::FieldTable,
};
use proto::Reason;
use tokio::time::{Instant, sleep};

use super::{
    Broker,
    envelope::note_sender,
    fault::{unavailable, within},
    ladder::{Climb, attempt_of, headers, own_headers, rung_for, set_aside_of},
    letter::say,
    message::Message,
    topology::declare_line,
};
use crate::{QueueError, Settle, Settlement, line::LineName};

const SETTLE: &str = "settle a job";

/// How long a message is held that cannot be settled; together with the longest rollout before it is less than the
/// half an hour after which RabbitMQ takes deliveries back.
const HELD_FOR: Duration = Duration::from_secs(4 * 60);

/// Between two attempts to settle; then twice as long each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A delivery that is ours until it is settled; dropped unsettled, it goes back to its queue at once.
pub(super) struct Held {
    broker: Arc<Broker>,
    line: LineName,
    delivery: Delivery,
    /// The channel closes with its last handle, and every unsettled delivery on it would go back.
    _channel: Channel,
}

impl Held {
    pub(super) fn new(broker: Arc<Broker>, line: LineName, delivery: Delivery, channel: Channel) -> Held {
        Held { broker, line, delivery, _channel: channel }
    }

    pub(super) fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    pub(super) fn is_usable(&self) -> bool {
        self.delivery.acker.usable()
    }

    /// Sends it up the ladder.
    pub(super) async fn climb(&self, climb: Climb) -> Result<(), QueueError> {
        let rung = rung_for(climb.wait, &self.broker.rungs)
            .ok_or_else(|| QueueError::Settings("the ladder has no rungs".to_owned()))?;
        let exchange = self.broker.names.rung(&self.line, rung);
        let headers = headers(&self.delivery, climb, rung, Timestamp::now());
        let message = self.forward(&exchange, headers).expiring_after(climb.wait);
        self.pass_on(message.coming_back_to(&self.line)).await
    }

    /// The same message to another exchange, in our name; what came in for ingresses with a note of who sent it.
    fn forward(&self, exchange: &str, mut headers: FieldTable) -> Message {
        let logins = &self.broker.logins;
        match self.line {
            LineName::Pool(_) => {}
            LineName::Intake => note_sender(&mut headers, &self.delivery, logins),
        }
        Message::forward(&self.delivery, exchange, headers).in_the_name_of(logins.own())
    }

    /// Lays it among the dead letters.
    async fn bury(&self, attempts: u32, reason: &Reason) -> Result<(), QueueError> {
        let mut headers = own_headers(&self.delivery);
        say(&mut headers, self.line.pool(), attempts, reason);
        self.pass_on(self.forward(&self.broker.names.dead(), headers)).await
    }

    /// Publishes it elsewhere, confirmed, and only then takes it from the queue. While it cannot be published it is
    /// held: a broker under an alarm, and a rung that is gone, would have it back again and again, and a queue lays
    /// aside what came back [`DELIVERY_LIMIT`](super::topology::DELIVERY_LIMIT) times.
    async fn pass_on(&self, message: Message) -> Result<(), QueueError> {
        let until = Instant::now() + HELD_FOR;
        let mut pause = FIRST_PAUSE;
        while self.is_usable() {
            match self.broker.write(message.clone(), SETTLE).await {
                Ok(()) => return self.ack().await,
                Err(error) if !may_pass(&error) || Instant::now() + pause > until => return Err(error),
                Err(error) => self.mend(&error).await,
            }
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
        Err(QueueError::NotOurs)
    }

    /// Makes anew what somebody took away; whatever hinders that hinders the next attempt too, which tells it.
    async fn mend(&self, error: &QueueError) {
        tracing::debug!(line = %self.line, error = error as &dyn std::error::Error, "a job is held until it can be settled");
        if let QueueError::Topology { .. } = error
            && let Ok(session) = self.broker.session(SETTLE).await
            && let Ok(channel) = session.consuming().create_channel().await
        {
            let _ = declare_line(&channel, &self.broker.names, &self.line, &self.broker.rungs).await;
        }
    }

    async fn ack(&self) -> Result<(), QueueError> {
        let acked = self.delivery.acker.ack(BasicAckOptions::default());
        self.settled(acked).await
    }

    async fn give_back(&self) -> Result<(), QueueError> {
        let given_back = self.delivery.acker.nack(BACK_TO_THE_QUEUE);
        self.settled(given_back).await
    }

    async fn settled(
        &self,
        settled: impl Future<Output = Result<bool, lapin::Error>>,
    ) -> Result<(), QueueError> {
        let ours = within(SETTLE, async { settled.await.map_err(|error| unavailable(SETTLE, error)) }).await;
        match ours {
            Ok(true) => Ok(()),
            // A connection that breaks now takes the acknowledgement with it.
            Ok(false) | Err(QueueError::Unavailable { .. }) => Err(QueueError::NotOurs),
            Err(other) => Err(other),
        }
    }
}

/// Whether it may be settled later after all: a place that is gone can be made anew.
fn may_pass(error: &QueueError) -> bool {
    error.is_passing() || matches!(error, QueueError::Topology { .. })
}

const BACK_TO_THE_QUEUE: BasicNackOptions = BasicNackOptions { multiple: false, requeue: true };

impl Drop for Held {
    fn drop(&mut self) {
        // What was settled is no longer usable. The first poll hands the frame to the connection, and
        // nobody need wait for more: should it be lost, so is the connection, and the delivery goes back
        // all the same.
        if self.is_usable() {
            let _ = self.delivery.acker.nack(BACK_TO_THE_QUEUE).now_or_never();
        }
    }
}

#[async_trait]
impl Settle for Held {
    async fn settle(self: Box<Self>, how: Settlement) -> Result<(), QueueError> {
        let (attempt, set_aside) = (attempt_of(&self.delivery), set_aside_of(&self.delivery));
        match how {
            Settlement::Ack => self.ack().await,
            Settlement::Retry { after } => {
                let attempt = attempt.saturating_add(1);
                self.climb(Climb { wait: after, attempt, set_aside: Duration::ZERO }).await
            }
            Settlement::Snooze { after } => {
                self.climb(Climb { wait: after, attempt, set_aside: Duration::ZERO }).await
            }
            Settlement::SetAside { after } => {
                let set_aside = set_aside.saturating_add(after);
                self.climb(Climb { wait: after, attempt, set_aside }).await
            }
            Settlement::Release => self.give_back().await,
            Settlement::Dead { reason } => self.bury(attempt, &reason).await,
            Settlement::DeadAfter { uncounted, reason } => {
                self.bury(attempt.saturating_add(uncounted), &reason).await
            }
        }
    }

    fn is_ours(&self) -> bool {
        self.is_usable()
    }
}
