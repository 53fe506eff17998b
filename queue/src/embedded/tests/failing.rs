//! A disk that is full, loses power or brings back something else.

use std::{
    collections::HashSet,
    fs, io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use proptest::prelude::*;
use redb::backends::FileBackend;
use tempfile::TempDir;

use super::{
    super::{files::FILE_NAME, store::Store},
    disks::{FullDisk, Part, Platter},
    *,
};

/// A queue on a disk that is full for as long as it is told to be.
pub(crate) fn on_a_disk_that_fills(dir: &Path, full: &Arc<AtomicBool>) -> Embedded {
    journaled_on_a_disk_that_fills(dir, full, Disk::default().journal_bound)
}

fn journaled_on_a_disk_that_fills(dir: &Path, full: &Arc<AtomicBool>, journal_bound: u64) -> Embedded {
    let (full, switch, room) = (Arc::clone(full), Arc::clone(full), Arc::clone(full));
    let disk = Disk {
        rows: Arc::new(move |file| {
            let file = FileBackend::new(file)?;
            Ok(Box::new(FullDisk { file, full: Arc::clone(&switch) }))
        }),
        journal: Arc::new(move |file| {
            let file = FileBackend::new(file)?;
            Ok(Box::new(FullDisk { file, full: Arc::clone(&full) }))
        }),
        room: Arc::new(move |_| {
            if room.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }),
        journal_bound,
        ..Disk::default()
    };
    Embedded::start(Store::open(dir, disk).unwrap(), kept()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_got_over() {
    let (dir, full) = (TempDir::new().unwrap(), Arc::new(AtomicBool::new(false)));
    let queue = on_a_disk_that_fills(dir.path(), &full);
    let mut takings = queue.take(&pool(), 1).await.unwrap();
    queue.publish_body(&pool(), body(1)).await.unwrap();
    let delivery = takings.next().await.unwrap();
    full.store(true, Ordering::SeqCst);
    for n in 100..103 {
        let refused = queue.publish_body(&pool(), body(n)).await;
        assert!(matches!(&refused, Err(QueueError::Storage { .. })), "{refused:?}");
        let told = refused.unwrap_err().to_string();
        assert!(!told.contains("open") && !told.contains("read"), "it was to be written: {told}");
    }
    let refused = delivery.settle(Settlement::Ack).await;
    assert!(matches!(refused, Err(QueueError::Storage { .. })), "{refused:?}");
    assert!(queue.is_failing());
    full.store(false, Ordering::SeqCst);
    queue.publish_body(&pool(), body(2)).await.unwrap();
    assert!(!queue.is_failing());
    drop(takings);
    let waiting = all_waiting(&queue).await;
    assert!(waiting.contains(&body(1)) && waiting.contains(&body(2)), "{}", waiting.len());
    queue.close().await;
}

/// Whether the journal fails first or, where there is none, the file itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_disk_has_can_be_read() {
    for journal_bound in [Disk::default().journal_bound, 0] {
        let (dir, full) = (TempDir::new().unwrap(), Arc::new(AtomicBool::new(false)));
        let queue = journaled_on_a_disk_that_fills(dir.path(), &full, journal_bound);
        let mut takings = queue.take(&pool(), 1).await.unwrap();
        let reason = Reason::new(proto::reason::INTERNAL, "as a test");
        for n in 0..3 {
            queue.publish_body(&pool(), body(n)).await.unwrap();
            queue.bury(body(10 + n), &pool(), 2, &reason).await.unwrap();
        }
        full.store(true, Ordering::SeqCst);
        for n in 100..103 {
            let refused = queue.publish_body(&pool(), body(n)).await;
            assert!(matches!(&refused, Err(QueueError::Storage { .. })), "{refused:?}");
            let letters = queue.letters_that(Arc::new(|_| true)).await.unwrap();
            let bodies: Vec<&Bytes> = letters.iter().map(|letter| &letter.body).collect();
            assert_eq!(bodies, [&body(10), &body(11), &body(12)]);
            assert!(queue.is_served(&pool()).await.unwrap());
            assert_eq!(
                takings.next().await.unwrap().body(),
                &body(0),
                "what waits can be taken, and comes back"
            );
            let closed = queue.close_letter(letters[0].id, Closed::Discarded { by: None }).await;
            assert!(
                matches!(closed, Err(QueueError::Storage { .. })),
                "nothing is only in memory: {closed:?}"
            );
        }
        assert!(queue.is_failing() && !queue.is_damaged());
        full.store(false, Ordering::SeqCst);
        queue.publish_body(&pool(), body(3)).await.unwrap();
        assert!(!queue.is_failing());
        drop(takings);
        let waiting = all_waiting(&queue).await;
        assert!((0..4).all(|n| waiting.contains(&body(n))), "{}", waiting.len());
        queue.close().await;
    }
}

fn open_platter(dir: &Path, platter: &Platter, journal_bound: u64) -> Embedded {
    open_platter_with(dir, platter, (journal_bound, Disk::default().beside_from))
}

fn open_platter_with(dir: &Path, platter: &Platter, (journal_bound, beside_from): (u64, usize)) -> Embedded {
    let (rows, journal) = (platter.clone(), platter.clone());
    let disk = Disk {
        rows: Arc::new(move |_| Ok(Box::new(rows.part(Part::Rows)))),
        journal: Arc::new(move |_| Ok(Box::new(journal.part(Part::Journal)))),
        beside_from,
        journal_bound,
        ..Disk::default()
    };
    Embedded::start(Store::open(dir, disk).unwrap(), kept()).unwrap()
}

/// Publishes from several tasks until the power is cut after `cut_after` of them were confirmed, and tells
/// those that were confirmed by then.
async fn publish_until_cut(
    queue: &Embedded,
    platter: &Platter,
    cut_after: usize,
    dice: &mut impl Iterator<Item = u8>,
) -> (Vec<u64>, Platter) {
    drop(queue.take(&pool(), 1).await.unwrap());
    let confirmed = Mutex::new(Vec::new());
    let publishing = futures::future::join_all((0..8).map(|task| {
        let confirmed = &confirmed;
        async move {
            for n in 0.. {
                queue.publish_body(&pool(), body(task * 1000 + n)).await.unwrap();
                confirmed.lock().unwrap().push(task * 1000 + n);
            }
        }
    }));
    let enough = async {
        while confirmed.lock().unwrap().len() < cut_after {
            tokio::task::yield_now().await;
        }
        // What is confirmed is looked at first: more may be confirmed before the power is cut.
        let confirmed = confirmed.lock().unwrap().clone();
        (confirmed, platter.after_power_cut(dice))
    };
    tokio::select! {
        _ = publishing => unreachable!("publishes for ever"),
        cut = enough => cut,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_sync_forgot_is_not_taken_for_kept() {
    for (part, further, beside_from) in [Part::Rows, Part::Journal]
        .into_iter()
        .flat_map(|part| (1..9).flat_map(move |n| [0, usize::MAX].map(|beside_from| (part, n, beside_from))))
    {
        let (dir, platter) = (TempDir::new().unwrap(), Platter::default());
        let queue = open_platter_with(dir.path(), &platter, (2 * 4096, beside_from));
        drop(queue.take(&pool(), 1).await.unwrap());
        let mut confirmed = Vec::new();
        for n in 0..10 + further {
            if n == 10 {
                platter.fail_once(part);
            }
            if queue.publish_body(&pool(), body(n)).await.is_ok() {
                confirmed.push(n);
            }
        }
        let found = platter.after_power_cut(&mut std::iter::repeat(0));
        queue.close().await;
        let queue = open_platter(dir.path(), &found, 2 * 4096);
        let waiting: HashSet<Bytes> = all_waiting(&queue).await.into_iter().collect();
        for n in &confirmed {
            assert!(waiting.contains(&body(*n)), "{part:?} and {further} more: {n} is lost");
        }
        queue.close().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_confirmed_is_lost_by_a_power_cut(
        cut_after in 0..150usize,
        // From none at all to one that never starts over.
        journal_pages in prop::sample::select(vec![0u64, 1, 2, 5, 20, 100_000]),
        // Beside the rows, or after them.
        beside_from in prop::sample::select(vec![0, usize::MAX]),
        dice in prop::collection::vec(any::<u8>(), 1..64),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = TempDir::new().unwrap();
        runtime.block_on(async {
            let platter = Platter::default();
            let queue = open_platter_with(dir.path(), &platter, (journal_pages * 4096, beside_from));
            let mut dice = dice.into_iter().cycle();
            let (confirmed, found) = publish_until_cut(&queue, &platter, cut_after, &mut dice).await;
            queue.close().await;
            let queue = open_platter(dir.path(), &found, journal_pages * 4096);
            let waiting = all_waiting(&queue).await;
            let all: HashSet<&Bytes> = waiting.iter().collect();
            assert_eq!(all.len(), waiting.len(), "each once");
            for n in &confirmed {
                assert!(all.contains(&body(*n)), "{n} of {} is lost", confirmed.len());
            }
            queue.close().await;
        });
    }

    /// Damage that no power cut makes: it is told, or got over, and never makes the process panic or hang.
    #[test]
    fn a_damaged_file_is_told_or_got_over(
        from in 0.0..1.0f64,
        length in 1..20_000usize,
        cut in any::<bool>(),
        noise in any::<u8>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = TempDir::new().unwrap();
        runtime.block_on(async {
            fill(dir.path(), 200).await;
            damage(&dir.path().join(FILE_NAME), from, length, cut, noise);
            match Embedded::open(dir.path()) {
                Ok(queue) => use_damaged(&queue).await,
                Err(QueueError::Storage { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        });
    }
}

fn damage(path: &Path, from: f64, length: usize, cut: bool, noise: u8) {
    let mut bytes = fs::read(path).unwrap();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let from = (bytes.len() as f64 * from) as usize;
    if cut {
        bytes.truncate(from);
    } else {
        let to = bytes.len().min(from + length);
        let mut noise = noise;
        bytes[from..to].iter_mut().for_each(|byte| {
            noise = noise.wrapping_mul(167).wrapping_add(13);
            *byte ^= noise;
        });
    }
    fs::write(path, bytes).unwrap();
}

/// Every call answers, with whatever it can.
async fn use_damaged(queue: &Embedded) {
    let using = async {
        if let Ok(mut takings) = queue.take(&pool(), 300).await {
            let _ = queue.publish_body(&pool(), Bytes::from_static(b"last")).await;
            while let Ok(Ok(delivery)) = tokio::time::timeout(Duration::from_millis(50), takings.next()).await
            {
                let last = delivery.body() == &b"last"[..];
                if delivery.settle(Settlement::Ack).await.is_err() || last {
                    break;
                }
            }
        }
        queue.close().await;
    };
    tokio::time::timeout(PATIENCE, using).await.expect("every call answers");
}
