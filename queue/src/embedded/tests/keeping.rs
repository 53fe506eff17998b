//! What is kept, for how long, and how much of it.

use redb::{ReadableTable, ReadableTableMetadata};
use tempfile::TempDir;

use super::{
    super::{
        files::{FILE_NAME, JOURNAL_NAME},
        store::Store,
        tables::{HISTORY, HISTORY_BYTES, JOBS_BYTES, LETTERS, LETTERS_BYTES, NUMBERS},
    },
    *,
};

#[tokio::test]
async fn a_file_of_a_newer_format_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    fill(dir.path(), 1).await;
    let set_format = |format: u64| {
        let database = redb::Database::open(dir.path().join(FILE_NAME)).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(NUMBERS).unwrap().insert("format", format).unwrap();
        transaction.commit().unwrap();
    };
    set_format(6);
    let refused = Embedded::open(dir.path()).err().unwrap();
    let cause = std::error::Error::source(&refused).unwrap().to_string();
    assert_eq!(cause, "the file is of format 6, this version knows 5: start it with a newer version");
    // What was there before there was a journal, and what is of today.
    std::fs::remove_file(dir.path().join(JOURNAL_NAME)).unwrap();
    for known in [1, 2, 3, 4] {
        set_format(known);
        let queue = Embedded::open(dir.path()).unwrap();
        assert_eq!(all_waiting(&queue).await, [body(0)]);
        queue.close().await;
    }
}

