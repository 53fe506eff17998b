//! RabbitMQ, 3.10 or later, without plugins. The only place that names `lapin`.

mod alone;
mod answer;
mod aside;
mod ask;
mod connect;
mod consume;
mod dial;
mod echoes;
mod envelope;
mod examine;
mod fault;
mod history;
mod ladder;
mod letter;
mod letters;
mod live;
mod lock;
mod logins;
mod message;
mod names;
mod open_letters;
mod pauses;
mod publish;
mod retention;
mod session;
mod settle;
mod stream;
mod supervisor;
mod topology;
mod unreached;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use proto::{Catalogue, Event, Job, JobId, PoolName, Reason, State, TargetName};
use tokio::time::Instant;

pub use self::examine::{Examined, examine};
use self::{
    alone::Alone,
    answer::Hearing,
    aside::Aside,
    ask::Asker,
    consume::Taking,
    echoes::Echoes,
    history::StreamHistory,
    letters::Letters,
    live::Listener,
    lock::Locks,
    logins::Logins,
    message::{Message, Taken},
    names::{Names, SIGHTING_KEY, catalogue_key, event_key, job_key},
    publish::Lost,
    session::Session,
    supervisor::Supervisor,
};
use crate::{
    AmqpSettings, Closed, DeadLetter, Deliveries, History, Keep, LetterFilter, LetterId, Live, Lock,
    Questions, Queue, QueueError, Since, Standing, letter::of_job, line::LineName,
};

/// Longest wait for a session before a call is given up: nothing was done.
const SESSION_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for a publish to be confirmed, the time to find a session included.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

const PUBLISH: &str = "publish a job";

const JOB: &str = "application/json";
const EVENT: &str = "application/cloudevents+json";
const CLOSED: &str = "application/vnd.longshore.closed-letter+json";

/// The engine on RabbitMQ.
pub struct Amqp {
    broker: Arc<Broker>,
    locks: Locks,
    letters: Letters,
    asker: Asker,
}

/// What every part of the engine shares: the names, and the way to the live session.
struct Broker {
    names: Names,
    /// As whom we log in, and as whom others of the fleet do.
    logins: Arc<Logins>,
    rungs: Vec<Duration>,
    /// What of the dead letters and the history.
    keep: Keep,
    supervisor: Supervisor,
    /// What this process says, until it is read back.
    echoes: Arc<Echoes>,
    /// For messages that the broker may have refused.
    alone: Alone,
    /// On which questions are heard and answered.
    answering: Aside,
}

impl Amqp {
    /// Opens the engine. A broker that is away is no error: it is waited for.
    ///
    /// # Errors
    /// [`QueueError::Settings`] when the broker refuses the login or the settings cannot work;
    /// [`QueueError::Topology`] when it holds something else under a name of ours.
    pub async fn open(settings: &AmqpSettings) -> Result<Amqp, QueueError> {
        settings.check()?;
        let names = Names::new(&settings.prefix);
        let mut rungs = settings.rungs.clone();
        rungs.sort_unstable();
        let supervisor = Supervisor::start(settings.clone(), names.clone()).await?;
        let alone = Alone::new(settings.clone());
        let answering = Aside::new(settings.clone(), "answering");
        let logins = Arc::new(Logins::of(settings));
        let keep = settings.keep;
        let echoes = Arc::default();
        let broker = Arc::new(Broker { names, logins, rungs, keep, supervisor, echoes, alone, answering });
        let asker = Asker::new(settings.clone());
        tokio::spawn(retention::look(Arc::downgrade(&broker)));
        Ok(Amqp { broker, locks: Locks::default(), letters: Letters::default(), asker })
    }
}

impl fmt::Debug for Amqp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Amqp").field("names", &self.broker.names).finish_non_exhaustive()
    }
}

#[async_trait]
impl Queue for Amqp {
    async fn publish(&self, job: &Job) -> Result<(), QueueError> {
        let (jobs, key) = (self.broker.names.jobs(), job_key(&job.target));
        let message = Message::new(&jobs, &key, &job.id.to_string(), job.encode()).content_type(JOB);
        // Should the broker lay it aside, it says whose it was.
        let message = Arc::new(message.in_the_name_of(self.broker.logins.own()));
        let pool = job.target.pool();
        let mut taken = self.broker.publish(&message, PUBLISH).await?;
        // The queue may stand and have lost its binding: with an exchange that was deleted, or by hand.
        if matches!(taken, Taken::Nowhere) && consume::bind(&self.broker, pool).await? {
            tracing::warn!(%pool, "the pool's queue was not bound to where jobs are published, and was bound again");
            taken = self.broker.publish(&message, PUBLISH).await?;
        }
        match taken {
            Taken::Everywhere => Ok(()),
            Taken::NotEverywhere => Err(QueueError::Full),
            Taken::Nowhere => Err(QueueError::NoPool(pool.clone())),
        }
    }

