//! Who asks: the address behind the proxies that are trusted.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;

use super::Limits;
use crate::authenticate::is_forwarded;

const FORWARDED_FOR: &str = "x-forwarded-for";
/// An IPv6 customer has a network of this length at least, and may use every address in it.
const NETWORK: u32 = 64;

/// Who asks, as far as limits go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address; of IPv6 its network.
    pub(crate) address: IpAddr,
    /// It is on this machine, and such are not counted.
    pub(crate) is_exempt: bool,
}

impl Client {
    /// Who sent a request that came from `peer`.
    pub(crate) fn of(peer: IpAddr, headers: &HeaderMap, limits: &Limits) -> Client {
        let peer = peer.to_canonical();
        let (address, passed_on) = match limits.trusts(peer) {
            true => (behind(peer, headers, limits), false),
            // Something on this machine passes requests on and is not told of: all of it is one client.
            false => (peer, is_forwarded(headers)),
        };
        let is_exempt = !limits.loopback && address.is_loopback() && !passed_on;
        Client { address: network(address), is_exempt }
    }
}

/// The last address that no trusted proxy has: what stands before it, anybody may have written.
fn behind(peer: IpAddr, headers: &HeaderMap, limits: &Limits) -> IpAddr {
    let lines: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()).collect();
    let mut nearest = peer;
    for text in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Some(address) = address(text.trim()) else { return nearest };
        nearest = address;
        if !limits.trusts(address) {
            return address;
        }
    }
    nearest
}

/// An address, with a port or in brackets as some proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    bare().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) if address.is_loopback() => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> NETWORK << NETWORK).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: &str, forwarded: &[&str]) -> Client {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap(), "fd00::1/128".parse().unwrap()];
        Client::of(peer.parse().unwrap(), &headers, &Limits { trusted_proxies, ..Limits::default() })
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_as_far() {
        for (peer, forwarded, client) in [
            ("203.0.113.7", &[][..], "203.0.113.7"),
            ("203.0.113.7", &["198.51.100.1"], "203.0.113.7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            // What the caller wrote stands before what the proxies added.
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["127.0.0.1, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("fd00::1", &["[2001:db8:1:2:3::4]:80"], "2001:db8:1:2::"),
            ("2001:db8:1:2:3::4", &[], "2001:db8:1:2::"),
        ] {
            let told = of(peer, forwarded);
            assert_eq!(
                (told.address.to_string().as_str(), told.is_exempt),
                (client, false),
                "{peer} {forwarded:?}"
            );
        }
    }

    #[test]
    fn this_machine_is_not_counted_unless_it_passes_on() {
        for local in ["127.0.0.1", "::1", "127.8.9.1", "::ffff:127.0.0.1"] {
            assert!(of(local, &[]).is_exempt, "{local}");
            assert!(!of(local, &["198.51.100.1"]).is_exempt, "{local}");
            let limits = Limits { loopback: true, ..Limits::default() };
            assert!(!Client::of(local.parse().unwrap(), &HeaderMap::new(), &limits).is_exempt);
        }
    }
}
