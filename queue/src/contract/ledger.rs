//! Many jobs at once, and an account of each.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use proto::{JobId, Reason, reason};
use tokio_util::sync::CancellationToken;

use super::{Maker, id, job, served, settle, within_time};
use crate::{Delivery, Queue, Settlement};

const JOBS: usize = 500;
const TARGETS: usize = 50;
const TAKERS: u64 = 4;
const DEADLINE: Duration = Duration::from_secs(180);

/// What is known of every job.
struct Ledger {
    accounts: Mutex<HashMap<JobId, Account>>,
    all_ended: CancellationToken,
}

struct Account {
    next_attempt: u32,
    ends: u32,
}

/// Of many jobs for many targets, settled in every way by several takers, each ends once and none is lost,
/// and every delivery tells the right attempt.
pub async fn every_job_ends_once(maker: &dyn Maker) {
    let (queue, pool) = served(maker).await;
    let jobs: Vec<_> = (0..JOBS).map(|n| job(&pool, &format!("web-{}", n % TARGETS))).collect();
    let account = || Account { next_attempt: 1, ends: 0 };
    let accounts = jobs.iter().map(|job| (job.id, account())).collect();
    let ledger = Arc::new(Ledger { accounts: Mutex::new(accounts), all_ended: CancellationToken::new() });
    let takers: Vec<_> = (0..TAKERS)
        .map(|seed| {
            let (queue, pool) = (Arc::clone(&queue), pool.clone());
            let (ledger, delay) = (Arc::clone(&ledger), maker.shortest_delay());
            tokio::spawn(async move {
                let mut takings = queue.take(&pool, 16).await.unwrap();
                let mut dice = Dice(seed + 1);
                loop {
                    let delivery = tokio::select! {
                        () = ledger.all_ended.cancelled() => return,
                        delivery = takings.next() => delivery.unwrap(),
                    };
                    ledger.carry_out(delivery, dice.roll(), delay).await;
                }
            })
        })
        .collect();
    let publishing = publish_all(&*queue, &jobs);
    within_time(DEADLINE, "publish all", publishing).await;
    for taker in within_time(DEADLINE, "all jobs' ends", join_all(takers)).await {
        taker.unwrap();
    }
    queue.close().await;
    let accounts = ledger.accounts.lock().unwrap();
    let wrong = accounts.values().filter(|account| account.ends != 1).count();
    assert_eq!(wrong, 0, "of {JOBS} jobs did not end once");
}

/// Ten thousand jobs for a thousand targets, published by many and taken by many: none is lost.
pub async fn ten_thousand_jobs_for_a_thousand_targets(maker: &dyn Maker) {
    const MANY: usize = 10_000;
    let (queue, pool) = served(maker).await;
    let jobs: Vec<_> = (0..MANY).map(|n| job(&pool, &format!("web-{}", n % 1000))).collect();
    let published: HashSet<JobId> = jobs.iter().map(|job| job.id).collect();
    let (ended, all_ended) = (Arc::new(Mutex::new(HashSet::new())), CancellationToken::new());
    let takers = (0..TAKERS).map(|_| {
        let (queue, pool) = (Arc::clone(&queue), pool.clone());
        let (ended, all_ended) = (Arc::clone(&ended), all_ended.clone());
        tokio::spawn(async move {
            let mut takings = queue.take(&pool, 128).await.unwrap();
            let mut settling = tokio::task::JoinSet::new();
            loop {
                let delivery = tokio::select! {
                    () = all_ended.cancelled() => break,
                    delivery = takings.next() => delivery.unwrap(),
                };
                let (ended, all_ended) = (Arc::clone(&ended), all_ended.clone());
                settling.spawn(async move {
                    let job = id(&delivery);
                    settle(delivery, Settlement::Ack).await;
                    let mut ended = ended.lock().unwrap();
                    assert!(ended.insert(job), "{job} came twice");
                    if ended.len() == MANY {
                        all_ended.cancel();
                    }
                });
                while let Some(settled) = settling.try_join_next() {
                    settled.unwrap();
                }
            }
        })
    });
    let takers: Vec<_> = takers.collect();
    within_time(DEADLINE, "publish all", publish_all(&*queue, &jobs)).await;
    for taker in within_time(DEADLINE, "all jobs' ends", join_all(takers)).await {
        taker.unwrap();
    }
    assert_eq!(*ended.lock().unwrap(), published);
    queue.close().await;
}

async fn publish_all(queue: &dyn Queue, jobs: &[proto::Job]) {
    for some in jobs.chunks(64) {
        for published in join_all(some.iter().map(|job| queue.publish(job))).await {
            published.unwrap();
        }
    }
}

impl Ledger {
    async fn carry_out(&self, delivery: Delivery, roll: u64, delay: Duration) {
        let job = id(&delivery);
        assert_eq!(delivery.attempt(), self.with(job, |account| account.next_attempt), "of {job}");
        match roll % 100 {
            0..70 => self.end(job, delivery, Settlement::Ack).await,
            70..80 => {
                let reason = Reason::new(reason::INTERNAL, "as the dice fell");
                self.end(job, delivery, Settlement::Dead { reason }).await;
            }
            80..86 => {
                self.with(job, |account| account.next_attempt += 1);
                settle(delivery, Settlement::Retry { after: delay }).await;
            }
            86..92 => settle(delivery, Settlement::Snooze { after: delay }).await,
            92..96 => settle(delivery, Settlement::Release).await,
            _ => drop(delivery),
        }
    }

    async fn end(&self, job: JobId, delivery: Delivery, how: Settlement) {
        self.with(job, |account| account.ends += 1);
        settle(delivery, how).await;
        if self.accounts.lock().unwrap().values().all(|account| account.ends > 0) {
            self.all_ended.cancel();
        }
    }

    fn with<T>(&self, job: JobId, work: impl FnOnce(&mut Account) -> T) -> T {
        work(self.accounts.lock().unwrap().get_mut(&job).expect("a job that was published"))
    }
}

/// Numbers that look random and are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
