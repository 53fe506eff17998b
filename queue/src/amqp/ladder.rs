//! How a job waits: on the rungs of its pool's ladder, round and round when the wait is longer than any.

use std::time::Duration;

use jiff::Timestamp;
use lapin::{
    message::Delivery,
    types::{AMQPValue, FieldTable},
};
use proto::Job;

/// Which attempt the delivery is; absent on the first.
const ATTEMPT: &str = "longshore-attempt";

/// Milliseconds for which it was set aside until now; absent where it never was. A sum, not a date: no two machines need to
/// agree on the time, and what waits while no worker is there has not been refused by one.
const SET_ASIDE: &str = "longshore-set-aside";

/// Milliseconds since 1970 before which it is not to be carried out. Only there when it has to go round
/// again: what one rung covers, its own clock measures.
const DUE: &str = "longshore-due";

/// Bytes of the sender's headers that go on at most. All headers of a message go in one frame, which cannot be split:
/// a larger one makes the broker close the connection.
const MOST_HEADERS: usize = 16 * 1024;

/// How a delivery goes up the ladder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Climb {
    /// How long it waits at least.
    pub(super) wait: Duration,
    /// Which attempt it is when it comes back.
    pub(super) attempt: u32,
    /// How long it was set aside by then.
    pub(super) set_aside: Duration,
}

impl Climb {
    /// It waits, and stays what it is.
    pub(super) fn of(delivery: &Delivery, wait: Duration) -> Climb {
        Climb { wait, attempt: attempt_of(delivery), set_aside: set_aside_of(delivery) }
    }
}

/// The smallest rung that is at least as long as the wait, or else the longest there is. `rungs` ascend.
pub(super) fn rung_for(wait: Duration, rungs: &[Duration]) -> Option<Duration> {
    rungs.iter().copied().find(|rung| *rung >= wait).or_else(|| rungs.last().copied())
}

/// Which attempt a delivery is, from 1.
pub(super) fn attempt_of(delivery: &Delivery) -> u32 {
    number(delivery, ATTEMPT).and_then(|attempt| u32::try_from(attempt).ok()).unwrap_or(1).max(1)
}

/// How long it was set aside until now.
pub(super) fn set_aside_of(delivery: &Delivery) -> Duration {
    let ms = number(delivery, SET_ASIDE).and_then(|ms| u64::try_from(ms).ok());
    Duration::from_millis(ms.unwrap_or(0))
}

/// How long it has still to wait: by the clock of whoever sent it round, so no longer than anything is held.
pub(super) fn wait_of(delivery: &Delivery, now: Timestamp) -> Duration {
    let due = number(delivery, DUE).unwrap_or(0);
    let ms = due.saturating_sub(now.as_millisecond());
    Duration::from_millis(u64::try_from(ms).unwrap_or(0)).min(Job::LONGEST_HOLD.unsigned_abs())
}

/// The headers with which a delivery goes on to `rung`, due after `wait`.
pub(super) fn headers(delivery: &Delivery, climb: Climb, rung: Duration, now: Timestamp) -> FieldTable {
    let Climb { wait, attempt, set_aside } = climb;
    let mut headers = own_headers(delivery);
    headers.insert(ATTEMPT.into(), AMQPValue::LongLongInt(attempt.into()));
    if !set_aside.is_zero() {
        headers.insert(SET_ASIDE.into(), AMQPValue::LongLongInt(whole_ms(set_aside)));
    }
    if wait > rung {
        let due = now.as_millisecond().saturating_add(whole_ms(wait));
        headers.insert(DUE.into(), AMQPValue::LongLongInt(due));
    }
    headers
}

fn whole_ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Whether somebody had it before: it was given out and not settled, or sent up the ladder.
pub(super) fn came_back(delivery: &Delivery) -> bool {
    let climbed = delivery.properties.headers().as_ref().is_some_and(|it| it.inner().contains_key(ATTEMPT));
    delivery.redelivered || climbed
}

/// The headers of whoever published it, less what brokers write there, what would send copies elsewhere, and what is
/// too large to go on beside ours.
pub(super) fn own_headers(delivery: &Delivery) -> FieldTable {
    let mut kept = FieldTable::default();
    let mut room = MOST_HEADERS;
    let Some(headers) = delivery.properties.headers() else { return kept };
    for (name, value) in headers {
        let text = name.as_str();
        if text.starts_with("x-") || matches!(text, ATTEMPT | SET_ASIDE | DUE | "CC" | "BCC") {
            continue;
        }
        let Some(left) = room.checked_sub(field_bytes(text, value)) else {
            tracing::debug!(header = text, "a header is too large to go on with its message");
            continue;
        };
        room = left;
        kept.insert(name.clone(), value.clone());
    }
    kept
}

/// Bytes of headers on the wire.
pub(super) fn table_bytes(headers: &FieldTable) -> usize {
    headers.into_iter().map(|(name, value)| field_bytes(name.as_str(), value)).sum()
}

fn field_bytes(name: &str, value: &AMQPValue) -> usize {
    1 + name.len() + value_bytes(value)
}