    async fn is_served(&self, pool: &PoolName) -> Result<bool, QueueError> {
        consume::is_declared(&self.broker, pool).await
    }

    async fn standing(&self, pool: &PoolName) -> Result<Option<Standing>, QueueError> {
        consume::standing(&self.broker, pool).await
    }

    async fn take(&self, pool: &PoolName, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        Ok(Box::new(Taking::begin(Arc::clone(&self.broker), pool.into(), at_once).await?))
    }

    async fn declare(&self, pool: &PoolName) -> Result<(), QueueError> {
        consume::declare(&self.broker, pool).await
    }

    async fn lock(&self, target: &TargetName) -> Result<Option<Lock>, QueueError> {
        self.locks.lock(&self.broker, target).await
    }

    async fn emit(&self, event: &Event) -> Result<(), QueueError> {
        let (events, key) = (self.broker.names.events(), event_key(event));
        let mut message = Message::new(&events, &key, &event.id.to_string(), event.encode());
        // Nobody need listen to progress; all else at least the history takes.
        message.mandatory = event.state() != State::Progress;
        // Whoever reads it learns under which names the fleet logs in.
        let message = message.content_type(EVENT).in_the_name_of(self.broker.logins.own());
        if message.mandatory {
            self.broker.echoes.keep(event, &message);
        }
        match self.broker.publish(&Arc::new(message), "say an event").await? {
            // A subscriber's full queue refuses for all, though the history has it. What counts as said is
            // what is seen there.
            Taken::Everywhere | Taken::NotEverywhere => Ok(()),
            Taken::Nowhere => Err(self.broker.history_is_gone()),
        }
    }

    async fn retell(&self, event: &Event) -> Result<(), QueueError> {
        let name = event.id.to_string();
        // Through the default exchange: subscribers never see it.
        let message = Message::new("", &self.broker.names.history(), &name, event.encode());
        self.broker.write(message.content_type(EVENT), "hand over the history").await
    }

    async fn mark(&self, marker: uuid::Uuid) -> Result<(), QueueError> {
        let message = Message::marker(&self.broker.names.history(), marker);
        self.broker.write(message, "mark the history").await
    }

    async fn history(&self, since: Since) -> Result<Box<dyn History>, QueueError> {
        Ok(Box::new(StreamHistory::open(&self.broker, since).await?))
    }

    async fn live(&self) -> Result<Box<dyn Live>, QueueError> {
        Ok(Box::new(Listener::open(&self.broker).await?))
    }

    async fn letters_that(&self, wanted: LetterFilter) -> Result<Vec<DeadLetter>, QueueError> {
        self.letters.seek(&self.broker, wanted).await
    }

    async fn was_buried(&self, job: JobId, since: Timestamp) -> Result<bool, QueueError> {
        letters::any(&self.broker, since, &of_job(job)).await
    }

    async fn close_letter(&self, letter: LetterId, how: Closed) -> Result<Closed, QueueError> {
        self.letters.close(&self.broker, letter, how).await
    }

    async fn bury(
        &self,
        body: Bytes,
        pool: &PoolName,
        attempts: u32,
        reason: &Reason,
    ) -> Result<(), QueueError> {
        let message = letter::message(&self.broker.names.dead(), body, pool, attempts, reason);
        let message = message.in_the_name_of(self.broker.logins.own());
        self.broker.write(message, "write a dead letter").await
    }

    async fn ask(&self, pool: &PoolName, question: Bytes, within: Duration) -> Result<Bytes, QueueError> {
        tokio::select! {
            biased;
            () = self.broker.supervisor.stopped() => Err(QueueError::Closed),
            answered = self.asker.ask(&self.broker.names, pool, question, within) => answered,
        }
    }

    async fn questions(&self, pool: &PoolName) -> Result<Box<dyn Questions>, QueueError> {
        tokio::select! {
            biased;
            () = self.broker.supervisor.stopped() => Err(QueueError::Closed),
            hearing = Hearing::begin(Arc::clone(&self.broker), pool.clone()) => Ok(Box::new(hearing?)),
        }
    }

    async fn list(&self, catalogue: &Catalogue) -> Result<(), QueueError> {
        let (events, key) = (self.broker.names.events(), catalogue_key(catalogue));
        let message = Message::new(&events, &key, &catalogue.id.to_string(), catalogue.encode());
        let message = Arc::new(message.content_type(EVENT));
        match self.broker.publish(&message, "tell a catalogue").await? {
            // As with an event: a subscriber's full queue refuses for all, though the history has it.
            Taken::Everywhere | Taken::NotEverywhere => Ok(()),
            Taken::Nowhere => Err(self.broker.history_is_gone()),
        }
    }

