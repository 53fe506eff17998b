//! The journal: what was written since the file was last synced as a whole, one entry behind the other. An entry is one
//! write and one sync of one place, where the file's own pages lie scattered and would take several.
//!
//! Entries are numbered without a gap and each begins a page of its own, so that no write touches a page that holds
//! what was promised before. Once the file itself was synced the journal starts over at its beginning: what stands
//! there from former rounds has lower numbers.
//!
//! Two pages before the entries tell by turns which entry was safe when the next was written: entries that are gone
//! from the end, or all of them, would else look as if there had been none.

use std::io;

use redb::StorageBackend;

use super::files::{FILE_NAME, JOURNAL_NAME};

/// Where entries may begin: what a disk writes at once, or a multiple of it.
pub(super) const PAGE: usize = 4096;

/// Bytes before an entry's own: magic, checksum of all that follows, the file's mark, the number, the length.
const HEADER: usize = 28;

/// How every entry begins, so that zeros are none.
const MAGIC: u32 = 0x4c_53_4a_31;

/// Where the entries begin, behind the two heads.
pub(super) const HEADS: u64 = 2 * PAGE as u64;

/// How every head begins.
const HEAD_MAGIC: u32 = 0x4c_53_4a_48;

/// Bytes of a head: magic, checksum of all that follows, the file's mark, the entry.
const HEAD: usize = 24;

/// How long it grows before it starts over: some ten thousand jobs, read again in a fraction of a second.
pub(super) const USUAL_BOUND: u64 = 16 * 1024 * 1024;

/// How many entries a round has at most: the database keeps book of each until it is synced.
const MOST_ENTRIES: u32 = 1024;

/// The journal of one file.
pub(super) struct Journal {
    medium: Box<dyn StorageBackend>,
    /// Which file it belongs to.
    mark: u64,
    /// Where the entries begin: at once, in one that a former version wrote.
    base: u64,
    has_heads: bool,
    /// Where the next entry begins, counted from there.
    end: u64,
    /// Where none may reach beyond, counted likewise.
    bound: u64,
    /// How many entries this round has.
    entries: u32,
}

/// An entry that is being written.
pub(super) struct Entry {
    /// The header's room and what was put in; none once it had grown beyond what the journal takes.
    bytes: Option<Vec<u8>>,
    room: usize,
}

/// An entry as it was found.
struct Found {
    mark: u64,
    number: u64,
    body: Vec<u8>,
    pages: u64,
}

/// The journal has what belongs to another state of its file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// It was written beside another file.
    #[error(
        "it belongs to another file: put back the one it was written with, or move it aside if nothing in it is wanted"
    )]
    Foreign,
    /// Entries are missing between the file and the journal.
    #[error(
        "it goes on from entry {found} where the file ends with {known}: the two are not of one time, put both back from the same copy"
    )]
    Gap {
        /// The last that the file holds.
        known: u64,
        /// The first in the journal.
        found: u64,
    },
    /// What was written before something else is not there any more.
    #[error("entry {0} is damaged, and others follow it")]
    Hole(u64),
    /// The last entries are not there any more.
    #[error(
        "what was promised last is gone from it: it ends with entry {found} and had {safe}; put it back, or move the \
         directory aside to begin anew"
    )]
    CutOff {
        /// The last that is there.
        found: u64,
        /// One that was.
        safe: u64,
    },
    /// Nothing of ours is there, not even what every journal has.
    #[error(
        "`{JOURNAL_NAME}` was overwritten, and `{FILE_NAME}` was not closed: what was promised last is gone; put it \
         back, or move the directory aside to begin anew"
    )]
    Overwritten,
    /// An entry could not be written into the file.
    #[error(transparent)]
    Rows(#[from] redb::Error),
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Entry {
    /// Puts bytes behind those that are there.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(bytes) = &mut self.bytes {
            write(bytes);
            if bytes.len() > self.room {
                self.bytes = None;
            }
        }
    }

    /// How many bytes it has; none once it has too many.
    pub(super) fn len(&self) -> usize {
        self.bytes.as_ref().map_or(0, Vec::len)
    }

    /// Whether nothing was put in.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.as_ref().is_some_and(|bytes| bytes.len() == HEADER)
    }
}

