//! Taking jobs of a pool and settling them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Engine, blocking,
    clock::Micros,
    pools::{Claim, Line, Place},
    tables::{JOBS, SET_ASIDE},
    writing::{Act, Held},
};
use crate::{Deliveries, Delivery, Envelope, QueueError, Settle, Settlement};

/// How long a taker sleeps at most before it looks at the clock again: the machine's clock may be set
/// forward while it sleeps.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The jobs of a pool for one taker.
pub(super) struct Takings {
    engine: Arc<Engine>,
    line: Arc<Line>,
    places: Arc<Semaphore>,
}

/// A job in a worker's hands.
struct Taken {
    engine: Arc<Engine>,
    claim: Claim,
    held: Held,
}

/// What a look at the line found.
enum Look {
    Taken {
        claim: Claim,
        held: Held,
    },
    /// Nothing yet: give the permit back and look again at this time, or when something changes.
    NotBefore {
        from: Option<Micros>,
        permit: OwnedSemaphorePermit,
    },
}

/// A job that waits, as its row says it.
struct Waiting {
    place: Place,
    held: Held,
}

impl Takings {
    pub(super) fn new(engine: Arc<Engine>, line: Arc<Line>, at_once: u16) -> Takings {
        let places = Arc::new(Semaphore::new(usize::from(at_once.max(1))));
        Takings { engine, line, places }
    }

    async fn take(&self) -> Result<Delivery, QueueError> {
        let permit = Arc::clone(&self.places).acquire_owned().await;
        let mut permit = permit.map_err(|_| QueueError::Closed)?;
        loop {
            // Listens before it looks, so that nothing falls between the two.
            let mut change = std::pin::pin!(self.line.change());
            change.as_mut().enable();
            let (engine, line) = (Arc::clone(&self.engine), Arc::clone(&self.line));
            match blocking(move || look(&engine, &line, permit)).await? {
                Look::Taken { claim, held } => return Ok(self.delivery(claim, held)),
                Look::NotBefore { from, permit: back } => {
                    permit = back;
                    tokio::select! {
                        () = change => {}
                        () = tokio::time::sleep(self.until(from)) => {}
                    }
                }
            }
        }
    }

    fn delivery(&self, claim: Claim, held: Held) -> Delivery {
        let engine = Arc::clone(&self.engine);
        let Held { attempt, set_aside, body } = held.clone();
        let taken = Taken { engine, claim, held };
        // Nobody but this process can hand anything in.
        Delivery::new(body, attempt, Box::new(taken))
            .set_aside_for(Duration::from_micros(set_aside))
            .in_envelope(Envelope { is_own: true, ..Envelope::default() })
    }

    fn until(&self, from: Option<Micros>) -> Duration {
        let now = self.engine.clock.now();
        from.map_or(LONGEST_SLEEP, |from| Duration::from_micros(from.saturating_sub(now))).min(LONGEST_SLEEP)
    }
}

#[async_trait]
impl Deliveries for Takings {
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        tokio::select! {
            biased;
            () = self.engine.closed.cancelled() => Err(QueueError::Closed),
            taken = self.take() => taken,
        }
    }
}

#[async_trait]
impl Settle for Taken {
    async fn settle(self: Box<Self>, how: Settlement) -> Result<(), QueueError> {
        let Taken { engine, claim, held } = *self;
        if how == Settlement::Release {
            // Nothing to write: it never left the line.
            return engine.ensure_open();
        }
        engine.perform(Act::Settle { claim, held, how }).await
    }

    fn is_ours(&self) -> bool {
        !self.engine.closed.is_cancelled()
    }
}

/// Takes the first job of the line that is in nobody's hands, if its time has come. Blocks.
fn look(engine: &Engine, line: &Arc<Line>, permit: OwnedSemaphorePermit) -> Result<Look, QueueError> {
    let mut claimed = line.claimed();
    let free = |place: &Place| !claimed.contains(place);
    let first = engine.store.read("take a job", |file| first_in_line(file, line.name().as_str(), free))?;
    let now = engine.clock.now();
    Ok(match first {
        Some(Waiting { place, held }) if place.0 <= now => {
            let claim = line.claim(&mut claimed, place, permit);
            Look::Taken { claim, held }
        }
        Some(waiting) => Look::NotBefore { from: Some(waiting.place.0), permit },
        None => Look::NotBefore { from: None, permit },
    })
}

fn first_in_line(
    file: &ReadTransaction,
    pool: &str,
    free: impl Fn(&Place) -> bool,
) -> Result<Option<Waiting>, redb::Error> {
    let jobs = file.open_table(JOBS)?;
    for row in ReadableTable::range(&jobs, (pool, 0, 0)..=(pool, u64::MAX, u64::MAX))? {
        let (key, value) = row?;
        let (_, from, number) = key.value();
        if free(&(from, number)) {
            let (attempt, body) = value.value();
            let set_aside = file.open_table(SET_ASIDE)?.get(number)?.map_or(0, |set_aside| set_aside.value());
            let held = Held { attempt, set_aside, body: Bytes::copy_from_slice(body) };
            return Ok(Some(Waiting { place: (from, number), held }));
        }
    }
    Ok(None)
}
