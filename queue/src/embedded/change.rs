//! What the writer does to the rows, as it stands in the journal too: whatever was carried out once comes out the same
//! when it is carried out again on the same file.

use std::borrow::Cow;

use bytes::{Buf, BufMut};

use super::clock::Micros;

/// One change of the rows. Nothing is decided in it any more: a refused act makes none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// A worker serves the pool from now on.
    Serve { pool: Cow<'a, str> },
    /// Something waits in a line, from this time on, under the next number. It was set aside for so long before.
    Wait { line: Cow<'a, str>, from: Micros, attempt: u32, set_aside: Micros, body: Cow<'a, [u8]> },
    /// What waits at a place is taken out.
    Remove { line: Cow<'a, str>, from: Micros, number: u64 },
    /// An entry of the history, under the next position.
    Record { kind: u8, body: Cow<'a, [u8]> },
    /// A letter, under the next number. The reason is JSON.
    Bury { line: Cow<'a, str>, attempts: u32, reason: Cow<'a, [u8]>, body: Cow<'a, [u8]> },
    /// A letter is closed. How, is JSON.
    Close { letter: u64, how: Cow<'a, [u8]> },
    /// A number is noted under a name.
    Note { name: Cow<'a, str>, value: u64 },
}

const SERVE: u8 = 1;
const WAIT: u8 = 2;
const REMOVE: u8 = 3;
const RECORD: u8 = 4;
const BURY: u8 = 5;
const CLOSE: u8 = 6;
const NOTE: u8 = 7;
/// [`WAIT`] of what was set aside.
const WAIT_ON: u8 = 8;

/// Bytes that are no changes of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an entry of the journal cannot be read: {0}")]
pub(super) struct Unreadable(&'static str);

impl Change<'_> {
    /// Whether when it was made is kept.
    pub(super) fn has_date(&self) -> bool {
        matches!(self, Change::Record { .. } | Change::Bury { .. })
    }

    /// Writes it behind what is in `to`. A text or body of more than 4 GiB cannot be: no message is that long.
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Change::Serve { pool } => {
                to.put_u8(SERVE);
                put(to, pool.as_bytes());
            }
            Change::Wait { line, from, attempt, set_aside, body } => {
                to.put_u8(if *set_aside == 0 { WAIT } else { WAIT_ON });
                put(to, line.as_bytes());
                to.put_u64(*from);
                to.put_u32(*attempt);
                if *set_aside > 0 {
                    to.put_u64(*set_aside);
                }
                put(to, body);
            }
            Change::Remove { line, from, number } => {
                to.put_u8(REMOVE);
                put(to, line.as_bytes());
                to.put_u64(*from);
                to.put_u64(*number);
            }
            Change::Record { kind, body } => {
                to.put_u8(RECORD);
                to.put_u8(*kind);
                put(to, body);
            }
            Change::Bury { line, attempts, reason, body } => {
                to.put_u8(BURY);
                put(to, line.as_bytes());
                to.put_u32(*attempts);
                put(to, reason);
                put(to, body);
            }
            Change::Close { letter, how } => {
                to.put_u8(CLOSE);
                to.put_u64(*letter);
                put(to, how);
            }
            Change::Note { name, value } => {
                to.put_u8(NOTE);
                put(to, name.as_bytes());
                to.put_u64(*value);
            }
        }
    }
}

/// Reads all changes of an entry.
///
/// # Errors
/// [`Unreadable`] where they are not what [`Change::encode`] wrote.
pub(super) fn decode_all(mut from: &[u8]) -> Result<Vec<Change<'_>>, Unreadable> {
    let mut changes = Vec::new();
    while from.has_remaining() {
        changes.push(decode(&mut from)?);
    }
    Ok(changes)
}

fn decode<'a>(from: &mut &'a [u8]) -> Result<Change<'a>, Unreadable> {
    Ok(match number(from.try_get_u8())? {
        SERVE => Change::Serve { pool: text(from)? },
        kind @ (WAIT | WAIT_ON) => Change::Wait {
            line: text(from)?,
            from: number(from.try_get_u64())?,
            attempt: number(from.try_get_u32())?,
            set_aside: if kind == WAIT_ON { number(from.try_get_u64())? } else { 0 },
            body: blob(from)?,
        },
        REMOVE => Change::Remove {
            line: text(from)?,
            from: number(from.try_get_u64())?,
            number: number(from.try_get_u64())?,
        },
        RECORD => Change::Record { kind: number(from.try_get_u8())?, body: blob(from)? },
        BURY => Change::Bury {
            line: text(from)?,
            attempts: number(from.try_get_u32())?,
            reason: blob(from)?,
            body: blob(from)?,
        },
        CLOSE => Change::Close { letter: number(from.try_get_u64())?, how: blob(from)? },
        NOTE => Change::Note { name: text(from)?, value: number(from.try_get_u64())? },
        _ => return Err(Unreadable("it has a change that this version does not know")),
    })
}

