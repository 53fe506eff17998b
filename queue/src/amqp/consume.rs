//! Taking a line's messages, a pool's jobs above all, on whatever session there is.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use jiff::Timestamp;
use lapin::{
    Channel, Consumer,
    options::{
        BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, QueueDeclareOptions,
    },
    types::FieldTable,
};

use proto::PoolName;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Broker,
    envelope::{envelope_of, put_right},
    fault::{is_unknown, refusal, refused_or_away, unavailable, within},
    ladder::{Climb, attempt_of, came_back, set_aside_of, wait_of},
    session::Session,
    settle::Held,
    topology::{bind_pool, declare_common, declare_jobs, declare_line},
};
use crate::{Complaints, Deliveries, Delivery, Envelope, QueueError, Standing, line::LineName};

const TAKE: &str = "take jobs";
const LOOK: &str = "look for a pool";

/// Pause before jobs are asked for again after the broker did not give any.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How often the line of a live consumer is declared again: what else stands on the broker people may unbind or delete, and
/// a consumer does not hear of it.
const DECLARE_EVERY: Duration = Duration::from_secs(30);

/// Messages of a line, taken for as long as this lives.
pub(super) struct Taking {
    broker: Arc<Broker>,
    line: LineName,
    at_once: u16,
    feed: Option<Feed>,
}

/// A consumer on one session.
struct Feed {
    session: Arc<Session>,
    channel: Channel,
    /// Only taken out when it is dropped.
    consumer: Option<Consumer>,
    _declaring: DropGuard,
}

/// Declares a pool's line. Nothing is asked for: what waits there is handed to nobody.
pub(super) async fn declare(broker: &Broker, pool: &PoolName) -> Result<(), QueueError> {
    declare_on(&*broker.session(TAKE).await?, broker, &pool.into()).await
}

/// Binds a pool's queue to where its jobs are published; false when there is no such queue.
pub(super) async fn bind(broker: &Broker, pool: &PoolName) -> Result<bool, QueueError> {
    // Who may not bind anything would be told of that before it is looked for.
    if !is_declared(broker, pool).await? {
        return Ok(false);
    }
    let session = broker.session(LOOK).await?;
    within(LOOK, async {
        // Of its own, since the broker closes the channel on which it says no.
        let channel = session.consuming().create_channel().await.map_err(|error| unavailable(LOOK, error))?;
        match bind_pool(&channel, &broker.names, pool).await {
            Ok(()) => {
                let closed = channel.close(200, "bound".into()).await;
                closed.map(|()| true).map_err(|error| unavailable(LOOK, error))
            }
            Err(error) if is_unknown(&error) => Ok(false),
            Err(error) => Err(match refusal(&error) {
                Some(answer) => QueueError::Topology {
                    name: broker.names.pool(pool),
                    answer: format!("it is not bound to `{}`, and cannot be: {answer}", broker.names.jobs()),
                },
                None => unavailable(LOOK, error),
            }),
        }
    })
    .await
}

/// Whether a pool's line is there. A broker that does not let us look is not asked: publishing will tell.
pub(super) async fn is_declared(broker: &Broker, pool: &PoolName) -> Result<bool, QueueError> {
    Ok(!matches!(look(broker, pool).await?, Seen::Nothing))
}

/// Who consumes a pool's line, and what is ready in it; none where the broker does not let us look.
pub(super) async fn standing(broker: &Broker, pool: &PoolName) -> Result<Option<Standing>, QueueError> {
    Ok(match look(broker, pool).await? {
        Seen::Line(standing) => Some(standing),
        Seen::Nothing => Some(Standing { workers: 0, waiting: 0 }),
        Seen::Refused => None,
    })
}

/// What a look at a pool's line shows.
enum Seen {
    Line(Standing),
    Nothing,
    /// The broker does not let us look.
    Refused,
}

