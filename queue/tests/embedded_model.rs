//! Whatever is done in whatever order, the embedded engine does what a list in memory would.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use proptest::prelude::*;
use proto::{PoolName, Reason, reason};
use queue::{Deliveries, Delivery, Queue, Settlement, embedded::Embedded};

const PATIENCE: Duration = Duration::from_secs(30);
const AN_HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone)]
enum Step {
    Publish(u8),
    Take,
    /// Settles one of the deliveries in hand, chosen by the number.
    Settle(u8, How),
    /// Drops one of the deliveries in hand.
    Drop(u8),
    Reopen,
    /// Goes on with the files as a kill leaves them.
    Crash,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Ack,
    Dead,
    Retry,
    RetryInAnHour,
    Snooze,
    SnoozeInAnHour,
    Release,
}

impl How {
    fn settlement(self) -> Settlement {
        match self {
            How::Ack => Settlement::Ack,
            How::Dead => Settlement::Dead { reason: Reason::new(reason::INTERNAL, "as drawn") },
            How::Retry => Settlement::Retry { after: Duration::ZERO },
            How::RetryInAnHour => Settlement::Retry { after: AN_HOUR },
            How::Snooze => Settlement::Snooze { after: Duration::ZERO },
            How::SnoozeInAnHour => Settlement::Snooze { after: AN_HOUR },
            How::Release => Settlement::Release,
        }
    }
}

/// A pool as it should be: jobs in line, some of them in hand.
#[derive(Default)]
struct Model {
    line: VecDeque<Waiting>,
    /// The bodies of the dead letters.
    dead: Vec<Vec<u8>>,
    next_name: u32,
}

#[derive(Debug, Clone, PartialEq)]
struct Waiting {
    name: u32,
    body: Vec<u8>,
    attempt: u32,
    in_hand: bool,
}

impl Model {
    fn publish(&mut self, body: Vec<u8>) {
        self.join(body, 1);
    }

    fn join(&mut self, body: Vec<u8>, attempt: u32) {
        self.next_name += 1;
        self.line.push_back(Waiting { name: self.next_name, body, attempt, in_hand: false });
    }

    fn take(&mut self) -> Option<Waiting> {
        let first = self.line.iter_mut().find(|waiting| !waiting.in_hand)?;
        first.in_hand = true;
        Some(first.clone())
    }

    fn settle(&mut self, name: u32, how: How) {
        let place = self.line.iter().position(|waiting| waiting.name == name).unwrap();
        match how {
            How::Release => self.line[place].in_hand = false,
            How::Ack | How::RetryInAnHour | How::SnoozeInAnHour => {
                self.line.remove(place);
            }
            How::Dead => self.dead.push(self.line.remove(place).unwrap().body),
            How::Retry | How::Snooze => {
                let settled = self.line.remove(place).unwrap();
                let counted = u32::from(matches!(how, How::Retry));
                self.join(settled.body, settled.attempt + counted);
            }
        }
    }

    fn restart(&mut self) {
        self.line.iter_mut().for_each(|waiting| waiting.in_hand = false);
    }
}

/// The engine under test and the model beside it.
struct Pair {
    /// Where everything lies, and how many crashes there were: each goes on in a directory of its own.
    root: PathBuf,
    crashes: u32,
    queue: Embedded,
    takings: Box<dyn Deliveries>,
    in_hand: Vec<(u32, Delivery)>,
    model: Model,
}

/// What a kill leaves at a moment when nothing is being written.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

async fn open(dir: &Path) -> (Embedded, Box<dyn Deliveries>) {
    let queue = Embedded::open(dir).unwrap();
    let takings = queue.take(&pool(), 1000).await.unwrap();
    (queue, takings)
}

fn pool() -> PoolName {
    "model".parse().unwrap()
}

impl Pair {
    fn dir(&self) -> PathBuf {
        self.root.join(self.crashes.to_string())
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Publish(length) => {
                let body = vec![length; usize::from(length) * 40];
                self.queue.publish_body(&pool(), Bytes::from(body.clone())).await.unwrap();
                self.model.publish(body);
            }
            Step::Take => self.take().await,
            Step::Settle(which, how) => {
                if let Some((name, delivery)) = self.choose(which) {
                    delivery.settle(how.settlement()).await.unwrap();
                    self.model.settle(name, how);
                }
            }
            Step::Drop(which) => {
                if let Some((name, delivery)) = self.choose(which) {
                    drop(delivery);
                    self.model.settle(name, How::Release);
                }
            }
            Step::Reopen => {
                self.queue.close().await;
                self.open().await;
            }
            Step::Crash => {
                let before = self.dir();
                self.crashes += 1;
                copy(&before, &self.dir());
                self.queue.close().await;
                self.open().await;
            }
        }
    }

    async fn open(&mut self) {
        self.in_hand.clear();
        self.model.restart();
        (self.queue, self.takings) = open(&self.dir()).await;
    }

    async fn compare_letters(&self) {
        let letters = self.queue.dead_letters().await.unwrap();
        let bodies: Vec<&[u8]> = letters.iter().map(|letter| &*letter.body).collect();
        assert_eq!(bodies, self.model.dead);
    }

    fn choose(&mut self, which: u8) -> Option<(u32, Delivery)> {
        let count = self.in_hand.len();
        (count > 0).then(|| self.in_hand.swap_remove(usize::from(which) % count))
    }

    async fn take(&mut self) {
        match self.model.take() {
            Some(expected) => {
                let delivery = tokio::time::timeout(PATIENCE, self.takings.next()).await;
                let delivery = delivery.expect("the model has a job").unwrap();
                assert_eq!(delivery.body().as_ref(), expected.body);
                assert_eq!(delivery.attempt(), expected.attempt);
                self.in_hand.push((expected.name, delivery));
            }
            None => {
                let came = tokio::time::timeout(Duration::from_millis(10), self.takings.next()).await;
                assert!(came.is_err(), "the model has no job");
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let how = prop_oneof![
        3 => Just(How::Ack),
        1 => Just(How::Dead),
        2 => Just(How::Retry),
        1 => Just(How::RetryInAnHour),
        2 => Just(How::Snooze),
        1 => Just(How::SnoozeInAnHour),
        2 => Just(How::Release),
    ];
    let step = prop_oneof![
        6 => any::<u8>().prop_map(Step::Publish),
        6 => Just(Step::Take),
        5 => (any::<u8>(), how).prop_map(|(which, how)| Step::Settle(which, how)),
        1 => any::<u8>().prop_map(Step::Drop),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let root = tempfile::TempDir::new().unwrap();
        runtime.block_on(async {
            let (queue, takings) = open(&root.path().join("0")).await;
            let (root, crashes) = (root.path().to_owned(), 0);
            let mut pair = Pair { root, crashes, queue, takings, in_hand: Vec::new(), model: Model::default() };
            for step in steps {
                pair.step(step).await;
            }
            // In the end, everything that should wait does, in order.
            pair.step(Step::Crash).await;
            for _ in 0..pair.model.line.len() {
                pair.take().await;
            }
            pair.take().await;
            pair.compare_letters().await;
            pair.queue.close().await;
        });
    }
}
