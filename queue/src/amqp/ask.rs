//! Asking a pool: a request to its queue, and the answer over RabbitMQ's direct reply-to.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use lapin::{
    Channel, Connection, Consumer,
    message::Delivery,
    options::BasicConsumeOptions,
    types::{FieldTable, ShortString},
};
use proto::PoolName;
use tokio::{sync::oneshot, time::Instant};
use uuid::Uuid;

use super::{
    aside::Aside,
    fault::{message_refusal, unavailable},
    message::{Message, Taken, short},
    names::Names,
    publish::{Lost, Publisher},
};
use crate::{AmqpSettings, QueueError};

const ASK: &str = "ask a pool's workers";

/// Where the broker takes answers for us, on the channel that asks.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// Pause before the broker is reached for again.
const REACH_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Asks, on a connection of its own.
pub(super) struct Asker {
    aside: Aside,
    line: tokio::sync::Mutex<Option<Arc<Line>>>,
}

/// A channel on which questions go out and their answers come in.
struct Line {
    connection: Arc<Connection>,
    channel: Channel,
    publisher: Publisher,
    waiting: Waiting,
}

/// Who waits for which answer; nobody any more once the line has ended.
#[derive(Clone)]
struct Waiting {
    askers: Arc<Mutex<Option<Askers>>>,
}

/// By the names of their questions.
type Askers = HashMap<String, oneshot::Sender<Bytes>>;

/// How far a question got.
#[derive(Default)]
struct Course {
    /// The line it went out on, until the broker has it.
    unconfirmed: Option<Arc<Line>>,
    /// A worker's queue has it.
    is_put: bool,
    /// What last kept it from going out.
    obstacle: Option<QueueError>,
}

impl Course {
    /// A line was lost under the question, which has to be put once more.
    ///
    /// # Errors
    /// When the broker refused it: that closes the channel, and the next one too.
    fn note_lost(&mut self, names: &Names, pool: &PoolName, lost: Lost) -> Result<(), QueueError> {
        self.is_put = false;
        if let Lost::Channel(error) = lost {
            if let Some(answer) = message_refusal(&error) {
                return Err(QueueError::Topology { name: names.ask(pool), answer });
            }
            self.obstacle = Some(unavailable(ASK, error));
        }
        Ok(())
    }
}

impl Asker {
    pub(super) fn new(settings: AmqpSettings) -> Asker {
        Asker { aside: Aside::new(settings, "asking"), line: tokio::sync::Mutex::default() }
    }

    /// Asks until an answer comes, on the next line again when one is lost.
    pub(super) async fn ask(
        &self,
        names: &Names,
        pool: &PoolName,
        question: Bytes,
        within: Duration,
    ) -> Result<Bytes, QueueError> {
        let (deadline, mut course) = (Instant::now() + within, Course::default());
        let asking = self.ask_again_and_again(names, pool, (question, deadline), &mut course);
        if let Ok(answered) = tokio::time::timeout_at(deadline, asking).await {
            return answered;
        }
        if course.is_put {
            return Err(QueueError::NoAnswer { pool: pool.clone(), within });
        }
        if let Some(silent) = course.unconfirmed {
            self.aside.forget(&silent.connection).await;
        }
        let source = course.obstacle.map_or_else(|| "the broker did not answer in time".into(), Into::into);
        Err(QueueError::Unavailable { attempted: ASK, source })
    }

    /// Ends the line. What is asked later opens another.
    pub(super) async fn close(&self) {
        self.line.lock().await.take();
        self.aside.close().await;
    }

