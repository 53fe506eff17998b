//! Asking the workers of a pool, since only they can look at the targets.

use async_trait::async_trait;
use bytes::Bytes;

use crate::QueueError;

/// The questions put to a pool, one by one. Several listeners of one pool compete: one of them gets each.
#[async_trait]
pub trait Questions: Send {
    /// The next question. A lost connection is mended underneath; whoever asked meanwhile asks again.
    ///
    /// # Errors
    /// When the engine is closed or refuses for good.
    async fn next(&mut self) -> Result<Question, QueueError>;
}

/// Carries an answer back; engines implement it, nobody else calls it.
#[async_trait]
pub trait Answer: Send + Sync {
    /// Sends the answer. An asker that has left, is slow or never was is no failure and costs no time.
    async fn answer(self: Box<Self>, answer: Bytes);
}

/// A question in a worker's hands. Dropped, it is never answered, and the asker's time runs out.
pub struct Question {
    body: Bytes,
    answer: Box<dyn Answer>,
}

impl Question {
    /// A question, as an engine makes it.
    pub fn new(body: Bytes, answer: Box<dyn Answer>) -> Question {
        Question { body, answer }
    }

    /// What is asked, which may be anything.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Answers it. Whether somebody still waits for the answer is not known, and no matter.
    pub async fn answer(self, answer: Bytes) {
        self.answer.answer(answer).await;
    }
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}