    async fn submit(&self, message: Bytes) -> Result<(), QueueError> {
        let (intake, id) = (self.broker.names.intake(), uuid::Uuid::now_v7().to_string());
        let message = Message::new(&intake, SIGHTING_KEY, &id, message).content_type(JOB);
        let message = message.in_the_name_of(self.broker.logins.own());
        self.broker.write(message, "hand something in").await
    }

    async fn intake(&self, at_once: u16) -> Result<Box<dyn Deliveries>, QueueError> {
        Ok(Box::new(Taking::begin(Arc::clone(&self.broker), LineName::Intake, at_once).await?))
    }

    fn is_available(&self) -> bool {
        self.broker.supervisor.current().is_some_and(|session| !session.is_blocked())
    }

    fn is_readable(&self) -> bool {
        self.broker.supervisor.current().is_some()
    }

    async fn close(&self) {
        let Broker { supervisor, alone, answering, .. } = &*self.broker;
        futures::join!(supervisor.close(), alone.close(), answering.close(), self.asker.close());
    }
}

impl Broker {
    /// The live session, waited for a short time.
    async fn session(&self, attempted: &'static str) -> Result<Arc<Session>, QueueError> {
        self.supervisor.session(Instant::now() + SESSION_WITHIN, attempted).await
    }

    /// Publishes, on the next session again when one is lost, until the outcome is known or the time is over.
    async fn publish(&self, message: &Arc<Message>, attempted: &'static str) -> Result<Taken, QueueError> {
        let deadline = Instant::now() + CONFIRM_WITHIN;
        let mut may_have_arrived = false;
        loop {
            let session = match self.open_for_messages(deadline, attempted).await {
                Ok(session) => session,
                Err(_) if may_have_arrived => return Err(QueueError::Unconfirmed { attempted }),
                Err(error) => return Err(error),
            };
            if message.frame_bytes() > session.largest_frame() {
                let answer = "the message's headers are larger than what it takes".to_owned();
                return Err(QueueError::Topology { name: message.exchange.to_string(), answer });
            }
            if self.alone.is_for(message) {
                return self.publish_alone(message, deadline, attempted).await;
            }
            let published = session.publisher().publish(Arc::clone(message));
            let lost = match tokio::time::timeout_at(deadline, published).await {
                Ok(Ok(taken)) => return Ok(taken),
                Ok(Err(lost)) => lost,
                Err(_) => return Err(QueueError::Unconfirmed { attempted }),
            };
            may_have_arrived = true;
            match lost {
                Lost::Channel(error) => {
                    session.end(error.to_string());
                    // Which of all that were under way it meant is seen when each goes by itself.
                    if fault::message_refusal(&error).is_some() {
                        return self.publish_alone(message, deadline, attempted).await;
                    }
                }
                Lost::Session => session.end("publishing ended"),
            }
        }
    }

    async fn publish_alone(
        &self,
        message: &Arc<Message>,
        deadline: Instant,
        attempted: &'static str,
    ) -> Result<Taken, QueueError> {
        let publishing = self.alone.publish(message, attempted);
        match tokio::time::timeout_at(deadline, publishing).await {
            // It may have arrived with others before.
            Ok(Err(QueueError::Unavailable { .. })) | Err(_) => Err(QueueError::Unconfirmed { attempted }),
            Ok(outcome) => outcome,
        }
    }

    /// Publishes what every queue it goes to must have.
    async fn write(&self, message: Message, attempted: &'static str) -> Result<(), QueueError> {
        let to = if message.exchange.as_str().is_empty() { &message.key } else { &message.exchange };
        let name = to.to_string();
        match self.publish(&Arc::new(message), attempted).await? {
            Taken::Everywhere => Ok(()),
            Taken::NotEverywhere => Err(QueueError::Full),
            Taken::Nowhere => {
                let answer = "it is gone, or no queue is bound to it".to_owned();
                Err(QueueError::Topology { name, answer })
            }
        }
    }

    /// A session whose broker takes messages, waited for a short time.
    async fn open_for_messages(
        &self,
        deadline: Instant,
        attempted: &'static str,
    ) -> Result<Arc<Session>, QueueError> {
        let deadline = deadline.min(Instant::now() + SESSION_WITHIN);
        loop {
            let session = self.supervisor.session(deadline, attempted).await?;
            if !session.is_blocked() {
                return Ok(session);
            }
            if tokio::time::timeout_at(deadline, session.unblocked()).await.is_err() {
                return Err(QueueError::Unavailable { attempted, source: Blocked.into() });
            }
        }
    }

    fn history_is_gone(&self) -> QueueError {
        let name = self.names.history();
        QueueError::Topology { name, answer: "it is gone, or no longer bound to the events".to_owned() }
    }
}

/// The broker is low on memory or disk.
#[derive(Debug, thiserror::Error)]
#[error("the broker takes no messages for now: it is low on memory or disk")]
struct Blocked;
