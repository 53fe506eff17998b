//! Token buckets: one for each client, one for each source.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore},
};

use super::Rate;

/// Most clients that are remembered. One more, and all begin anew: what is remembered must not grow with the number of
/// addresses that somebody has.
const MOST_CLIENTS: usize = 20_000;

type Limiter<S> = RateLimiter<<S as StateStore>::Key, S, DefaultClock, NoOpMiddleware>;

/// A bucket for each address.
pub(super) struct PerClient(Limiter<Clients>);

/// One bucket.
pub(super) struct PerSource(Limiter<InMemoryState>);

impl PerClient {
    pub(super) fn new(rate: Rate) -> PerClient {
        PerClient(RateLimiter::new(quota(rate), Clients::default(), DefaultClock::default()))
    }

    /// Takes from the client's bucket, or says when there is something in it.
    pub(super) fn check(&self, client: IpAddr) -> Result<(), Duration> {
        self.0.check_key(&client).map_err(|until| wait(&until, self.0.clock()))
    }
}

impl PerSource {
    pub(super) fn new(rate: Rate) -> PerSource {
        PerSource(RateLimiter::direct(quota(rate)))
    }

    /// Takes from the bucket, or says when there is something in it.
    pub(super) fn check(&self) -> Result<(), Duration> {
        self.0.check().map_err(|until| wait(&until, self.0.clock()))
    }
}

fn quota(rate: Rate) -> Quota {
    Quota::per_second(rate.per_second).allow_burst(rate.burst)
}

fn wait(until: &NotUntil<<DefaultClock as Clock>::Instant>, clock: &DefaultClock) -> Duration {
    until.wait_time_from(clock.now())
}

/// The buckets of the last clients.
#[derive(Debug, Default)]
struct Clients(Mutex<HashMap<IpAddr, InMemoryState>>);

impl StateStore for Clients {
    type Key = IpAddr;

    fn measure_and_replace<T, F, E>(&self, client: &IpAddr, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MOST_CLIENTS && !clients.contains_key(client) {
            clients.clear();
        }
        clients.entry(*client).or_default().measure_and_replace(&NotKeyed::NonKey, decide)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_so_many_a_second() {
        let clients = PerClient::new(Rate::of(1, 3).unwrap());
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..3 {
            clients.check(one).unwrap();
        }
        let wait = clients.check(one).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        clients.check(other).unwrap();
    }

    #[test]
    fn clients_beyond_number_are_not_all_remembered() {
        let store = PerClient::new(Rate::of(1, 1).unwrap());
        for address in 0..50_000_u32 {
            store.check(Ipv4Addr::from_bits(address).into()).unwrap();
        }
        assert!(store.check(Ipv4Addr::from_bits(49_999).into()).is_err());
        assert!(store.check(Ipv4Addr::from_bits(1).into()).is_ok());
    }
}
