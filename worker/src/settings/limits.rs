//! How a worker works, as the configuration says it.

use std::time::Duration;

use config::Span;
use schemars::JsonSchema;
use serde::{Deserialize, de::Error};

/// Most jobs a worker carries out at the same time for a pool.
const MOST_AT_ONCE: u16 = 1000;

/// Longest hold of a delivery.
const LONGEST_HOLD: Duration = Duration::from_secs(25 * 60);

/// `worker`: how a worker works.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Jobs carried out at the same time, for each pool.
    #[serde(deserialize_with = "at_once")]
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) at_once: u16,
    /// How long a rollout may run before a newer job that waits takes over.
    #[serde(deserialize_with = "duration", serialize_with = "as_span")]
    #[schemars(with = "Span")]
    pub(crate) takeover_after: Duration,
    /// How long one delivery is held; a longer rollout is taken up again.
    #[serde(deserialize_with = "hold", serialize_with = "as_span")]
    #[schemars(with = "Span")]
    pub(crate) delivery_hold: Duration,
    /// How long running jobs may go on when the worker is asked to stop.
    #[serde(deserialize_with = "duration", serialize_with = "as_span")]
    #[schemars(with = "Span")]
    pub(crate) grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            at_once: 16,
            takeover_after: Duration::from_secs(10),
            delivery_hold: Duration::from_secs(8 * 60),
            grace: Duration::from_secs(20),
        }
    }
}

fn duration<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    Span::deserialize(from).map(|span| span.0)
}

/// With a hold of nothing each job is given up the moment it is taken, and none ever ends. One beyond the broker's
/// own patience (30 minutes, unless it was told otherwise) has every delivery taken back in the middle.
fn hold<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let hold = duration(from)?;
    if hold.is_zero() {
        return Err(Error::custom(
            "no job could end with a hold of `0s`\nhint: give more, as in `8m`, the default",
        ));
    }
    if hold > LONGEST_HOLD {
        return Err(Error::custom(
            "RabbitMQ takes deliveries back after 30 minutes\nhint: give 25m or less; 8m is the default",
        ));
    }
    Ok(hold)
}

fn at_once<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    let number = u64::deserialize(from)?;
    u16::try_from(number).ok().filter(|number| (1..=MOST_AT_ONCE).contains(number)).ok_or_else(|| {
        let hint = format!("give from 1 to {MOST_AT_ONCE}; 16 is the default");
        Error::custom(format_args!("a worker cannot carry out {number} jobs at once\nhint: {hint}"))
    })
}

/// For the defaults in the schema of the file.
fn as_span<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&Span(*duration), to)
}
