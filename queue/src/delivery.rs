//! One job in a worker's hands, settled once and by value.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use proto::Reason;

use crate::QueueError;

/// The jobs of a pool, one by one.
#[async_trait]
pub trait Deliveries: Send {
    /// The next job, as soon as there is one and fewer than `at_once` are unsettled. A lost connection is
    /// mended underneath; what was unsettled then comes again.
    ///
    /// # Errors
    /// When the engine is closed or refuses for good.
    async fn next(&mut self) -> Result<Delivery, QueueError>;
}

/// What an engine does to settle a delivery; engines implement it, nobody else calls it.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Settles. Called once. When it is never called, the delivery comes again, as after a crash.
    async fn settle(self: Box<Self>, how: Settlement) -> Result<(), QueueError>;

    /// Whether the delivery is still ours: a lost connection gives it to somebody else.
    fn is_ours(&self) -> bool;
}

/// How a delivery ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Done with, whatever the job's end was.
    Ack,
    /// Comes again after this time, and the attempt counts.
    Retry {
        /// At least this long.
        after: Duration,
    },
    /// Comes again after this time, and the attempt does not count.
    Snooze {
        /// At least this long.
        after: Duration,
    },
    /// The same of what its taker cannot read, and a newer version may: [`Delivery::set_aside`] counts for how long.
    SetAside {
        /// At least this long.
        after: Duration,
    },
    /// Given back at once, untouched: the worker stops.
    Release,
    /// Goes to the dead letters with the reason, the number of attempts and the original body.
    Dead {
        /// Why.
        reason: Reason,
    },
    /// The same of a job that was begun oftener than was counted: its workers crashed.
    DeadAfter {
        /// Attempts beside those that were counted.
        uncounted: u32,
        /// Why.
        reason: Reason,
    },
}

/// What is known of a submission beside its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Who sent it, as the broker attests; none where the sender did not say.
    pub user: Option<String>,
    /// Whether it was one of Longshore's own processes.
    pub is_own: bool,
    /// What its sender calls it; else a name that it keeps while it comes back.
    pub id: Option<String>,
    /// The media type of its body.
    pub content_type: Option<String>,
    /// Its headers, as far as they are texts or whole numbers.
    pub headers: Vec<(String, String)>,
}

/// A job's message in a worker's hands.
#[must_use = "a delivery that is dropped comes again"]
pub struct Delivery {
    body: Bytes,
    attempt: u32,
    came_back: bool,
    set_aside: Duration,
    envelope: Envelope,
    settle: Box<dyn Settle>,
}

impl Delivery {
    /// A delivery, as an engine makes it: `attempt` counts from 1.
    pub fn new(body: Bytes, attempt: u32, settle: Box<dyn Settle>) -> Delivery {
        Delivery {
            body,
            attempt,
            came_back: false,
            set_aside: Duration::ZERO,
            envelope: Envelope::default(),
            settle,
        }
    }

    /// The same, given out before or not, see [`Delivery::came_back`].
    pub fn given_out_before(mut self, came_back: bool) -> Delivery {
        self.came_back = came_back;
        self
    }

    /// The same, set aside so long before, see [`Delivery::set_aside`].
    pub fn set_aside_for(mut self, set_aside: Duration) -> Delivery {
        self.set_aside = set_aside;
        self
    }

    /// The same with what is known of it beside its body.
    pub fn in_envelope(mut self, envelope: Envelope) -> Delivery {
        self.envelope = envelope;
        self
    }

    /// What is known of it beside its body, of a submission.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The message, which may be anything: see [`proto::Job::decode`].
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Which attempt this is, from 1. Snoozes, releases and crashes do not count.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether another process may have had it before: what that one said of it may not have been read here yet.
    #[must_use]
    pub fn came_back(&self) -> bool {
        self.came_back
    }

    /// How long it was set aside until now, without anybody in between who could read it: all that
    /// [`Settlement::SetAside`] asked for, whoever asked, in milliseconds at the least. It waited at least so long; time for
    /// which it waited for a taker does not count.
    #[must_use]
    pub fn set_aside(&self) -> Duration {
        self.set_aside
    }

    /// Whether it is still ours to carry out. Not after the connection it came on was lost.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.settle.is_ours()
    }

    /// Settles it, for good. Whatever it is to come back as is durable before it is taken from the queue.
    ///
    /// # Errors
    /// [`QueueError::NotOurs`] when it was lost meanwhile: it comes again, to somebody.
    pub async fn settle(self, how: Settlement) -> Result<(), QueueError> {
        self.settle.settle(how).await
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}