#[expect(clippy::cast_possible_truncation, reason = "no message has 4 GiB")]
fn put(to: &mut Vec<u8>, bytes: &[u8]) {
    to.put_u32(bytes.len() as u32);
    to.put_slice(bytes);
}

fn number<T>(read: Result<T, bytes::TryGetError>) -> Result<T, Unreadable> {
    read.map_err(|_| Unreadable("it ends in the midst of a number"))
}

fn blob<'a>(from: &mut &'a [u8]) -> Result<Cow<'a, [u8]>, Unreadable> {
    let length = number(from.try_get_u32())? as usize;
    let (bytes, rest) = from.split_at_checked(length).ok_or(Unreadable("it ends in the midst of a text"))?;
    *from = rest;
    Ok(Cow::Borrowed(bytes))
}

fn text<'a>(from: &mut &'a [u8]) -> Result<Cow<'a, str>, Unreadable> {
    match blob(from)? {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed),
        Cow::Owned(bytes) => return String::from_utf8(bytes).map(Cow::Owned).map_err(|_| NOT_TEXT),
    }
    .map_err(|_| NOT_TEXT)
}

const NOT_TEXT: Unreadable = Unreadable("a name in it is no text");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_text() -> impl Strategy<Value = Cow<'static, str>> {
        "[a-zäß]{0,9}".prop_map(Cow::Owned)
    }

    fn some_bytes() -> impl Strategy<Value = Cow<'static, [u8]>> {
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Cow::Owned)
    }

    fn some_change() -> impl Strategy<Value = Change<'static>> {
        prop_oneof![
            some_text().prop_map(|pool| Change::Serve { pool }),
            (some_text(), any::<u64>(), any::<u32>(), prop_oneof![Just(0), any::<u64>()], some_bytes())
                .prop_map(|(line, from, attempt, set_aside, body)| Change::Wait {
                    line,
                    from,
                    attempt,
                    set_aside,
                    body
                }),
            (some_text(), any::<u64>(), any::<u64>()).prop_map(|(line, from, number)| Change::Remove {
                line,
                from,
                number
            }),
            (any::<u8>(), some_bytes()).prop_map(|(kind, body)| Change::Record { kind, body }),
            (some_text(), any::<u32>(), some_bytes(), some_bytes())
                .prop_map(|(line, attempts, reason, body)| Change::Bury { line, attempts, reason, body }),
            (any::<u64>(), some_bytes()).prop_map(|(letter, how)| Change::Close { letter, how }),
            (some_text(), any::<u64>()).prop_map(|(name, value)| Change::Note { name, value }),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(changes in prop::collection::vec(some_change(), 0..8)) {
            let mut entry = Vec::new();
            changes.iter().for_each(|change| change.encode(&mut entry));
            prop_assert_eq!(decode_all(&entry), Ok(changes));
        }

        #[test]
        fn what_is_cut_off_is_told_or_ends_between_two(
            changes in prop::collection::vec(some_change(), 1..4),
            cut in 1..30usize,
        ) {
            let mut entry = Vec::new();
            changes.iter().for_each(|change| change.encode(&mut entry));
            entry.truncate(entry.len().saturating_sub(cut));
            if let Ok(read) = decode_all(&entry) {
                prop_assert!(read.len() < changes.len() && changes.starts_with(&read));
            }
        }

        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_all(&noise);
        }
    }
}
