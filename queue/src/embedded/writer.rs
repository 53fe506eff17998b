//! The one writer: whatever waits while it syncs is written with the next sync.

use std::{
    collections::HashSet,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{mpsc, oneshot, watch},
};
use tokio_util::sync::CancellationToken;

use super::{
    batch::Batch,
    clock::{Clock, Dates},
    failure::Shared,
    pools::Pools,
    retention::{Load, Retention},
    store::Store,
    writing::Act,
};
use crate::{QueueError, line::LineName};

/// How many acts may wait for the writer before callers wait to hand in theirs.
const WAITING_ACTS: usize = 1024;

/// How many acts are written with one sync at most: what a crash of the disk fails at once.
const BATCH: usize = 512;

/// Which part of the time that the last batch took is waited for more to come: where a sync is dear it is worth more.
const MOMENT: u32 = 8;

/// It is waited for no longer, however long that was.
const LONGEST_MOMENT: Duration = Duration::from_millis(1);

/// Hands acts to the writer's thread.
pub(super) struct Writer {
    messages: mpsc::Sender<Message>,
    finished: CancellationToken,
}

/// What the writer works with.
pub(super) struct Desk {
    pub(super) store: Arc<Store>,
    pub(super) pools: Arc<Pools>,
    pub(super) clock: Arc<Clock>,
    pub(super) dates: Dates,
    pub(super) retention: Retention,
    pub(super) load: Arc<Load>,
    /// The last position in the history that readers may read.
    pub(super) said: watch::Sender<u64>,
    /// Where callers are told what became of a batch; none to tell them from the writer's thread.
    pub(super) runtime: Option<Handle>,
}

