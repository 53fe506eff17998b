//! The section `limits`, as people type it.

use config::{Bytes, Span};
use schemars::JsonSchema;
use serde::Deserialize;

/// The section `limits`: how much callers may ask for, and how long they may take.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsSection {
    /// How often one address may ask: `{per_second: 50, burst: 500}` by default.
    pub clients: Option<RateSection>,
    /// How often one source may push, once it was let in: `{per_second: 50, burst: 1000}` by default.
    pub sources: Option<RateSection>,
    /// Counts callers on this machine too: `false` by default.
    pub loopback: Option<bool>,
    /// The proxies whose `X-Forwarded-For` is believed: addresses and networks, as in `10.0.0.7` or `10.0.0.0/8`;
    /// none by default.
    pub trusted_proxies: Option<Vec<String>>,
    /// Connections served at a time, on each listener: `10000` by default.
    pub connections: Option<u32>,
    /// Connections of one address at a time, on each listener: `256` by default.
    pub connections_per_client: Option<u32>,
    /// Streams of events that one address may follow at a time: `32` by default.
    pub streams_per_client: Option<u32>,
    /// How long the head of a request may take, and how long a connection may be idle: `30s` by default.
    pub head_within: Option<Span>,
    /// How long the body of a request may take: `10s` by default.
    pub body_within: Option<Span>,
    /// Largest body of a hook: `1MiB` by default, `25MiB` at most, which is what forges send at most.
    pub body: Option<Bytes>,
    /// How long a caller may take nothing of an answer before it is given up: `30s` by default.
    pub answer_within: Option<Span>,
}

/// So many a second for long, and so many at once.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateSection {
    /// Requests a second; 0 for no limit.
    pub per_second: u32,
    /// Requests at once, after a pause; ten times as many as a second by default.
    pub burst: Option<u32>,
}
