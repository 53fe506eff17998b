use std::sync::{Arc, Mutex};

use redb::backends::InMemoryBackend;

use super::*;

const MARK: u64 = 7;
const BOUND: u64 = 8 * PAGE as u64;

/// A medium that outlives the journals on it.
#[derive(Debug, Clone, Default)]
struct Medium(Arc<InMemoryBackend>);

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

fn on(medium: &Medium) -> Journal {
    Journal::new(Box::new(medium.clone()), MARK, BOUND)
}

fn append(journal: &mut Journal, number: u64, body: &[u8]) -> bool {
    let mut entry = journal.begin();
    entry.put(|bytes| bytes.extend_from_slice(body));
    journal.append(number, entry).unwrap()
}

/// What a journal shows of a medium to one who knows all up to `known`.
fn read(medium: &Medium, known: u64) -> Result<(u64, Vec<Vec<u8>>), Unfit> {
    let shown = Mutex::new(Vec::new());
    let last = on(medium).read(known, false, |entry| {
        shown.lock().unwrap().push(entry.to_vec());
        Ok(())
    })?;
    Ok((last, shown.into_inner().unwrap()))
}

/// A medium with the entries 1 to 3, the second of two pages.
fn three() -> (Medium, Journal) {
    let medium = Medium::default();
    let mut journal = on(&medium);
    assert!(append(&mut journal, 1, b"one"));
    assert!(append(&mut journal, 2, &[2; PAGE]));
    assert!(append(&mut journal, 3, b"three"));
    (medium, journal)
}

#[test]
fn what_is_not_known_yet_is_shown_in_order() {
    let (medium, _) = three();
    let (last, all) = read(&medium, 0).unwrap();
    assert_eq!((last, all.len()), (3, 3));
    assert_eq!((&*all[0], &*all[1], &*all[2]), (&b"one"[..], &[2; PAGE][..], &b"three"[..]));
    assert_eq!(read(&medium, 2).unwrap(), (3, vec![b"three".to_vec()]));
    assert_eq!(read(&medium, 3).unwrap(), (3, vec![]));
    assert_eq!(read(&medium, 9).unwrap(), (9, vec![]), "the file has long gone on without it");
}

#[test]
fn it_goes_on_behind_what_it_read() {
    let (medium, _) = three();
    let mut journal = on(&medium);
    journal.read(2, true, |_| Ok(())).unwrap();
    assert!(append(&mut journal, 4, b"four"));
    assert_eq!(read(&medium, 3).unwrap(), (4, vec![b"four".to_vec()]));
}

#[test]
fn what_is_left_of_a_former_round_is_not_shown() {
    let (medium, mut journal) = three();
    journal.start_over();
    assert_eq!(read(&medium, 3).unwrap(), (3, vec![]), "nothing of the new round yet");
    assert!(append(&mut journal, 4, b"four"));
    // The second page still begins the entry 2.
    assert_eq!(read(&medium, 3).unwrap(), (4, vec![b"four".to_vec()]));
}

#[test]
fn an_entry_that_was_torn_is_none() {
    for torn_at in [0, 5, 12, 20, 26, HEADER as u64, HEADER as u64 + 4] {
        let (medium, _) = three();
        medium.write(HEADS + 3 * PAGE as u64 + torn_at, &[0xff]).unwrap();
        assert_eq!(read(&medium, 1).unwrap(), (2, vec![vec![2; PAGE]]), "torn at {torn_at}");
    }
    let (medium, _) = three();
    medium.set_len(HEADS + 3 * PAGE as u64 + 100).unwrap();
    assert_eq!(read(&medium, 2).unwrap(), (2, vec![]));
}

#[test]
fn damage_before_the_end_is_told_instead_of_losing_what_follows() {
    let (medium, _) = three();
    medium.write(HEADS + PAGE as u64 + 100, &[0xff]).unwrap();
    assert!(matches!(read(&medium, 0), Err(Unfit::Hole(2))));
    assert!(matches!(read(&medium, 3), Ok((3, none)) if none.is_empty()), "nothing of it is wanted any more");
}