    async fn ask_again_and_again(
        &self,
        names: &Names,
        pool: &PoolName,
        (question, deadline): (Bytes, Instant),
        course: &mut Course,
    ) -> Result<Bytes, QueueError> {
        loop {
            let line = match self.line().await {
                Ok(line) => line,
                Err(error) if error.is_passing() => {
                    course.obstacle = Some(error);
                    tokio::time::sleep(REACH_AGAIN_AFTER).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            course.unconfirmed = Some(Arc::clone(&line));
            let message = request(&names.ask(pool), question.clone(), deadline);
            match line.put(message, course).await {
                Ok(Heard::Answer(answer)) => return Ok(answer),
                Ok(Heard::Nobody) => return Err(QueueError::NobodyAlive(pool.clone())),
                Ok(Heard::Full) => return Err(QueueError::Full),
                Err(lost) => {
                    course.note_lost(names, pool, lost)?;
                    tokio::time::sleep(REACH_AGAIN_AFTER).await;
                }
            }
        }
    }

    async fn line(&self) -> Result<Arc<Line>, QueueError> {
        let mut kept = self.line.lock().await;
        if let Some(line) = kept.as_ref().filter(|line| line.is_up()) {
            return Ok(Arc::clone(line));
        }
        let line = Arc::new(Line::open(self.aside.connection().await?).await?);
        *kept = Some(Arc::clone(&line));
        Ok(line)
    }
}

/// What became of a question.
enum Heard {
    Answer(Bytes),
    /// It came back: nobody listens.
    Nobody,
    /// Too many questions wait.
    Full,
}

impl Line {
    async fn open(connection: Arc<Connection>) -> Result<Line, QueueError> {
        let (publisher, channel) = Publisher::open(&connection).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consuming =
            channel.basic_consume(REPLY_TO.into(), "".into(), options, FieldTable::default()).await;
        let consumer = consuming.map_err(|error| unavailable(ASK, error))?;
        let waiting = Waiting { askers: Arc::new(Mutex::new(Some(HashMap::new()))) };
        tokio::spawn(hand_out(consumer, waiting.clone()));
        Ok(Line { connection, channel, publisher, waiting })
    }

    fn is_up(&self) -> bool {
        self.waiting.is_served() && self.channel.status().connected() && self.connection.status().connected()
    }

    /// Puts a question and waits for the answer, however long it takes.
    ///
    /// # Errors
    /// When the line was lost, and with it the answer.
    async fn put(&self, message: Message, course: &mut Course) -> Result<Heard, Lost> {
        let id = message.properties.message_id().clone().ok_or(Lost::Session)?.to_string();
        let mut asker = self.waiting.enter(&id).ok_or(Lost::Session)?;
        let publishing = self.publisher.publish(Arc::new(message));
        tokio::pin!(publishing);
        loop {
            tokio::select! {
                biased;
                answer = &mut asker.answer => return match answer {
                    Ok(answer) => Ok(Heard::Answer(answer)),
                    // Who publishes is told why the channel closed, which is where answers come from.
                    Err(_) if !course.is_put => Err(publishing.await.err().unwrap_or(Lost::Session)),
                    Err(_) => Err(Lost::Session),
                },
                taken = &mut publishing, if !course.is_put => match taken? {
                    Taken::Everywhere => (course.is_put, course.unconfirmed) = (true, None),
                    Taken::NotEverywhere => return Ok(Heard::Full),
                    Taken::Nowhere => return Ok(Heard::Nobody),
                },
            }
        }
    }
}

/// The request, which the broker drops when the asker has left.
fn request(queue: &str, question: Bytes, deadline: Instant) -> Message {
    let id = Uuid::now_v7().to_string();
    let left = deadline.saturating_duration_since(Instant::now());
    let mut message = Message::new("", queue, &id, question);
    message.properties = message
        .properties
        .with_reply_to(REPLY_TO.into())
        .with_correlation_id(short(&id))
        .with_expiration(short(&left.as_millis().to_string()));
    message
}

/// Hands every answer to whoever waits for it, until the line ends.
async fn hand_out(mut answers: Consumer, waiting: Waiting) {
    while let Some(Ok(answer)) = answers.next().await {
        waiting.tell(answer);
    }
    waiting.end();
}

/// One who waits; when it stops waiting, nobody does.
struct WaitingAsker<'a> {
    waiting: &'a Waiting,
    id: &'a str,
    answer: oneshot::Receiver<Bytes>,
}

impl Waiting {
    fn enter<'a>(&'a self, id: &'a str) -> Option<WaitingAsker<'a>> {
        let (told, answer) = oneshot::channel();
        self.with(|askers| askers.as_mut().map(|askers| askers.insert(id.to_owned(), told)))?;
        Some(WaitingAsker { waiting: self, id, answer })
    }

    fn tell(&self, answer: Delivery) {
        let id = answer.properties.correlation_id().as_ref().map(ShortString::as_str).unwrap_or_default();
        let asker = self.with(|askers| askers.as_mut().and_then(|askers| askers.remove(id)));
        // Whoever asked may have left.
        asker.into_iter().for_each(|asker| {
            let _ = asker.send(answer.data.clone().into());
        });
    }

    fn is_served(&self) -> bool {
        self.with(|askers| askers.is_some())
    }

    /// Tells all that wait that nothing more comes.
    fn end(&self) {
        self.with(|askers| *askers = None);
    }

    fn with<T>(&self, work: impl FnOnce(&mut Option<Askers>) -> T) -> T {
        work(&mut self.askers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for WaitingAsker<'_> {
    fn drop(&mut self) {
        self.waiting.with(|askers| askers.as_mut().map(|askers| askers.remove(self.id)));
    }
}