async fn look(broker: &Broker, pool: &PoolName) -> Result<Seen, QueueError> {
    let session = broker.session(LOOK).await?;
    within(LOOK, async {
        // Of its own, since the broker closes the channel on which it says no.
        let channel = session.consuming().create_channel().await.map_err(|error| unavailable(LOOK, error))?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let name = broker.names.line(&pool.into());
        match channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await {
            Ok(queue) => {
                let standing = Standing { workers: queue.consumer_count(), waiting: queue.message_count() };
                let closed = channel.close(200, "looked".into()).await;
                closed.map(|()| Seen::Line(standing)).map_err(|error| unavailable(LOOK, error))
            }
            Err(error) if is_unknown(&error) => Ok(Seen::Nothing),
            Err(error) if refusal(&error).is_some() => Ok(Seen::Refused),
            Err(error) => Err(unavailable(LOOK, error)),
        }
    })
    .await
}

impl Taking {
    /// Declares the line and asks for its first messages.
    pub(super) async fn begin(
        broker: Arc<Broker>,
        line: LineName,
        at_once: u16,
    ) -> Result<Taking, QueueError> {
        // To the broker, 0 means without bound.
        let mut taking = Taking { broker, line, at_once: at_once.max(1), feed: None };
        taking.feed = Some(taking.open().await?);
        Ok(taking)
    }

    async fn open(&self) -> Result<Feed, QueueError> {
        let session = self.broker.session(TAKE).await?;
        let (channel, consumer) = within(TAKE, self.consume(&session)).await?;
        let stop = CancellationToken::new();
        tokio::spawn(keep_declared(
            Arc::clone(&self.broker),
            self.line.clone(),
            Arc::clone(&session),
            stop.clone(),
        ));
        Ok(Feed { session, channel, consumer: Some(consumer), _declaring: stop.drop_guard() })
    }