#[tokio::test]
async fn a_file_that_never_counted_bytes_is_counted_once() {
    let dir = TempDir::new().unwrap();
    fill(dir.path(), 3).await;
    let queue = Embedded::open(dir.path()).unwrap();
    queue.bury(body(9), &pool(), 1, &Reason::new(proto::reason::GIVEN_UP, "no more")).await.unwrap();
    queue.mark(Uuid::now_v7()).await.unwrap();
    queue.close().await;
    let counted = || {
        let database = redb::Database::open(dir.path().join(FILE_NAME)).unwrap();
        let transaction = database.begin_write().unwrap();
        let numbers = transaction.open_table(NUMBERS).unwrap();
        let counted = [JOBS_BYTES, LETTERS_BYTES, HISTORY_BYTES]
            .map(|name| numbers.get(name).unwrap().map(|n| n.value()));
        drop(numbers);
        transaction.abort().unwrap();
        counted
    };
    let right = counted();
    assert!(right[0] == Some(3 * 300) && right[1] > Some(300) && right[2] == Some(16), "{right:?}");
    let database = redb::Database::open(dir.path().join(FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut numbers = transaction.open_table(NUMBERS).unwrap();
    numbers.insert("format", 3).unwrap();
    numbers.remove(JOBS_BYTES).unwrap();
    // A number that another version left there means nothing.
    numbers.insert(LETTERS_BYTES, 7).unwrap();
    // Counted from when that began.
    numbers.insert(HISTORY_BYTES, 0).unwrap();
    drop(numbers);
    transaction.commit().unwrap();
    drop(database);
    Embedded::open(dir.path()).unwrap().close().await;
    assert_eq!(counted(), right);
}

#[tokio::test]
async fn one_of_the_two_files_alone_is_told_and_left_as_it_is() {
    let (dir, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let queue = Embedded::open(dir.path()).unwrap();
    drop(queue.take(&pool(), 1).await.unwrap());
    queue.publish_body(&pool(), body(1)).await.unwrap();
    let (file, journal) = (copy.path().join(FILE_NAME), copy.path().join(JOURNAL_NAME));
    let refused = || {
        let refused = Embedded::open(copy.path()).err().unwrap();
        std::error::Error::source(&refused).unwrap().to_string()
    };
    // As a kill leaves it.
    std::fs::copy(dir.path().join(FILE_NAME), &file).unwrap();
    for _ in 0..2 {
        assert!(refused().starts_with("`queue.journal` is gone, and `queue.redb` was not closed"));
    }
    std::fs::write(&journal, "").unwrap();
    assert!(refused().starts_with("`queue.journal` is gone"), "an empty one is none");
    std::fs::copy(dir.path().join(JOURNAL_NAME), &journal).unwrap();
    let aside = copy.path().join("aside");
    std::fs::rename(&file, &aside).unwrap();
    for _ in 0..2 {
        assert!(refused().starts_with("`queue.journal` is there, and `queue.redb` is missing or blank"));
    }
    std::fs::write(&file, "").unwrap();
    assert!(refused().starts_with("`queue.journal` is there, and"), "an empty one is none");
    std::fs::rename(&aside, &file).unwrap();
    let again = Embedded::open(copy.path()).unwrap();
    assert_eq!(all_waiting(&again).await, [body(1)]);
    again.close().await;
    // Once it was closed the file has everything.
    std::fs::remove_file(&journal).unwrap();
    let again = Embedded::open(copy.path()).unwrap();
    assert_eq!(all_waiting(&again).await, [body(1)]);
    again.close().await;
    queue.close().await;
}

#[tokio::test]
async fn a_dead_letter_keeps_the_body_and_says_why() {
    let dir = TempDir::new().unwrap();
    fill(dir.path(), 1).await;
    let queue = Embedded::open(dir.path()).unwrap();
    let mut takings = queue.take(&pool(), 1).await.unwrap();
    takings.next().await.unwrap().settle(Settlement::Retry { after: Duration::ZERO }).await.unwrap();
    let reason = Reason::new(proto::reason::UNREACHABLE, "no route").hint("mend the route");
    let before = micros_of(Timestamp::now());
    let dead = Settlement::Dead { reason: reason.clone() };
    takings.next().await.unwrap().settle(dead).await.unwrap();
    let letter = queue.engine.store.read("read", |file| {
        let letters = file.open_table(LETTERS)?;
        let (_, letter) = letters.first()?.expect("a letter");
        let (pool, when, attempts, reason, body) = letter.value();
        Ok((pool.to_owned(), when, attempts, reason.to_vec(), body.to_vec()))
    });
    let (of_pool, when, attempts, why, original) = letter.unwrap();
    assert_eq!((of_pool.as_str(), attempts, original.as_slice()), ("faults", 2, &body(0)[..]));
    assert_eq!(serde_json::from_slice::<Reason>(&why).unwrap(), reason);
    assert!(when >= before && when <= micros_of(Timestamp::now()));
    queue.close().await;
}

#[tokio::test]
async fn the_history_is_bounded() {
    let dir = TempDir::new().unwrap();
    let keep = Retention { entries: 300, decides: Duration::ZERO, ..kept() };
    let queue = Embedded::start(Store::open(dir.path(), Disk::default()).unwrap(), keep).unwrap();
    for _ in 0..20 {
        let marking = (0..64).map(|_| queue.mark(Uuid::now_v7()));
        for marked in futures::future::join_all(marking).await {
            marked.unwrap();
        }
    }
    let kept = queue.engine.store.read("read", |file| Ok(file.open_table(HISTORY)?.len()?)).unwrap();
    assert_eq!(kept, 300, "at a multiple of 256 entries, exactly what is kept");
    // Readers begin with the oldest that is left.
    let first = queue.history(Since::Start).await.unwrap().next().await.unwrap();
    assert_eq!(first.position.0, 20 * 64 - 300 + 1);
    queue.close().await;
}

#[tokio::test]
async fn what_decides_is_kept_however_many_there_are_but_not_however_large() {
    let dir = TempDir::new().unwrap();
    let keep = Retention { entries: 300, bytes: 20 * 300 * 16, ..kept() };
    let queue = Embedded::start(Store::open(dir.path(), Disk::default()).unwrap(), keep).unwrap();
    let kept = async |so_many: usize| {
        for _ in 0..so_many / 64 {
            let marking = (0..64).map(|_| queue.mark(Uuid::now_v7()));
            assert!(futures::future::join_all(marking).await.iter().all(Result::is_ok));
        }
        queue.engine.store.read("read", |file| Ok(file.open_table(HISTORY)?.len()?)).unwrap()
    };
    // A marker has 16 bytes.
    assert_eq!(kept(1280).await, 1280, "they are young");
    assert!(kept(20 * 1280).await <= 20 * 300 + 256, "4 GiB is the end of it");
    queue.close().await;
}

#[tokio::test]
async fn entries_that_are_too_old_go() {
    let dir = TempDir::new().unwrap();
    let keep = Retention { age: Duration::ZERO, ..kept() };
    let queue = Embedded::start(Store::open(dir.path(), Disk::default()).unwrap(), keep).unwrap();
    for _ in 0..256 {
        queue.mark(Uuid::now_v7()).await.unwrap();
    }
    let first = queue.history(Since::Start).await.unwrap();
    let kept = queue.engine.store.read("read", |file| Ok(file.open_table(HISTORY)?.len()?)).unwrap();
    assert!(kept <= 1, "{kept}");
    drop(first);
    queue.close().await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_takes_again() {
    let dir = TempDir::new().unwrap();
    let keep = Retention { jobs: 3, ..kept() };
    let queue = Embedded::start(Store::open(dir.path(), Disk::default()).unwrap(), keep).unwrap();
    let mut takings = queue.take(&pool(), 1).await.unwrap();
    for n in 0..3 {
        queue.publish_body(&pool(), body(n)).await.unwrap();
    }
    assert!(matches!(queue.publish_body(&pool(), body(3)).await, Err(QueueError::Full)));
    takings.next().await.unwrap().settle(Settlement::Ack).await.unwrap();
    queue.publish_body(&pool(), body(3)).await.unwrap();
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_jobs_open_in_a_second() {
    let dir = TempDir::new().unwrap();
    fill(dir.path(), 100_000).await;
    let mut quickest = Duration::MAX;
    // A machine that does other things makes one slower, and none quicker.
    for _ in 0..5 {
        let started = std::time::Instant::now();
        let queue = Embedded::open(dir.path()).unwrap();
        let mut takings = queue.take(&pool(), 1).await.unwrap();
        let first = takings.next().await.unwrap();
        quickest = quickest.min(started.elapsed());
        assert_eq!(first.body(), &body(0));
        drop((first, takings));
        queue.close().await;
    }
    println!("{quickest:?}");
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
}

/// Jobs with large bodies, as compose files are.
async fn fill_with_large(queue: &Embedded, count: u64) {
    let (pool, body) = (pool(), Bytes::from(vec![b'x'; 40_000]));
    let publishing = (0..count).map(|_| queue.publish_body(&pool, body.clone()));
    for published in futures::future::join_all(publishing).await {
        published.unwrap();
    }
}

/// A few at a time: whoever holds many makes the next harder to find.
async fn acknowledge(takings: &mut Box<dyn Deliveries>, count: u64) {
    const AT_ONCE: u64 = 50;
    for _ in 0..count / AT_ONCE {
        let mut taken = Vec::new();
        for _ in 0..AT_ONCE {
            taken.push(tokio::time::timeout(PATIENCE, takings.next()).await.unwrap().unwrap());
        }
        let settling = taken.into_iter().map(|delivery| delivery.settle(Settlement::Ack));
        for settled in futures::future::join_all(settling).await {
            settled.unwrap();
        }
    }
}

fn megabytes(dir: &Path) -> u64 {
    std::fs::metadata(dir.join(FILE_NAME)).unwrap().len() >> 20
}

#[tokio::test(flavor = "multi_thread")]
async fn room_that_is_free_is_given_back_when_the_file_is_opened() {
    let dir = TempDir::new().unwrap();
    let queue = Embedded::open(dir.path()).unwrap();
    let mut takings = queue.take(&pool(), u16::MAX).await.unwrap();
    fill_with_large(&queue, 1_000).await;
    queue.close().await;
    drop(takings);
    let queue = Embedded::open(dir.path()).unwrap();
    assert!(megabytes(dir.path()) >= 32, "a full file stays large");
    assert!(!queue.engine.store.is_roomy().unwrap(), "and is not compacted again at every start");
    takings = queue.take(&pool(), u16::MAX).await.unwrap();
    acknowledge(&mut takings, 950).await;
    queue.close().await;
    drop(takings);
    assert!(megabytes(dir.path()) >= 32, "free room stays in the file");
    let queue = Embedded::open(dir.path()).unwrap();
    assert!(megabytes(dir.path()) < 8, "{} MiB", megabytes(dir.path()));
    assert_eq!(all_waiting(&queue).await.len(), 50, "what waits is still there");
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_while_a_large_file_is_compacted_in_use() {
    let dir = TempDir::new().unwrap();
    let keep = Retention { compacted_every: Duration::ZERO, compacted_in_use: 1 << 20, ..kept() };
    let queue = Embedded::start(Store::open(dir.path(), Disk::default()).unwrap(), keep).unwrap();
    let mut takings = queue.take(&pool(), u16::MAX).await.unwrap();
    fill_with_large(&queue, 1_000).await;
    acknowledge(&mut takings, 950).await;
    queue.mark(Uuid::now_v7()).await.unwrap();
    // It is looked at after the answer: the next one is answered after that.
    queue.mark(Uuid::now_v7()).await.unwrap();
    assert!(queue.engine.store.is_roomy().unwrap() && megabytes(dir.path()) >= 32, "2 MB are left in it");
    acknowledge(&mut takings, 50).await;
    queue.mark(Uuid::now_v7()).await.unwrap();
    queue.mark(Uuid::now_v7()).await.unwrap();
    assert!(megabytes(dir.path()) < 32, "{} MiB", megabytes(dir.path()));
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_never_closed_gives_room_back_too() {
    let dir = TempDir::new().unwrap();
    let keep = Retention { compacted_every: Duration::ZERO, ..kept() };
    let queue = Embedded::start(Store::open(dir.path(), Disk::default()).unwrap(), keep).unwrap();
    let mut takings = queue.take(&pool(), u16::MAX).await.unwrap();
    let mut largest = 0;
    for _ in 0..2 {
        fill_with_large(&queue, 1_000).await;
        largest = largest.max(megabytes(dir.path()));
        acknowledge(&mut takings, 1_000).await;
        queue.mark(Uuid::now_v7()).await.unwrap();
        // It is looked at after the answer: the next one is answered after that.
        queue.mark(Uuid::now_v7()).await.unwrap();
        // A file smaller than 32 MiB is left as it is.
        let now = megabytes(dir.path());
        assert!(largest >= 38 && now < 32, "{now} of {largest} MiB");
    }
    queue.publish_body(&pool(), body(1)).await.unwrap();
    let last = tokio::time::timeout(PATIENCE, takings.next()).await.unwrap().unwrap();
    assert_eq!(last.body(), &body(1));
    queue.close().await;
}
