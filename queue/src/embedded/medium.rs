//! What a database or a journal is written to: its file, or memory above the file where that cannot be written.

use std::{
    collections::HashMap,
    io,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::{BackendError, StorageBackend};

/// What is kept in memory as one piece.
const PAGE: usize = 4096;

/// How many pages memory takes: all that a journal holds, and as much again for the trees.
const MOST_PAGES: usize = 64 * 1024 * 1024 / PAGE;

/// A file, or memory above it.
#[derive(Debug)]
pub(super) struct Medium {
    file: Box<dyn StorageBackend>,
    above: Option<Mutex<Above>>,
}

/// What was written without touching the file.
#[derive(Debug)]
struct Above {
    pages: HashMap<u64, Box<[u8; PAGE]>>,
    length: u64,
    /// Up to where the file is still seen: what was cut off comes back as zeros.
    seen: u64,
}

impl Medium {
    /// What is written goes to the file.
    pub(super) fn file(file: Box<dyn StorageBackend>) -> Medium {
        Medium { file, above: None }
    }

    /// What is written stays in memory, and is forgotten with this.
    ///
    /// # Errors
    /// When the file cannot be looked at.
    pub(super) fn memory_above(file: Box<dyn StorageBackend>) -> io::Result<Medium> {
        let length = file.len()?;
        let above = Above { pages: HashMap::new(), length, seen: length };
        Ok(Medium { file, above: Some(Mutex::new(above)) })
    }

    fn above(&self) -> Option<MutexGuard<'_, Above>> {
        self.above.as_ref().map(|above| above.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Above {
    /// Shows each page that a span touches: its number, where the span begins in it, and how many bytes it has there.
    fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
        let (page, mut within, mut left) = (offset / PAGE as u64, (offset % PAGE as u64) as usize, length);
        (page..).map_while(move |page| {
            let piece = (page, within, left.min(PAGE - within));
            within = 0;
            left -= piece.2;
            (piece.2 > 0).then_some(piece)
        })
    }

    fn read(&self, file: &dyn StorageBackend, offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, within, length) in Above::pieces(offset, out.len()) {
            let (piece, rest) = out.split_at_mut(length);
            match self.pages.get(&page) {
                Some(bytes) => piece.copy_from_slice(&bytes[within..within + length]),
                None => self.read_below(file, page * PAGE as u64 + within as u64, piece)?,
            }
            out = rest;
        }
        Ok(())
    }

    fn read_below(&self, file: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = usize::try_from(self.seen.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (there, missing) = out.split_at_mut(there);
        missing.fill(0);
        if there.is_empty() { Ok(()) } else { file.read(offset, there) }
    }

    fn write(&mut self, file: &dyn StorageBackend, offset: u64, mut data: &[u8]) -> io::Result<()> {
        self.length = self.length.max(offset + data.len() as u64);
        for (page, within, length) in Above::pieces(offset, data.len()) {
            let (piece, rest) = data.split_at(length);
            if !self.pages.contains_key(&page) {
                if self.pages.len() >= MOST_PAGES {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                let mut bytes = Box::new([0; PAGE]);
                self.read_below(file, page * PAGE as u64, &mut bytes[..])?;
                self.pages.insert(page, bytes);
            }
            if let Some(bytes) = self.pages.get_mut(&page) {
                bytes[within..within + length].copy_from_slice(piece);
            }
            data = rest;
        }
        Ok(())
    }

    fn set_len(&mut self, length: u64) {
        if length < self.length {
            self.seen = self.seen.min(length);
            self.pages.retain(|page, _| page * (PAGE as u64) < length);
            if let Some(last) = self.pages.get_mut(&(length / PAGE as u64)) {
                last[(length % PAGE as u64) as usize..].fill(0);
            }
        }
        self.length = length;
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        self.above().map_or_else(|| self.file.len(), |above| Ok(above.length))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.above() {
            Some(above) => above.read(&*self.file, offset, out),
            None => self.file.read(offset, out),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        match self.above() {
            Some(mut above) => {
                above.set_len(length);
                Ok(())
            }
            None => self.file.set_len(length),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.above.is_some() { Ok(()) } else { self.file.sync_data() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.above() {
            Some(mut above) => above.write(&*self.file, offset, data),
            None => self.file.write(offset, data),
        }
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn some_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..20_000u64, prop::collection::vec(1..=255u8, 0..9_000))
                .prop_map(|(at, data)| Step::Write(at, data)),
            (0..30_000u64).prop_map(Step::SetLen),
        ]
    }

    fn carry_out(step: &Step, on: &impl StorageBackend) {
        match step {
            Step::Write(at, data) => {
                let end = at + data.len() as u64;
                if on.len().unwrap() < end {
                    on.set_len(end).unwrap();
                }
                on.write(*at, data).unwrap();
            }
            Step::SetLen(length) => on.set_len(*length).unwrap(),
        }
    }

    fn all(of: &impl StorageBackend) -> Vec<u8> {
        let mut all = vec![0; usize::try_from(of.len().unwrap()).unwrap()];
        of.read(0, &mut all).unwrap();
        all
    }

    /// A file that must not be touched any more.
    #[derive(Debug)]
    struct Untouched(InMemoryBackend);

    impl StorageBackend for Untouched {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            panic!("the file is touched")
        }
        fn sync_data(&self) -> io::Result<()> {
            panic!("the file is touched")
        }
        fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
            panic!("the file is touched")
        }
    }

    proptest! {
        #[test]
        fn memory_above_a_file_is_read_like_the_file_itself(
            before in prop::collection::vec(some_step(), 0..4),
            after in prop::collection::vec(some_step(), 0..12),
        ) {
            let (plain, below) = (InMemoryBackend::new(), InMemoryBackend::new());
            for step in &before {
                carry_out(step, &plain);
                carry_out(step, &below);
            }
            let above = Medium::memory_above(Box::new(Untouched(below))).unwrap();
            for step in &after {
                carry_out(step, &plain);
                carry_out(step, &above);
                above.sync_data().unwrap();
            }
            prop_assert_eq!(all(&plain), all(&above));
        }
    }
}