/// Bytes of a value on the wire, with the letter that tells its kind.
fn value_bytes(value: &AMQPValue) -> usize {
    1 + match value {
        AMQPValue::Void => 0,
        AMQPValue::Boolean(_) | AMQPValue::ShortShortInt(_) | AMQPValue::ShortShortUInt(_) => 1,
        AMQPValue::ShortInt(_) | AMQPValue::ShortUInt(_) => 2,
        AMQPValue::LongInt(_) | AMQPValue::LongUInt(_) | AMQPValue::Float(_) => 4,
        AMQPValue::DecimalValue(_) => 5,
        AMQPValue::LongLongInt(_) | AMQPValue::Double(_) | AMQPValue::Timestamp(_) => 8,
        AMQPValue::ShortString(text) => 1 + text.as_str().len(),
        AMQPValue::LongString(text) => 4 + text.as_bytes().len(),
        AMQPValue::ByteArray(bytes) => 4 + bytes.as_slice().len(),
        AMQPValue::FieldArray(values) => 4 + values.as_slice().iter().map(value_bytes).sum::<usize>(),
        AMQPValue::FieldTable(table) => 4 + table_bytes(table),
    }
}

/// A header that is a whole number, of whatever width.
pub(super) fn number(delivery: &Delivery, name: &str) -> Option<i64> {
    match delivery.properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::ShortShortInt(number) => Some((*number).into()),
        AMQPValue::ShortShortUInt(number) => Some((*number).into()),
        AMQPValue::ShortInt(number) => Some((*number).into()),
        AMQPValue::ShortUInt(number) => Some((*number).into()),
        AMQPValue::LongInt(number) => Some((*number).into()),
        AMQPValue::LongUInt(number) => Some((*number).into()),
        AMQPValue::LongLongInt(number) => Some(*number),
        AMQPValue::Timestamp(seconds) => i64::try_from(*seconds).ok()?.checked_mul(1000),
        AMQPValue::Boolean(_)
        | AMQPValue::Float(_)
        | AMQPValue::Double(_)
        | AMQPValue::DecimalValue(_)
        | AMQPValue::ShortString(_)
        | AMQPValue::LongString(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => None,
    }
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;

    fn delivered(headers: FieldTable) -> Delivery {
        let mut delivery = Delivery::mock(1, "".into(), "default.web".into(), false, Vec::new());
        delivery.properties = BasicProperties::default().with_headers(headers);
        delivery
    }

    fn climb(attempt: u32, wait: Duration) -> Climb {
        Climb { wait, attempt, set_aside: Duration::ZERO }
    }

    #[test]
    fn the_rung_is_the_smallest_that_is_long_enough() {
        let rungs = crate::AmqpSettings::RUNGS;
        let seconds = |wait| rung_for(Duration::from_secs(wait), &rungs).unwrap().as_secs();
        assert_eq!(
            [0, 5, 6, 31, 120, 121, 600, 601, 86_400].map(seconds),
            [5, 5, 30, 120, 120, 600, 600, 600, 600]
        );
        assert_eq!(rung_for(Duration::ZERO, &[]), None);
    }

    #[test]
    fn what_one_rung_covers_is_due_when_it_comes_back() {
        let (now, rung) = (Timestamp::now(), Duration::from_secs(30));
        let sent = delivered(headers(&delivered(FieldTable::default()), climb(3, rung), rung, now));
        assert_eq!(attempt_of(&sent), 3);
        assert_eq!(wait_of(&sent, now), Duration::ZERO);
    }

    #[test]
    fn what_is_longer_than_every_rung_knows_when_it_is_due() {
        let (now, rung) = (Timestamp::now(), Duration::from_secs(600));
        let sent = delivered(headers(&delivered(FieldTable::default()), climb(1, 3 * rung), rung, now));
        assert_eq!(wait_of(&sent, now), 3 * rung);
        let last = delivered(headers(&sent, climb(1, rung), rung, now));
        assert_eq!(wait_of(&last, now), Duration::ZERO);
    }

    #[test]
    fn the_brokers_headers_stay_behind_and_the_senders_go_on() {
        let mut mixed = FieldTable::default();
        for name in ["x-death", "x-delivery-count", "CC", "traceparent"] {
            mixed.insert(name.into(), AMQPValue::LongString("1".into()));
        }
        let kept = own_headers(&delivered(mixed));
        assert_eq!(kept.inner().keys().map(ToString::to_string).collect::<Vec<_>>(), ["traceparent"]);
    }

    #[test]
    fn headers_that_are_too_large_stay_behind_and_the_others_go_on() {
        let mut mixed = FieldTable::default();
        let text = |length| AMQPValue::LongString("x".repeat(length).into());
        mixed.insert("a".into(), text(MOST_HEADERS));
        mixed.insert("b".into(), AMQPValue::FieldArray(vec![text(MOST_HEADERS)].into()));
        mixed.insert("c".into(), text(MOST_HEADERS - 100));
        mixed.insert("d".into(), text(200));
        mixed.insert("traceparent".into(), text(55));
        let kept = own_headers(&delivered(mixed));
        assert_eq!(kept.inner().keys().map(ToString::to_string).collect::<Vec<_>>(), ["c", "traceparent"]);
        assert!(table_bytes(&kept) <= MOST_HEADERS);
    }

    #[test]
    fn an_attempt_that_makes_no_sense_is_the_first() {
        for value in [AMQPValue::LongInt(-1), AMQPValue::LongInt(0), AMQPValue::Void] {
            let mut odd = FieldTable::default();
            odd.insert(ATTEMPT.into(), value.clone());
            odd.insert(SET_ASIDE.into(), value);
            let odd = delivered(odd);
            assert_eq!((attempt_of(&odd), set_aside_of(&odd)), (1, Duration::ZERO));
        }
    }
}
