//! The spool on a disk that fills.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::embedded::tests::on_a_disk_that_fills;

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_is_told_and_tried_until_there_is_room() {
    let (broker, data) = (Broker::serving(&["default"]).await, TempDir::new().unwrap());
    let full = Arc::new(AtomicBool::new(false));
    let disk = on_a_disk_that_fills(&data.path().join("queue"), &full);
    let (shelf, past) = Shelf::on(disk, settings()).await.unwrap();
    let spool = Spooling::on(shelf, past, Arc::clone(&broker) as Arc<dyn Queue>, settings());
    broker.set(Some(Fault::Away));
    let wishes = jobs("default", 3);
    spool.publish(&wishes[0]).await.unwrap();
    assert!(!spool.status().failing);
    full.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let refused = spool.publish(&wishes[1]).await;
        assert!(matches!(refused, Err(QueueError::Storage { .. })), "{refused:?}");
        assert!(spool.status().failing && !spool.status().full);
    }
    assert_eq!(spool.status().jobs, 1);
    full.store(false, Ordering::SeqCst);
    // Nobody sends anything to who says that he takes nothing.
    until("it is written to again", || !spool.status().failing).await;
    spool.publish(&wishes[2]).await.unwrap();
    broker.set(None);
    drained(&spool).await;
    assert_eq!(broker.published(), [wishes[0].id, wishes[2].id]);
}
