//! What the engine does beyond the contract.

mod damage;
mod dates;
mod disks;
mod failing;
mod keeping;
mod names;
mod told;

pub(crate) use self::failing::on_a_disk_that_fills;

use std::path::Path;

use super::*;
use crate::Settlement;

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn pool() -> PoolName {
    "faults".parse().unwrap()
}

/// What is kept by default.
pub(super) fn kept() -> Retention {
    Keep::default().into()
}

pub(super) fn body(n: u64) -> Bytes {
    Bytes::from(format!("{n:0300}"))
}

/// Everything that waits, in order. The last is published here.
pub(super) async fn all_waiting(queue: &Embedded) -> Vec<Bytes> {
    let mut takings = queue.take(&pool(), u16::MAX).await.unwrap();
    queue.publish_body(&pool(), Bytes::from_static(b"last")).await.unwrap();
    let (mut waiting, mut held) = (Vec::new(), Vec::new());
    loop {
        let delivery = tokio::time::timeout(PATIENCE, takings.next()).await.unwrap().unwrap();
        if delivery.body() == &b"last"[..] {
            delivery.settle(Settlement::Ack).await.unwrap();
            return waiting;
        }
        waiting.push(delivery.body().clone());
        held.push(delivery);
    }
}

pub(super) async fn fill(dir: &Path, count: u64) {
    let queue = Embedded::open(dir).unwrap();
    drop(queue.take(&pool(), 1).await.unwrap());
    let pool = pool();
    let publishing = (0..count).map(|n| queue.publish_body(&pool, body(n)));
    for published in futures::future::join_all(publishing).await {
        published.unwrap();
    }
    queue.close().await;
}