#[test]
fn a_file_older_than_the_journal_is_told() {
    let (medium, mut journal) = three();
    journal.start_over();
    assert!(append(&mut journal, 4, b"four"));
    assert!(matches!(read(&medium, 1), Err(Unfit::Gap { known: 1, found: 4 })));
}

#[test]
fn the_journal_of_another_file_is_told_and_not_written_over() {
    let (medium, _) = three();
    let mut journal = Journal::new(Box::new(medium), MARK + 1, BOUND);
    let read = journal.read(0, true, |_| panic!("it is of another file"));
    assert!(matches!(read, Err(Unfit::Foreign)), "{read:?}");
}

#[test]
fn there_is_room_up_to_the_bound() {
    let medium = Medium::default();
    let mut journal = on(&medium);
    for number in 1..=8 {
        assert!(append(&mut journal, number, &[0; PAGE - HEADER]));
    }
    assert!(!append(&mut journal, 9, b"one too many"));
    journal.start_over();
    assert!(!append(&mut journal, 9, &[0; 8 * PAGE - HEADER + 1]), "longer than the whole");
    assert!(append(&mut journal, 9, &[0; 8 * PAGE - HEADER]));
    assert_eq!(medium.len().unwrap(), HEADS + BOUND);
}

fn zero(medium: &Medium, from: u64) {
    let to = medium.len().unwrap();
    medium.write(from, &vec![0; usize::try_from(to - from).unwrap()]).unwrap();
}

#[test]
fn what_is_gone_from_the_end_is_told() {
    let (medium, _) = three();
    zero(&medium, HEADS + PAGE as u64);
    assert!(matches!(read(&medium, 0), Err(Unfit::CutOff { found: 1, safe: 2 })));
    assert!(matches!(read(&medium, 2), Ok((2, none)) if none.is_empty()), "the file has it");
    // The very last may never have been promised.
    let (medium, _) = three();
    zero(&medium, HEADS + 3 * PAGE as u64);
    assert_eq!(read(&medium, 1).unwrap(), (2, vec![vec![2; PAGE]]));
}

#[test]
fn one_that_was_overwritten_is_told_where_it_was_in_use() {
    let (medium, _) = three();
    zero(&medium, 0);
    let begun = on(&medium).read(0, true, |_| Ok(()));
    assert!(matches!(begun, Err(Unfit::Overwritten)), "{begun:?}");
    assert_eq!(read(&medium, 3).unwrap(), (3, vec![]), "one that was closed holds nothing");
}

#[test]
fn a_head_that_was_torn_leaves_the_other() {
    for head in [0, PAGE as u64] {
        let (medium, _) = three();
        medium.write(head, &[0xff; HEAD]).unwrap();
        assert_eq!(on(&medium).read(0, true, |_| Ok(())).unwrap(), 3, "{head}");
        zero(&medium, HEADS);
        assert!(matches!(read(&medium, 0), Err(Unfit::CutOff { found: 0, .. })));
    }
}

#[test]
fn one_of_a_former_version_is_read_and_then_has_heads() {
    let (with_heads, _) = three();
    let mut bytes = vec![0; usize::try_from(with_heads.len().unwrap() - HEADS).unwrap()];
    with_heads.read(HEADS, &mut bytes).unwrap();
    let medium = Medium::default();
    medium.set_len(bytes.len() as u64).unwrap();
    medium.write(0, &bytes).unwrap();
    let mut journal = on(&medium);
    assert_eq!(journal.read(1, true, |_| Ok(())).unwrap(), 3);
    journal.begin_round(3).unwrap();
    assert!(append(&mut journal, 4, b"four"));
    assert_eq!(read(&medium, 3).unwrap(), (4, vec![b"four".to_vec()]));
}
