//! Job ids, whose order is the order of wishes.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// First millisecond of the day before the year 2200: an id dated then or later is not one of ours, and believing it
/// would push every later id there, until there is none any more.
const END_MS: u64 = 7_258_118_400_000 - 24 * 3600 * 1000;

/// The random part of a UUIDv7: 12 bits beside the version, 62 beside the variant.
const RANDOM_BITS: u32 = 74;

/// Names a job, and orders it: the greater of two ids is the newer wish.
///
/// A UUIDv7. Only an ingress mints them ([`JobId::mint`]); ids from outside are idempotency keys, never
/// order. The id's time may run ahead of the clock, so it is no time of day: that is `accepted_at`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Uuid", into = "Uuid")]
#[schemars(with = "Uuid")]
pub struct JobId(Uuid);

/// Why a text or UUID is no job id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a UUID at all.
    #[error("`{0}` is not a UUID")]
    NotUuid(String),
    /// A UUID of another version: it carries no order.
    #[error("`{0}` is not a version 7 UUID")]
    NotVersion7(Uuid),
    /// Dated on the day before the year 2200, or later.
    #[error("`{0}` is dated too far ahead: 2199-12-31 or later")]
    TooFarAhead(Uuid),
}

impl JobId {
    /// No id is dated at this time or later: the day before the year 2200.
    pub const END_OF_TIME: Timestamp = Timestamp::constant((END_MS / 1000) as i64, 0);

    /// The next id in a hybrid clock: above every id seen (`highest`), and at the clock's time (`now`) when
    /// that is ahead of them.
    #[must_use]
    pub fn mint(now: Timestamp, highest: Option<JobId>) -> JobId {
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
        let by_clock = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos));
        match highest {
            Some(highest) if highest.0 >= by_clock => highest.successor(),
            _ => JobId(by_clock),
        }
    }

    /// The least id above this one that is still a version 7 UUID.
    #[must_use]
    pub fn successor(self) -> JobId {
        let (ms, random) = self.parts();
        let (ms, random) = if random + 1 < (1 << RANDOM_BITS) { (ms, random + 1) } else { (ms + 1, 0) };
        JobId::from_parts(ms, random)
    }

    /// The id's own time in milliseconds since 1970: where to seek its events in the history.
    #[must_use]
    pub fn unix_ms(self) -> u64 {
        self.parts().0
    }

    /// The id's own time. Always before [`JobId::END_OF_TIME`].
    #[must_use]
    pub fn time(self) -> Timestamp {
        let ms = i64::try_from(self.unix_ms()).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
    }

    /// Whether newer ids can be above it: not when it is of the last second that an id can be dated at. None of ours is
    /// before that time comes.
    #[must_use]
    pub fn leaves_room(self) -> bool {
        self.unix_ms() < END_MS - 1000
    }

    /// The UUID itself.
    #[must_use]
    pub fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    fn parts(self) -> (u64, u128) {
        let bits = self.0.as_u128();
        let ms = (bits >> 80) as u64;
        let high = (bits >> 64) & 0xfff;
        let low = bits & ((1 << 62) - 1);
        (ms, high << 62 | low)
    }

    fn from_parts(ms: u64, random: u128) -> JobId {
        let high = random >> 62;
        let low = random & ((1 << 62) - 1);
        JobId(Uuid::from_u128(u128::from(ms) << 80 | 7 << 76 | high << 64 | 0b10 << 62 | low))
    }
}

impl TryFrom<Uuid> for JobId {
    type Error = IdError;

    fn try_from(uuid: Uuid) -> Result<Self, IdError> {
        if uuid.get_version_num() != 7 || uuid.get_variant() != uuid::Variant::RFC4122 {
            return Err(IdError::NotVersion7(uuid));
        }
        match JobId(uuid) {
            id if id.unix_ms() >= END_MS => Err(IdError::TooFarAhead(uuid)),
            id => Ok(id),
        }
    }
}

impl From<JobId> for Uuid {
    fn from(id: JobId) -> Uuid {
        id.0
    }
}

impl FromStr for JobId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::parse_str(text).map_err(|_| IdError::NotUuid(text.to_owned()))?.try_into()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({})", self.0)
    }
}

/// Shared by all jobs of one cause: one push that three targets follow is one chain of three jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ChainId(Uuid);

impl ChainId {
    /// A chain named after its first job.
    #[must_use]
    pub fn of(first: JobId) -> ChainId {
        ChainId(first.0)
    }

    /// The chain of what is known by `name`: the same name, the same chain.
    #[must_use]
    pub fn named(name: &[u8]) -> ChainId {
        ChainId(Uuid::new_v5(&Uuid::NAMESPACE_OID, name))
    }

    /// Whether it was made from a name, not from its first job.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.0.get_version_num() == 5
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    #[test]
    fn a_clock_behind_the_highest_id_still_goes_up() {
        let ahead = JobId::mint(at(2_000_000), None);
        let next = JobId::mint(at(1_000_000), Some(ahead));
        assert!(next > ahead);
        assert_eq!(next.unix_ms(), 2_000_000);
    }

    #[test]
    fn a_clock_ahead_of_the_highest_id_is_used() {
        let old = JobId::mint(at(1_000_000), None);
        assert_eq!(JobId::mint(at(2_000_000), Some(old)).unix_ms(), 2_000_000);
    }

    #[test]
    fn the_successor_of_a_full_millisecond_is_in_the_next() {
        let last = JobId::from_parts(5, (1 << RANDOM_BITS) - 1);
        assert_eq!(last.successor(), JobId::from_parts(6, 0));
    }

    #[test]
    fn a_chain_is_known_by_its_name_or_by_its_first_job() {
        let named = ChainId::named(b"k");
        assert!(named == ChainId::named(b"k") && named != ChainId::named(b"l") && named.is_named());
        assert!(!ChainId::of(JobId::mint(at(1), None)).is_named());
    }

    #[test]
    fn other_uuids_are_refused_with_the_reason() {
        assert_eq!("x".parse::<JobId>(), Err(IdError::NotUuid("x".into())));
        let v4 = "6f1d7a3e-4a44-4a44-8a44-6f1d7a3e4a44";
        assert!(matches!(v4.parse::<JobId>(), Err(IdError::NotVersion7(_))));
        let far = JobId::from_parts(END_MS, 1).to_string();
        assert!(matches!(far.parse::<JobId>(), Err(IdError::TooFarAhead(_))));
        let last_noon = JobId::mint("2199-12-31T12:00:00Z".parse().unwrap(), None).to_string();
        assert!(matches!(last_noon.parse::<JobId>(), Err(IdError::TooFarAhead(_))));
        let day_before = JobId::mint("2199-12-30T12:00:00Z".parse().unwrap(), None);
        assert_eq!(day_before.to_string().parse(), Ok(day_before));
    }

    proptest! {
        #[test]
        fn successors_are_version_7_and_adjacent(ms in 0..END_MS - 1, random in 0..1u128 << RANDOM_BITS) {
            let id = JobId::from_parts(ms, random);
            let next = id.successor();
            prop_assert!(next > id);
            prop_assert_eq!(JobId::try_from(Uuid::from(next)), Ok(next));
            prop_assert_eq!(id.parts(), (ms, random));
        }
    }
}
