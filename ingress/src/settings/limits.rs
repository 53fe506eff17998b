//! The section `limits`.

use std::{net::IpAddr, time::Duration};

use config::{Bytes, Faults, Node, Span};
use ipnet::IpNet;

use crate::{
    http::LARGEST,
    limits::{Limits, Rate},
    section::{LimitsSection, RateSection},
};

/// Largest body that a hook may have, in bytes: all bodies together take little more than twice that.
const MOST_BODY: usize = 25 * 1024 * 1024;

/// How many times more may be asked at once than in a second, unless it is said.
const BURST: u32 = 10;

/// Reads the section; none, with its faults, when something in it cannot be used.
pub(super) fn read(node: Option<&Node>, faults: &mut Faults) -> Option<Limits> {
    let Some(node) = node else { return Some(Limits::default()) };
    let (section, before): (LimitsSection, usize) = (node.read(faults)?, faults.len());
    let usual = Limits::default();
    let limits = Limits {
        clients: section.clients.map_or(usual.clients, rate),
        sources: section.sources.map_or(usual.sources, rate),
        loopback: section.loopback.unwrap_or(usual.loopback),
        trusted_proxies: proxies(node, section.trusted_proxies.unwrap_or_default(), faults),
        connections: count(node, ("connections", section.connections), usual.connections, faults),
        connections_per_client: count(
            node,
            ("connections_per_client", section.connections_per_client),
            usual.connections_per_client,
            faults,
        ),
        streams_per_client: count(
            node,
            ("streams_per_client", section.streams_per_client),
            usual.streams_per_client,
            faults,
        ),
        head_within: time(node, ("head_within", section.head_within), usual.head_within, faults),
        body_within: time(node, ("body_within", section.body_within), usual.body_within, faults),
        body: body(node, section.body, faults),
        answer_within: time(node, ("answer_within", section.answer_within), usual.answer_within, faults),
    };
    (faults.len() == before).then_some(limits)
}

/// None where nothing is limited.
fn rate(section: RateSection) -> Option<Rate> {
    let usual = section.per_second.saturating_mul(BURST);
    Rate::of(section.per_second, section.burst.unwrap_or(usual).max(1))
}

fn proxies(node: &Node, texts: Vec<String>, faults: &mut Faults) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        let address = || text.parse::<IpAddr>().ok().map(|address| address.to_canonical().into());
        match text.parse().ok().or_else(address) {
            Some(network) => networks.push(network),
            None => {
                let list = node.get("trusted_proxies").unwrap_or(node);
                let item = list.items().nth(place).unwrap_or(list);
                let fault = item.fault(format!("`{text}` is neither an address nor a network"));
                faults.push(fault.hint("write `10.0.0.7` or `10.0.0.0/8`"));
            }
        }
    }
    networks
}

fn count(node: &Node, (key, given): (&str, Option<u32>), usual: usize, faults: &mut Faults) -> usize {
    match given {
        Some(0) => {
            let fault = node.get(key).unwrap_or(node).fault("nobody could come in");
            faults.push(fault.hint(format!("give more than 0, or leave it out for {usual}")));
            usual
        }
        Some(given) => usize::try_from(given).unwrap_or(usize::MAX),
        None => usual,
    }
}

fn body(node: &Node, given: Option<Bytes>, faults: &mut Faults) -> usize {
    let Some(Bytes(given)) = given else { return LARGEST };
    match usize::try_from(given) {
        Ok(given) if (LARGEST..=MOST_BODY).contains(&given) => given,
        Ok(_) | Err(_) => {
            let fault = node.get("body").unwrap_or(node).fault("a hook cannot have a body of at most that");
            faults.push(fault.hint("give from `1MiB`, the default, to `25MiB`"));
            LARGEST
        }
    }
}

fn time(node: &Node, (key, given): (&str, Option<Span>), usual: Duration, faults: &mut Faults) -> Duration {
    match given {
        Some(Span(given)) if given.is_zero() => {
            let fault = node.get(key).unwrap_or(node).fault("nothing can be done in no time");
            faults.push(fault.hint(format!("give more, as in `{}`, the default", Span(usual))));
            usual
        }
        Some(Span(given)) => given,
        None => usual,
    }
}

#[cfg(test)]
mod tests {
    use config::Document;

    use super::*;

    fn limits(text: &str) -> Result<Limits, Vec<(String, String)>> {
        let (mut faults, document) = (Faults::new(), Document::parse("l.yaml", text).unwrap());
        let limits = read(document.root().get("limits"), &mut faults);
        limits.ok_or_else(|| faults.iter().map(|f| (f.path.clone(), f.message.clone())).collect())
    }

    #[test]
    fn what_is_said_goes_before_what_is_usual() {
        assert_eq!(limits("{}").unwrap(), Limits::default());
        let text = "limits: {clients: {per_second: 0}, sources: {per_second: 2}, loopback: true, connections: 7, \
                    trusted_proxies: [10.0.0.7, \"fd00::/8\"], head_within: 1s, body: 25MiB}";
        let given = limits(text).unwrap();
        assert_eq!((given.clients, given.sources), (None, Rate::of(2, 20)));
        assert_eq!((given.loopback, given.connections), (true, 7));
        assert_eq!((given.head_within, given.body), (Duration::from_secs(1), 25 << 20));
        assert!(given.trusts("10.0.0.7".parse().unwrap()) && given.trusts("fd12::1".parse().unwrap()));
        assert!(!given.trusts("10.0.0.8".parse().unwrap()));
    }

    #[test]
    fn every_fault_has_its_place() {
        let text = "limits: {connections: 0, body_within: 0s, body: 26MiB, trusted_proxies: [10.0.0.1, proxy.example.org]}";
        let expected = [
            ("limits.connections", "nobody could come in"),
            ("limits.body_within", "nothing can be done in no time"),
            ("limits.body", "a hook cannot have a body of at most that"),
            ("limits.trusted_proxies[1]", "`proxy.example.org` is neither an address nor a network"),
        ];
        let expected = expected.map(|(path, message)| (path.to_owned(), message.to_owned()));
        assert_eq!(limits(text).unwrap_err(), expected);
    }
}
