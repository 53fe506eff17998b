//! Who writes the journal: the writer itself, or, where an entry is so large that the rows take their time too, a thread
//! beside it. The disk works while the rows are written then.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use super::journal::{Entry, Journal};

/// An entry of more bytes is written beside: below that to hand it over costs more than it saves.
pub(super) const USUAL_BESIDE: usize = 16 * 1024;

/// Writes the journal.
pub(super) struct Pen {
    journal: Arc<Mutex<Journal>>,
    beside_from: usize,
    /// None once it is to end.
    entries: Option<mpsc::Sender<Handed>>,
    thread: Option<JoinHandle<()>>,
}

/// An entry on its way into the journal.
#[must_use]
pub(super) enum Appending<'p> {
    /// It is written when it is asked for.
    Not {
        pen: &'p Pen,
        number: u64,
        entry: Entry,
    },
    Beside(mpsc::Receiver<io::Result<bool>>),
}

struct Handed {
    number: u64,
    entry: Entry,
    done: mpsc::Sender<io::Result<bool>>,
}

impl Pen {
    /// Takes a journal that was read.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn new(journal: Journal, beside_from: usize) -> io::Result<Pen> {
        let journal = Arc::new(Mutex::new(journal));
        let (entries, handed) = mpsc::channel::<Handed>();
        let beside = Arc::clone(&journal);
        let thread = thread::Builder::new().name("queue-journal".to_owned()).spawn(move || {
            for Handed { number, entry, done } in handed {
                let appended = held(&beside).append(number, entry);
                // Fails only where the writer has panicked meanwhile.
                let _ = done.send(appended);
            }
        })?;
        Ok(Pen { journal, beside_from, entries: Some(entries), thread: Some(thread) })
    }

    /// An entry to put into.
    pub(super) fn begin(&self) -> Entry {
        held(&self.journal).begin()
    }

    /// Begins to write an entry, or leaves it to [`Appending::end`].
    pub(super) fn append(&self, number: u64, entry: Entry) -> Appending<'_> {
        let Some(entries) = self.entries.as_ref().filter(|_| entry.len() > self.beside_from) else {
            return Appending::Not { pen: self, number, entry };
        };
        let (done, appended) = mpsc::channel();
        match entries.send(Handed { number, entry, done }) {
            Ok(()) => Appending::Beside(appended),
            // The thread has panicked.
            Err(mpsc::SendError(Handed { number, entry, .. })) => Appending::Not { pen: self, number, entry },
        }
    }

    /// Begins anew, once the file itself holds everything.
    pub(super) fn start_over(&self) {
        held(&self.journal).start_over();
    }
}

impl Appending<'_> {
    /// Waits until the entry is on the disk. False where there is no room for it in the journal.
    ///
    /// # Errors
    /// Of the disk. It may be there all the same.
    pub(super) fn end(self) -> io::Result<bool> {
        match self {
            Appending::Not { pen, number, entry } => held(&pen.journal).append(number, entry),
            Appending::Beside(appended) => appended
                .recv()
                .unwrap_or_else(|_| Err(io::Error::other("the thread that writes the journal has ended"))),
        }
    }

    /// Gives up an entry that is not wanted any more. One that was begun is written to its end.
    pub(super) fn give_up(self) {
        if let Appending::Beside(appended) = self {
            // What became of it is found in the journal.
            let _ = appended.recv();
        }
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        self.entries = None;
        if let Some(thread) = self.thread.take() {
            // A panic was told to whoever waited for the entry.
            let _ = thread.join();
        }
    }
}

fn held(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}