impl Journal {
    /// The journal on a medium, for the file of this mark. It has to be read before anything is written.
    pub(super) fn new(medium: Box<dyn StorageBackend>, mark: u64, bound: u64) -> Journal {
        Journal { medium, mark, base: HEADS, has_heads: false, end: 0, bound, entries: 0 }
    }

    /// Shows `each` what was written after the entry `known`, in order, and tells the number of the last. `is_begun`:
    /// it was in use, and cannot be empty.
    ///
    /// # Errors
    /// [`Unfit`], or what `each` gives.
    pub(super) fn read(
        &mut self,
        known: u64,
        is_begun: bool,
        mut each: impl FnMut(&[u8]) -> Result<(), redb::Error>,
    ) -> Result<u64, Unfit> {
        let safe = self.look_for_heads(is_begun)?;
        self.end = 0;
        if self.whole_at(self.base)?.is_some_and(|found| found.mark != self.mark) {
            return Err(Unfit::Foreign);
        }
        let (mut last, mut before) = (known, None);
        while let Some(found) = self.entry_at(self.base + self.end)? {
            if before.is_some_and(|before| found.number != before + 1) {
                // Left of a former round.
                break;
            }
            if found.number > last + 1 {
                return Err(Unfit::Gap { known: last, found: found.number });
            }
            if found.number == last + 1 {
                each(&found.body)?;
                last = found.number;
            }
            before = Some(found.number);
            self.end += found.pages * PAGE as u64;
        }
        self.look_for_later_than(last)?;
        match safe {
            Some(safe) if safe > last => Err(Unfit::CutOff { found: last, safe }),
            Some(_) | None => Ok(last),
        }
    }

    /// Finds out where the entries begin, and the last that is known to have been safe.
    fn look_for_heads(&mut self, is_begun: bool) -> Result<Option<u64>, Unfit> {
        let heads: Vec<(u64, u64)> =
            [self.head_at(0)?, self.head_at(PAGE as u64)?].into_iter().flatten().collect();
        if heads.iter().any(|(mark, _)| *mark != self.mark) {
            return Err(Unfit::Foreign);
        }
        self.base = HEADS;
        self.has_heads = !heads.is_empty();
        if !self.has_heads {
            if self.whole_at(0)?.is_some() {
                self.base = 0;
            } else if is_begun {
                return Err(Unfit::Overwritten);
            }
        }
        Ok(heads.into_iter().map(|(_, safe)| safe).max())
    }

    /// The mark and the entry that a head tells, where one is whole.
    fn head_at(&self, at: u64) -> io::Result<Option<(u64, u64)>> {
        if self.medium.len()? < at + PAGE as u64 {
            return Ok(None);
        }
        let mut head = [0; HEAD];
        self.medium.read(at, &mut head)?;
        let is_whole =
            head[..4] == HEAD_MAGIC.to_be_bytes() && head[4..8] == crc32fast::hash(&head[8..]).to_be_bytes();
        Ok(is_whole.then(|| (be_u64(&head[8..16]), be_u64(&head[16..]))))
    }

    fn write_head(&self, turn: u64, safe: u64) -> io::Result<()> {
        let mut head = vec![0; PAGE];
        head[..4].copy_from_slice(&HEAD_MAGIC.to_be_bytes());
        head[8..16].copy_from_slice(&self.mark.to_be_bytes());
        head[16..HEAD].copy_from_slice(&safe.to_be_bytes());
        let sum = crc32fast::hash(&head[8..HEAD]);
        head[4..8].copy_from_slice(&sum.to_be_bytes());
        self.medium.write(turn % 2 * PAGE as u64, &head)
    }

