//! Damage that no crash makes: a file that was overwritten, in part or as a whole. It is told, or nothing is lost by it.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use proptest::prelude::*;
use redb::backends::FileBackend;
use tempfile::TempDir;

use super::{
    super::{
        files::{FILE_NAME, JOURNAL_NAME},
        store::Store,
    },
    disks::RottenDisk,
    *,
};
use crate::Entry;

const EACH: u64 = 40;

/// What was promised in a directory.
struct Promised {
    jobs: HashSet<Bytes>,
    markers: HashSet<Uuid>,
}

/// Fills a directory, each promise with a sync of its own, and leaves it `closed` or as a kill does.
async fn fill_one_by_one(dir: &Path, closed: bool) -> Promised {
    let aside = dir.join("aside");
    let queue = Embedded::open(&aside).unwrap();
    drop(queue.take(&pool(), 1).await.unwrap());
    let mut promised = Promised { jobs: HashSet::new(), markers: HashSet::new() };
    for n in 0..EACH {
        queue.publish_body(&pool(), body(n)).await.unwrap();
        promised.jobs.insert(body(n));
        let marker = Uuid::now_v7();
        queue.mark(marker).await.unwrap();
        promised.markers.insert(marker);
    }
    // What is written last cannot be told from what was torn when it was written.
    queue.mark(Uuid::now_v7()).await.unwrap();
    if closed {
        queue.close().await;
    }
    for name in [FILE_NAME, JOURNAL_NAME] {
        fs::copy(aside.join(name), dir.join(name)).unwrap();
    }
    queue.close().await;
    promised
}

async fn markers(queue: &Embedded) -> HashSet<Uuid> {
    let end = Uuid::now_v7();
    queue.mark(end).await.unwrap();
    let (mut history, mut markers) = (queue.history(Since::Start).await.unwrap(), HashSet::new());
    loop {
        match tokio::time::timeout(PATIENCE, history.next()).await.unwrap().unwrap().entry {
            Entry::Marker(marker) if marker == end => return markers,
            Entry::Marker(marker) => _ = markers.insert(marker),
            other @ (Entry::Event(_) | Entry::Catalogue(_) | Entry::Unreadable(_)) => panic!("{other:?}"),
        }
    }
}

/// Opens what was damaged: with all that was promised, or not at all.
async fn opens_whole_or_not(dir: &Path, promised: &Promised, what: &str) -> Result<(), QueueError> {
    let queue = match Embedded::open(dir) {
        Ok(queue) => queue,
        Err(error @ QueueError::Storage { .. }) => return Err(error),
        Err(other) => panic!("{what}: {other:?}"),
    };
    let waiting: HashSet<Bytes> = all_waiting(&queue).await.into_iter().collect();
    let lost = promised.jobs.difference(&waiting).count();
    assert_eq!(lost, 0, "{what}: jobs are lost, and nobody says so");
    let lost = promised.markers.difference(&markers(&queue).await).count();
    assert_eq!(lost, 0, "{what}: entries of the history are lost, and nobody says so");
    queue.close().await;
    Ok(())
}

fn overwrite(path: &Path, (from, to): (usize, usize), noise: u8) {
    let mut bytes = fs::read(path).unwrap();
    let to = to.min(bytes.len());
    let mut drawn = noise;
    for byte in &mut bytes[from.min(to)..to] {
        drawn = drawn.wrapping_mul(167).wrapping_add(13);
        // Without noise, zeros.
        *byte = if noise == 0 { 0 } else { *byte ^ drawn };
    }
    fs::write(path, bytes).unwrap();
}

fn told(error: &QueueError) -> String {
    format!("{error}: {}", std::error::Error::source(error).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_zeros_is_told() {
    for (name, closed) in [(FILE_NAME, false), (FILE_NAME, true), (JOURNAL_NAME, false), (JOURNAL_NAME, true)]
    {
        let dir = TempDir::new().unwrap();
        let promised = fill_one_by_one(dir.path(), closed).await;
        overwrite(&dir.path().join(name), (0, usize::MAX), 0);
        let what = format!("{name}, closed: {closed}");
        let opened = opens_whole_or_not(dir.path(), &promised, &what).await;
        if name == JOURNAL_NAME && closed {
            opened.unwrap();
            continue;
        }
        let error = opened.unwrap_err();
        assert!(says_what_to_do(&error) && told(&error).contains(name), "{what}: {}", told(&error));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_history_that_is_damaged_is_told_at_the_start() {
    let dir = TempDir::new().unwrap();
    let promised = fill_one_by_one(dir.path(), true).await;
    let path = dir.path().join(FILE_NAME);
    let one = *promised.markers.iter().next().unwrap();
    let bytes = fs::read(&path).unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - 16).filter(|at| bytes[*at..*at + 16] == one.as_bytes()[..]).collect();
    assert!(!places.is_empty());
    for at in places {
        // Its pages may be left from before; one of them is not.
        overwrite(&path, (at, at + 16), 0);
    }
    let error = opens_whole_or_not(dir.path(), &promised, "an entry of zeros").await.unwrap_err();
    assert!(told(&error).contains("`queue.redb` is damaged"), "{}", told(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_is_found_while_it_runs_is_kept_in_mind() {
    let dir = TempDir::new().unwrap();
    fill(dir.path(), 2_000).await;
    let rotten = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&rotten);
    let disk = Disk {
        rows: Arc::new(move |file| {
            let (file, rotten) = (FileBackend::new(file)?, Arc::clone(&switch));
            Ok(Box::new(RottenDisk { file, rotten }))
        }),
        // Whatever is read is read from it.
        cache: 0,
        ..Disk::default()
    };
    let queue = Embedded::start(Store::open(dir.path(), disk).unwrap(), kept()).unwrap();
    let look = || queue.survey(0, |count, _, _| *count += 1);
    assert_eq!(look().await.unwrap(), 2_000);
    assert!(!queue.is_damaged());
    rotten.store(true, Ordering::SeqCst);
    let error = look().await.unwrap_err();
    assert!(matches!(error, QueueError::Storage { .. }), "{error:?}");
    assert!(queue.is_damaged());
    // One good read means nothing for the rest.
    rotten.store(false, Ordering::SeqCst);
    assert_eq!(look().await.unwrap(), 2_000);
    assert!(queue.is_damaged() && !queue.is_failing());
    queue.close().await;
    let queue = Embedded::open(dir.path()).unwrap();
    assert!(!queue.is_damaged(), "a start has looked at the whole file");
    queue.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_overwritten_is_told_or_costs_nothing(
        is_journal in any::<bool>(),
        closed in any::<bool>(),
        from in 0.0..1.0f64,
        length in prop_oneof![1..5_000usize, 1..200_000usize],
        noise in prop_oneof![Just(0u8), any::<u8>()],
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = TempDir::new().unwrap();
        runtime.block_on(async {
            let promised = fill_one_by_one(dir.path(), closed).await;
            let path = dir.path().join(if is_journal { JOURNAL_NAME } else { FILE_NAME });
            let bytes = fs::metadata(&path).unwrap().len();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let from = (bytes as f64 * from) as usize;
            overwrite(&path, (from, from + length), noise);
            // Told, which is as good.
            let _ = opens_whole_or_not(dir.path(), &promised, "as drawn").await;
        });
    }
}