/// The runtime this is called in, where its threads go on by themselves.
pub(super) fn lively_runtime() -> Option<Handle> {
    Handle::try_current().ok().filter(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

enum Message {
    Do(Request),
    Stop,
}

struct Request {
    act: Act,
    done: Caller,
}

/// Who waits for an act.
type Caller = oneshot::Sender<Result<(), QueueError>>;

/// What became of a batch, for everybody in it. They are told when this is dropped, wherever that happens.
struct Answers(Vec<(Caller, Result<(), QueueError>)>);

impl Drop for Answers {
    fn drop(&mut self) {
        for (caller, outcome) in self.0.drain(..) {
            // Fails only where the caller has given up.
            let _ = caller.send(outcome);
        }
    }
}

impl Writer {
    /// Starts the thread. It ends when it is stopped or every handle is gone, and closes the file.
    pub(super) fn start(desk: Desk) -> Result<Writer, QueueError> {
        let (messages, incoming) = mpsc::channel(WAITING_ACTS);
        let finished = CancellationToken::new();
        let at_the_end = finished.clone().drop_guard();
        let started = thread::Builder::new().name("queue-writer".to_owned()).spawn(move || {
            let _at_the_end = at_the_end;
            desk.write_all(incoming);
        });
        match started {
            Ok(_) => Ok(Writer { messages, finished }),
            Err(error) => Err(QueueError::Storage { attempted: "start writing", source: Box::new(error) }),
        }
    }

    /// Does something, and returns once it is on the disk. Given up half-way, it may be done all the same.
    pub(super) async fn perform(&self, act: Act) -> Result<(), QueueError> {
        let (done, answer) = oneshot::channel();
        let message = Message::Do(Request { act, done });
        self.messages.send(message).await.map_err(|_| QueueError::Closed)?;
        answer.await.unwrap_or(Err(QueueError::Closed))
    }

    /// Finishes what was handed in, closes the file, and takes nothing more.
    pub(super) async fn stop(&self) {
        // Fails only where somebody else has stopped it already.
        let _ = self.messages.send(Message::Stop).await;
        self.finished.cancelled().await;
    }
}

impl Desk {
    fn write_all(self, mut incoming: mpsc::Receiver<Message>) {
        let (mut expected, mut moment) = (0, Duration::ZERO);
        let mut looked = Instant::now();
        while let Some(first) = incoming.blocking_recv() {
            let requests = gather(first, &mut incoming, expected, moment);
            if requests.is_empty() {
                continue;
            }
            let answered = requests.len();
            let began = Instant::now();
            let mut behind = 0;
            let is_written = self.write_batch(requests, || behind = incoming.len());
            moment = (began.elapsed() / MOMENT).min(LONGEST_MOMENT);
            expected = (answered + behind).min(BATCH);
            if is_written && looked.elapsed() >= self.retention.compacted_every {
                self.compact();
                looked = Instant::now();
            }
        }
        self.store.close();
    }

    /// Gives room back to the disk where there is some.
    fn compact(&self) {
        if let Err(error) = self.store.compact(self.retention.compacted_in_use) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the queue's file could not be compacted"
            );
        }
    }

    /// Writes a batch and answers everybody in it, after a look `behind` at who waits: from then on they may come again.
    /// Tells whether it was written.
    fn write_batch(&self, requests: Vec<Request>, behind: impl FnOnce()) -> bool {
        let (acts, callers): (Vec<Act>, Vec<Caller>) =
            requests.into_iter().map(|request| (request.act, request.done)).unzip();
        let touched: HashSet<&LineName> = acts.iter().filter_map(Act::line).collect();
        let touched: HashSet<LineName> = touched.into_iter().cloned().collect();
        let batch = Batch { now: self.clock.now(), dated: self.dates.now(), retention: self.retention };
        let mut waiting = Some(callers);
        let written = self.store.write(&batch, &acts, |outcomes| {
            behind();
            let callers = waiting.take().into_iter().flatten();
            self.tell(Answers(callers.zip(outcomes).collect()));
        });
        // Places become free only now, when the snapshots that takers read no longer show them.
        drop(acts);
        match (written, waiting) {
            (Ok(written), _) => {
                self.load.set(written.waiting);
                self.said.send_replace(written.last_position);
                if written.crowded_out > 0 {
                    tracing::warn!(
                        letters = written.crowded_out,
                        "the oldest dead letters were dropped: all together they have more bytes than \
                         `keep.letters` allows"
                    );
                }
                self.pools.changed(&touched);
                true
            }
            (Err(error), Some(callers)) => {
                let failure = Shared::new(error);
                self.tell(Answers(callers.into_iter().map(|caller| (caller, Err(failure.told()))).collect()));
                false
            }
            (Err(error), None) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "what the queue has kept in its journal could not be written into its file yet"
                );
                // It can be read all the same, see `Store::look_on`.
                self.pools.changed(&touched);
                false
            }
        }
    }

    /// Tells everybody, from within the runtime where they are many: told from here, each of them would rouse one
    /// of its threads, which would find nothing more to do and sleep again.
    fn tell(&self, answers: Answers) {
        match &self.runtime {
            Some(runtime) if answers.0.len() > 1 => drop(runtime.spawn(async move { drop(answers) })),
            Some(_) | None => drop(answers),
        }
    }
}

/// What has come in meanwhile, up to a batch. Those who were just answered are likely to come again, all at once,
/// beside those who came too late to be answered: without a moment's wait for as many as are expected the callers
/// would stay parted for ever into some who wait for this sync and others who wait for the next. Told to stop, it
/// takes the rest and then nothing more.
fn gather(
    first: Message,
    incoming: &mut mpsc::Receiver<Message>,
    expected: usize,
    moment: Duration,
) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut next = Some(first);
    let until = Instant::now() + moment;
    while let Some(message) = next {
        match message {
            Message::Do(request) => requests.push(request),
            Message::Stop => incoming.close(),
        }
        next = if requests.len() < BATCH { incoming.try_recv().ok() } else { None };
        while next.is_none() && requests.len() < expected && !incoming.is_closed() && Instant::now() < until {
            thread::yield_now();
            next = incoming.try_recv().ok();
        }
    }
    requests
}