    /// Begins a round, beside a file that holds everything up to the entry `safe`.
    pub(super) fn begin_round(&mut self, safe: u64) -> io::Result<()> {
        self.start_over();
        if self.has_heads {
            // Both at once could be torn at once.
            return Ok(());
        }
        if self.medium.len()? < HEADS {
            self.medium.set_len(HEADS)?;
        }
        for turn in 0..2 {
            self.write_head(turn, safe)?;
        }
        self.medium.sync_data()?;
        (self.base, self.has_heads) = (HEADS, true);
        Ok(())
    }

    /// Whether what follows is all of former rounds: an entry is written only once the one before is safe.
    fn look_for_later_than(&self, last: u64) -> Result<(), Unfit> {
        let mut at = self.base + self.end;
        while at < self.medium.len()? {
            let found = self.entry_at(at)?;
            if found.as_ref().is_some_and(|found| found.number > last + 1) {
                return Err(Unfit::Hole(last + 1));
            }
            at += found.map_or(1, |found| found.pages) * PAGE as u64;
        }
        Ok(())
    }

    /// An entry to put into, for as much as there is room.
    pub(super) fn begin(&self) -> Entry {
        let room = if self.entries < MOST_ENTRIES { self.bound.saturating_sub(self.end) } else { 0 };
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        Entry { bytes: Some(vec![0; HEADER]), room }
    }

    /// Writes an entry; it is on the disk when this returns. False where there is no room for it.
    ///
    /// # Errors
    /// Of the disk. It may be there all the same.
    pub(super) fn append(&mut self, number: u64, entry: Entry) -> io::Result<bool> {
        let Some(mut bytes) = entry.bytes else { return Ok(false) };
        let Ok(length) = u32::try_from(bytes.len() - HEADER) else { return Ok(false) };
        bytes[..4].copy_from_slice(&MAGIC.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.mark.to_be_bytes());
        bytes[16..24].copy_from_slice(&number.to_be_bytes());
        bytes[24..HEADER].copy_from_slice(&length.to_be_bytes());
        let sum = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&sum.to_be_bytes());
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        let begin = self.base + self.end;
        let after = begin + bytes.len() as u64;
        if self.medium.len()? < after {
            self.medium.set_len(after)?;
        }
        // One head is left as it is: a crash may tear the other.
        self.write_head(number, number.saturating_sub(1))?;
        self.medium.write(begin, &bytes)?;
        self.medium.sync_data()?;
        self.end = after - self.base;
        self.entries += 1;
        Ok(true)
    }

    /// Begins anew, once the file itself holds everything.
    pub(super) fn start_over(&mut self) {
        (self.end, self.entries) = (0, 0);
    }

    /// The entry of ours that begins here, if one does and is whole.
    fn entry_at(&self, at: u64) -> io::Result<Option<Found>> {
        Ok(self.whole_at(at)?.filter(|found| found.mark == self.mark))
    }

    /// The entry that begins here, whosever it is.
    fn whole_at(&self, at: u64) -> io::Result<Option<Found>> {
        let there = self.medium.len()?.saturating_sub(at);
        if there < PAGE as u64 {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        self.medium.read(at, &mut header)?;
        let (magic, sum) = (&header[..4], &header[4..8]);
        let (mark, number) = (be_u64(&header[8..16]), be_u64(&header[16..24]));
        let length = header[24..].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let pages = (HEADER + length).div_ceil(PAGE) as u64;
        if magic != MAGIC.to_be_bytes() || pages * PAGE as u64 > there {
            return Ok(None);
        }
        let mut body = vec![0; length];
        self.medium.read(at + HEADER as u64, &mut body)?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&header[8..]);
        hasher.update(&body);
        let is_whole = sum == hasher.finalize().to_be_bytes();
        Ok(is_whole.then_some(Found { mark, number, body, pages }))
    }
}

fn be_u64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