    async fn consume(&self, session: &Session) -> Result<(Channel, Consumer), QueueError> {
        let Broker { names, rungs, .. } = &*self.broker;
        let channel = session.consuming().create_channel().await.map_err(|error| unavailable(TAKE, error))?;
        declare_line(&channel, names, &self.line, rungs).await?;
        let queue = names.line(&self.line);
        let options = BasicQosOptions::default();
        let limited = channel.basic_qos(self.at_once, options).await;
        limited.map_err(|error| unavailable(TAKE, error))?;
        let options = BasicConsumeOptions::default();
        let consuming =
            channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()).await;
        let consumer = consuming.map_err(|error| refused_or_away(&queue, TAKE, error))?;
        Ok((channel, consumer))
    }

    /// The next delivery of the feed; none when the feed has ended.
    async fn next_held(&mut self) -> Option<Held> {
        let feed = self.feed.as_mut()?;
        let consumer = feed.consumer.as_mut()?;
        tokio::select! {
            // First: what was buffered before the end of a session goes to somebody else.
            biased;
            () = feed.session.ended() => None,
            delivered = consumer.next() => match delivered {
                Some(Ok(mut delivery)) => {
                    if self.line == LineName::Intake {
                        put_right(&mut delivery, &self.broker.logins);
                    }
                    let channel = feed.channel.clone();
                    Some(Held::new(Arc::clone(&self.broker), self.line.clone(), delivery, channel))
                }
                Some(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(line = %self.line, error, "the broker stopped giving jobs");
                    None
                }
                None => None,
            },
        }
    }

    /// A new feed on whatever session there is. A broker that is away is waited for.
    async fn reopen(&mut self) -> Result<(), QueueError> {
        self.feed = None;
        loop {
            match self.open().await {
                Ok(feed) => {
                    self.feed = Some(feed);
                    return Ok(());
                }
                Err(error) if error.is_passing() => {
                    tracing::debug!(
                        line = %self.line,
                        error = &error as &dyn std::error::Error,
                        "no jobs can be taken for now"
                    );
                    tokio::time::sleep(ASK_AGAIN_AFTER).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends it on when it is not due yet, beside what comes next: where the broker does not take it at once, the others
    /// must not wait for that. It is ours to hand out when this returns it.
    fn due(&self, held: Held) -> Option<Held> {
        if !held.is_usable() {
            return None;
        }
        let wait = wait_of(held.delivery(), Timestamp::now());
        if wait.is_zero() {
            return Some(held);
        }
        let line = self.line.clone();
        tokio::spawn(async move {
            if let Err(error) = held.climb(Climb::of(held.delivery(), wait)).await {
                tracing::warn!(
                    %line,
                    error = &error as &dyn std::error::Error,
                    "a job that is not due could not be sent on"
                );
                // It goes back to the front of its queue when it is dropped: not at once, or it would spin.
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
        });
        None
    }
}

/// Declares a line again and again, and what all lines need, for as long as it is consumed on a session: while every place for
/// a job is taken, too. A worker that only writes into the history and among the letters opens neither again by itself.
async fn keep_declared(broker: Arc<Broker>, line: LineName, session: Arc<Session>, stop: CancellationToken) {
    let mut complaints = Complaints::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(DECLARE_EVERY) => {}
            () = session.ended() => return,
            () = stop.cancelled() => return,
        }
        let declared = match declare_on(&session, &broker, &line).await {
            Ok(()) => declare_common(session.consuming(), &broker.names, &broker.keep).await,
            refused => refused,
        };
        let error = declared.as_ref().err().map(|error| error as &dyn std::error::Error);
        match &declared {
            Err(refused @ QueueError::Topology { .. })
                if complaints.is_due(&refused.to_string(), Instant::now()) =>
            {
                tracing::error!(%line, error, "what jobs need to come and go does not stand on the broker as it should");
            }
            Ok(()) | Err(_) => tracing::debug!(%line, error, "declared again"),
        }
    }
}

async fn declare_on(session: &Session, broker: &Broker, line: &LineName) -> Result<(), QueueError> {
    within(TAKE, async {
        let channel = session.consuming().create_channel().await.map_err(|error| unavailable(TAKE, error))?;
        declare_jobs(&channel, &broker.names).await?;
        declare_line(&channel, &broker.names, line, &broker.rungs).await?;
        channel.close(200, "declared".into()).await.map_err(|error| unavailable(TAKE, error))
    })
    .await
}

#[async_trait]
impl Deliveries for Taking {
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        loop {
            let Some(held) = self.next_held().await else {
                self.reopen().await?;
                continue;
            };
            if let Some(held) = self.due(held) {
                let body = held.delivery().data.clone().into();
                let attempt = attempt_of(held.delivery());
                let came_back = came_back(held.delivery());
                let envelope = match self.line {
                    LineName::Pool(_) => Envelope::default(),
                    LineName::Intake => envelope_of(held.delivery(), &self.broker.logins),
                };
                let set_aside = set_aside_of(held.delivery());
                let delivery = Delivery::new(body, attempt, Box::new(held)).set_aside_for(set_aside);
                return Ok(delivery.given_out_before(came_back).in_envelope(envelope));
            }
        }
    }
}

impl Drop for Feed {
    /// What was sent to us and not handed out goes back at once: the channel lives on with the deliveries
    /// that were, and would keep the rest until the last of them is settled.
    fn drop(&mut self) {
        let (Some(mut consumer), Ok(runtime)) = (self.consumer.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let channel = self.channel.clone();
        runtime.spawn(async move {
            let options = BasicCancelOptions::default();
            let cancel = async {
                let cancelled = channel.basic_cancel(consumer.tag(), options).await;
                cancelled.map_err(|error| unavailable(TAKE, error))
            };
            if within(TAKE, cancel).await.is_err() {
                return;
            }
            while let Some(Ok(delivery)) = consumer.next().await {
                let back = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
                let _ = delivery.acker.nack(back).await;
            }
        });
    }
}
