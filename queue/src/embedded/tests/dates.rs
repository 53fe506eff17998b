//! When the history and the letters were written, on a machine whose clock is not always right.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tempfile::TempDir;

use super::{
    super::{
        clock::Micros,
        files::FILE_NAME,
        store::Store,
        tables::{BORN, HISTORY, NUMBERS},
    },
    *,
};

const HOUR: Micros = 3_600_000_000;
const DAY: Micros = 24 * HOUR;
const YEAR: Micros = 365 * DAY;

/// A machine whose clock shows what it is told to.
#[derive(Clone)]
struct Shown(Arc<AtomicU64>);

impl Shown {
    fn set(&self, time: Micros) {
        self.0.store(time, Ordering::SeqCst);
    }

    fn open(&self, dir: &Path) -> Embedded {
        let shown = Arc::clone(&self.0);
        let machine = Machine::showing(move || shown.load(Ordering::SeqCst));
        Embedded::start_by(machine, Store::open(dir, Disk::default()).unwrap(), kept()).unwrap()
    }
}

fn right() -> Micros {
    micros_of(Timestamp::now())
}

fn machine() -> Shown {
    Shown(Arc::new(AtomicU64::new(right())))
}

/// A directory that has been used for a year, by a clock that was right up to now.
async fn used(machine: &Shown, dir: &Path) {
    let now = right();
    machine.set(now);
    let queue = machine.open(dir);
    queue.mark(Uuid::now_v7()).await.unwrap();
    queue.close().await;
    let database = redb::Database::open(dir.join(FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(NUMBERS).unwrap().insert(BORN, now - YEAR).unwrap();
    transaction.commit().unwrap();
}

async fn mark(queue: &Embedded, times: usize) {
    for marked in futures::future::join_all((0..times).map(|_| queue.mark(Uuid::now_v7()))).await {
        marked.unwrap();
    }
}

async fn die(queue: &Embedded, n: u64) {
    queue.bury(body(n), &pool(), 1, &Reason::new(proto::reason::GIVEN_UP, "no more")).await.unwrap();
}

/// How many entries a start reads that looks back over a day and an hour.
async fn read_at_a_start(queue: &Embedded, now: Micros) -> usize {
    let since = Timestamp::from_microsecond(i64::try_from(now - DAY - HOUR).unwrap()).unwrap();
    let mut history = queue.history(Since::Time(since)).await.unwrap();
    let last = Uuid::now_v7();
    queue.mark(last).await.unwrap();
    let mut entries = 0;
    loop {
        let recorded = tokio::time::timeout(PATIENCE, history.next()).await.unwrap().unwrap();
        if matches!(recorded.entry, crate::Entry::Marker(marker) if marker == last) {
            return entries;
        }
        entries += 1;
    }
}

async fn died(queue: &Embedded) -> Vec<Micros> {
    queue.dead_letters().await.unwrap().iter().map(|letter| micros_of(letter.died_at)).collect()
}

fn dates(queue: &Embedded) -> Vec<Micros> {
    let read = queue.engine.store.read("read", |file| {
        let history = file.open_table(HISTORY)?;
        let rows = redb::ReadableTable::iter(&history)?;
        rows.map(|row| Ok(row?.1.value().0)).collect::<Result<Vec<Micros>, redb::Error>>()
    });
    read.unwrap()
}

#[tokio::test]
async fn a_clock_that_was_a_year_ahead_once_costs_nothing_lasting() {
    for is_new in [true, false] {
        let (dir, machine) = (TempDir::new().unwrap(), machine());
        let began = right();
        if !is_new {
            used(&machine, dir.path()).await;
        }
        machine.set(began + YEAR);
        let queue = machine.open(dir.path());
        mark(&queue, 3).await;
        die(&queue, 1).await;
        assert!(died(&queue).await[0] >= began + YEAR, "it was not ahead");
        // Set right while it runs, and once more while it does not.
        machine.set(began + HOUR);
        die(&queue, 2).await;
        machine.set(began + YEAR);
        mark(&queue, 1).await;
        queue.close().await;
        machine.set(began + 2 * HOUR);
        let queue = machine.open(dir.path());
        mark(&queue, 600).await;
        die(&queue, 3).await;
        assert!(died(&queue).await.is_sorted());
        assert!(died(&queue).await.iter().all(|died| *died <= began + 3 * HOUR), "{:?}", died(&queue).await);
        let reached = read_at_a_start(&queue, began + 2 * HOUR).await;
        assert!(reached >= 604, "what was written by the wrong clock is found: {reached}");
        queue.close().await;

        machine.set(began + 3 * DAY);
        let queue = machine.open(dir.path());
        assert_eq!(read_at_a_start(&queue, began + 3 * DAY).await, 0, "new: {is_new}");
        die(&queue, 4).await;
        assert_eq!(
            died(&queue).await.last(),
            Some(&(began + 3 * DAY)),
            "three days later is three days later"
        );
        assert!(dates(&queue).is_sorted());
        queue.close().await;
    }
}

/// What a kill leaves of a directory: what is promised stands in the journal alone.
fn killed(dir: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

#[tokio::test]
async fn a_new_directory_that_was_only_ever_killed_follows_the_clock_back_all_the_same() {
    let (dir, machine) = (TempDir::new().unwrap(), machine());
    let began = right();
    machine.set(began + YEAR);
    let queue = machine.open(dir.path());
    mark(&queue, 3).await;
    die(&queue, 1).await;
    let left = killed(dir.path());
    queue.close().await;

    machine.set(began);
    let queue = machine.open(left.path());
    mark(&queue, 3).await;
    die(&queue, 2).await;
    assert!(died(&queue).await.iter().all(|died| *died < began + DAY), "{:?}", died(&queue).await);
    let left = killed(left.path());
    queue.close().await;

    machine.set(began + 3 * DAY);
    let queue = machine.open(left.path());
    assert_eq!(read_at_a_start(&queue, began + 3 * DAY).await, 0);
    queue.close().await;
}

#[tokio::test]
async fn a_clock_that_is_behind_hides_nothing() {
    let (dir, machine) = (TempDir::new().unwrap(), machine());
    let began = right();
    used(&machine, dir.path()).await;
    let queue = machine.open(dir.path());
    mark(&queue, 10).await;
    queue.close().await;
    for behind in [0, began - YEAR, began - DAY] {
        machine.set(behind);
        let queue = machine.open(dir.path());
        mark(&queue, 10).await;
        queue.close().await;
    }
    machine.set(began + HOUR);
    let queue = machine.open(dir.path());
    assert!(read_at_a_start(&queue, began + HOUR).await >= 40);
    assert!(dates(&queue).is_sorted());
    queue.close().await;
}

#[tokio::test]
async fn what_was_dated_anew_is_so_after_a_kill_too() {
    let (dir, machine) = (TempDir::new().unwrap(), machine());
    let began = right();
    used(&machine, dir.path()).await;
    machine.set(began + YEAR);
    let queue = machine.open(dir.path());
    mark(&queue, 3).await;
    die(&queue, 1).await;
    machine.set(began + HOUR);
    mark(&queue, 3).await;
    die(&queue, 2).await;
    let (written, letters) = (dates(&queue), died(&queue).await);
    let copy = killed(dir.path());
    let again = machine.open(copy.path());
    assert_eq!((dates(&again), died(&again).await), (written, letters));
    again.close().await;
    queue.close().await;
}
