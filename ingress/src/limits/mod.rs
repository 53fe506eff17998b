//! How much callers may ask for: by address, by source, and by how many there are.

mod client;
mod crowd;
mod rate;

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ipnet::IpNet;

use crate::http::LARGEST;
pub(crate) use client::{Client, network};
pub(crate) use crowd::{Crowd, Place};
use rate::{PerClient, PerSource};

/// So many a second for long, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) per_second: NonZeroU32,
    pub(crate) burst: NonZeroU32,
}

/// The limits as they are configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of one address; none for no limit.
    pub(crate) clients: Option<Rate>,
    /// Of one source; none for no limit.
    pub(crate) sources: Option<Rate>,
    /// Callers on this machine are counted too.
    pub(crate) loopback: bool,
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// At a time, on each listener.
    pub(crate) connections: usize,
    pub(crate) connections_per_client: usize,
    pub(crate) streams_per_client: usize,
    /// How long a request's head may take, and how long a connection may be idle.
    pub(crate) head_within: Duration,
    pub(crate) body_within: Duration,
    /// Largest body of a hook, in bytes.
    pub(crate) body: usize,
    /// How long a caller may take nothing of an answer.
    pub(crate) answer_within: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            clients: Rate::of(50, 500),
            sources: Rate::of(50, 1_000),
            loopback: false,
            trusted_proxies: Vec::new(),
            connections: 10_000,
            connections_per_client: 256,
            streams_per_client: 32,
            head_within: Duration::from_secs(30),
            body_within: Duration::from_secs(10),
            body: LARGEST,
            answer_within: Duration::from_secs(30),
        }
    }
}

impl Rate {
    /// None for no limit.
    pub(crate) fn of(per_second: u32, burst: u32) -> Option<Rate> {
        Some(Rate { per_second: NonZeroU32::new(per_second)?, burst: NonZeroU32::new(burst)? })
    }
}

impl Limits {
    /// Whether what this address says of whom it passes on is believed.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// Whether connections from this address are not counted: those of proxies are many callers'.
    pub(crate) fn passes_over(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusts(peer) || (!self.loopback && peer.is_loopback())
    }
}

/// What callers have asked for so far.
pub(crate) struct Meters {
    clients: Option<PerClient>,
    /// By name, once something was pushed there.
    sources: Mutex<HashMap<String, PerSource>>,
    per_source: Option<Rate>,
    /// Who follows events.
    pub(crate) streams: Arc<Crowd>,
}

impl Meters {
    /// Nothing yet.
    pub(crate) fn new(limits: &Limits) -> Meters {
        Meters {
            clients: limits.clients.map(PerClient::new),
            sources: Mutex::default(),
            per_source: limits.sources,
            streams: Arc::new(Crowd::of(limits.streams_per_client)),
        }
    }

    /// Counts a request of this client; when it is one too many, says when to come back.
    pub(crate) fn request(&self, client: &Client) -> Result<(), Duration> {
        match &self.clients {
            Some(clients) if !client.is_exempt => clients.check(client.address),
            Some(_) | None => Ok(()),
        }
    }

    /// Counts a push of this source, which is one of the configuration, likewise.
    pub(crate) fn push(&self, source: &str, client: &Client) -> Result<(), Duration> {
        let Some(rate) = self.per_source.filter(|_| !client.is_exempt) else { return Ok(()) };
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        match sources.get(source) {
            Some(known) => known.check(),
            None => sources.entry(source.to_owned()).or_insert(PerSource::new(rate)).check(),
        }
    }

    /// A place among those who follow events, given back when it is dropped; none when the client has too many.
    /// The inner answer is none for one who is not counted.
    pub(crate) fn stream(&self, client: &Client) -> Option<Option<Place>> {
        if client.is_exempt {
            return Some(None);
        }
        self.streams.enter(client.address).map(Some)
    }
}
