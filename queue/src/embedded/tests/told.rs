//! Between the sync of the journal and the commit of the rows: callers are told by then, and readers are not to find less.

use std::{
    io,
    ops::Bound,
    path::Path,
    sync::{Arc, Condvar, Mutex, mpsc},
    thread::{self, ThreadId},
};

use redb::{BackendError, ReadableTableMetadata, StorageBackend, TableError, backends::FileBackend};
use tempfile::TempDir;

use super::{
    super::{batch::Batch, clock::Dated, store::Store, tables::HISTORY, writing::Act},
    *,
};

/// What becomes of what one thread writes into the rows from now on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Rows {
    #[default]
    Written,
    /// It stands still.
    Standing(ThreadId),
    /// A write was come upon that stands.
    Stood,
    Failing(ThreadId),
}

/// The disk of the rows, which does as it is told.
#[derive(Debug, Clone, Default)]
struct Switch(Arc<(Mutex<Rows>, Condvar)>);

impl Switch {
    fn set(&self, rows: Rows) {
        *self.0.0.lock().unwrap() = rows;
        self.0.1.notify_all();
    }

    fn wait_until_it_stands(&self) {
        let state = self.0.0.lock().unwrap();
        let (state, _) = self.0.1.wait_timeout_while(state, PATIENCE, |now| *now != Rows::Stood).unwrap();
        assert_eq!(*state, Rows::Stood, "nothing was written after the callers were told");
    }

    fn pass(&self) -> io::Result<()> {
        let mut state = self.0.0.lock().unwrap();
        let me = thread::current().id();
        if *state == Rows::Failing(me) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if *state == Rows::Standing(me) {
            *state = Rows::Stood;
            self.0.1.notify_all();
            drop(self.0.1.wait_while(state, |now| *now == Rows::Stood).unwrap());
        }
        Ok(())
    }
}

#[derive(Debug)]
struct RowsDisk(FileBackend, Switch);

impl StorageBackend for RowsDisk {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.1.pass()?;
        self.0.set_len(length)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.1.pass()?;
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.1.pass()?;
        self.0.write(offset, data)
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
}

/// The files on such a disk, without a cache: what is committed is written at once.
fn open(dir: &Path, switch: &Switch) -> Store {
    let switch = switch.clone();
    let rows = move |file| -> Result<Box<dyn StorageBackend>, redb::DatabaseError> {
        Ok(Box::new(RowsDisk(FileBackend::new(file)?, switch.clone())))
    };
    Store::open(dir, Disk { rows: Arc::new(rows), cache: 0, ..Disk::default() }).unwrap()
}

/// Says something, after which `told` is called once somebody who asked for it would be told.
fn say(store: &Store, told: impl FnOnce()) -> Result<(), QueueError> {
    let dated = Dated { written: 1, age: 1, born: 1 };
    let acts = [Act::Record { kind: 1, body: body(1) }];
    store.write(&Batch { now: 1, dated, retention: kept() }, &acts, |_| told()).map(drop)
}

/// How much was said, as a reader finds it.
fn said(store: &Store) -> Result<u64, QueueError> {
    store.read("count", |transaction| match transaction.open_table(HISTORY) {
        Ok(history) => Ok(history.len()?),
        Err(TableError::TableDoesNotExist(_)) => Ok(0),
        Err(error) => Err(error.into()),
    })
}

#[test]
fn whoever_was_told_finds_it_though_the_rows_are_still_written() {
    let (dir, switch) = (TempDir::new().unwrap(), Switch::default());
    let store = open(dir.path(), &switch);
    thread::scope(|scope| {
        let saying =
            scope.spawn(|| say(&store, || switch.set(Rows::Standing(thread::current().id()))).unwrap());
        switch.wait_until_it_stands();
        let (found, read) = mpsc::channel();
        let store = &store;
        let reading = scope.spawn(move || found.send(said(store).unwrap()).unwrap());
        let early = read.recv_timeout(Duration::from_millis(300));
        switch.set(Rows::Written);
        assert!(early.is_err(), "read while the rows were written: {early:?}");
        assert_eq!(read.recv_timeout(PATIENCE).unwrap(), 1);
        (saying.join().unwrap(), reading.join().unwrap())
    });
}

#[test]
fn whoever_was_told_loses_nothing_though_the_rows_cannot_be_written() {
    let (dir, switch) = (TempDir::new().unwrap(), Switch::default());
    let store = open(dir.path(), &switch);
    for told in (1..40).step_by(2) {
        let failed = say(&store, || switch.set(Rows::Failing(thread::current().id())));
        assert!(failed.is_err(), "the rows of {told} were written");
        // By then the file was opened anew, to be read.
        assert_eq!(said(&store).unwrap(), told);
        switch.set(Rows::Written);
        say(&store, || ()).unwrap();
        assert_eq!(said(&store).unwrap(), told + 1);
    }
    drop(store);
    assert_eq!(said(&Store::open(dir.path(), Disk::default()).unwrap()).unwrap(), 40);
}

/// Somebody who was told, and reads before the file is opened anew.
#[test]
fn whoever_was_told_is_shown_no_less_when_the_rows_cannot_be_written() {
    let (dir, switch) = (TempDir::new().unwrap(), Switch::default());
    let store = open(dir.path(), &switch);
    for told in (1..40).step_by(2) {
        thread::scope(|scope| {
            let (tell, is_told) = mpsc::channel();
            let (store, switch) = (&store, &switch);
            scope.spawn(move || {
                let told = || {
                    switch.set(Rows::Failing(thread::current().id()));
                    tell.send(()).unwrap();
                };
                say(store, told).unwrap_err();
            });
            is_told.recv_timeout(PATIENCE).unwrap();
            match said(store) {
                Ok(found) => assert_eq!(found, told),
                Err(error) => assert!(matches!(error, QueueError::Storage { .. }), "{error:?}"),
            }
        });
        switch.set(Rows::Written);
        say(&store, || ()).unwrap();
    }
}
