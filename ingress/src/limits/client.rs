//! Who asks: the address behind the proxies that are trusted.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderValue};

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
        let address = if limits.trusts(peer) { behind(peer, headers, limits) } else { peer };
        // What was passed on comes from elsewhere, whatever it says: where something on this machine passes requests on
        // and is not told of, all of it is one client.
        let is_exempt = !limits.loopback && address.is_loopback() && !is_forwarded(headers);
        Client { address: network(address), is_exempt }
    }
}

/// The last address that no trusted proxy has: what stands before it, anybody may have written.
fn behind(peer: IpAddr, headers: &HeaderMap, limits: &Limits) -> IpAddr {
    let lines: Vec<&[u8]> = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    let mut nearest = peer;
    // By bytes: a proxy puts the address it knows into one line with whatever the caller wrote.
    for part in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        let text = std::str::from_utf8(part).ok();
        let Some(address) = text.and_then(|text| address(text.trim())) else { return nearest };
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

/// What counts as one caller: an address, or of IPv6 its network.
pub(crate) fn network(address: IpAddr) -> IpAddr {
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
    fn what_a_caller_wrote_before_a_proxys_word_hides_nobody() {
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED_FOR, HeaderValue::from_bytes(b"\xff, 198.51.100.1").unwrap());
        let trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        let limits = Limits { trusted_proxies, ..Limits::default() };
        let of = |headers: &HeaderMap| Client::of("127.0.0.1".parse().unwrap(), headers, &limits);
        let seen = of(&headers);
        assert_eq!((seen.address.to_string().as_str(), seen.is_exempt), ("198.51.100.1", false));
        headers.append(FORWARDED_FOR, HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(!of(&headers).is_exempt, "whose address cannot be read is not this machine");
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
