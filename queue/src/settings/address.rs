//! A broker's address, and how people type it.

use std::{borrow::Cow, fmt, str::FromStr};

/// A broker's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
}

impl FromStr for Host {
    type Err = ();

    /// `host`, `host:port`, `[v6]` or `[v6]:port`.
    fn from_str(text: &str) -> Result<Host, ()> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, rest) = rest.split_once(']').ok_or(())?;
                name.parse::<std::net::Ipv6Addr>().map_err(drop)?;
                (name, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(())?) })
            }
            None => match text.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            },
        };
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || ".-_:".contains(letter);
        let port = port.map(|port| port.parse::<u16>().map_err(drop)).transpose()?;
        if name.is_empty() || !name.chars().all(allowed) || port == Some(0) {
            return Err(());
        }
        Ok(Host { name: name.to_owned(), port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name: Cow<'_, str> =
            if self.name.contains(':') { format!("[{}]", self.name).into() } else { (&self.name).into() };
        match self.port {
            Some(port) => write!(f, "{name}:{port}"),
            None => f.write_str(&name),
        }
    }
}

/// A broker as it is typed.
pub(super) struct Address {
    pub(super) scheme: Option<Scheme>,
    pub(super) host: Host,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Amqp,
    Amqps,
}

/// Why a text is no broker's address. Never shows it: there may be a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadAddress {
    Credentials,
    Path,
    Other,
}

impl BadAddress {
    pub(super) fn message(self) -> &'static str {
        match self {
            BadAddress::Credentials => "a broker's address with a user or password in it",
            BadAddress::Path => "a broker's address with more than host and port",
            BadAddress::Other => "this is no broker's address",
        }
    }

    pub(super) fn hint(self) -> &'static str {
        match self {
            BadAddress::Credentials => "leave them out here; give `user` and `password_file` beside it",
            BadAddress::Path => "give the virtual host as `vhost`, and leave options out",
            BadAddress::Other => "write `host`, `host:port`, `amqp://host:port` or `amqps://host:port`",
        }
    }
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Address, BadAddress> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("amqp", rest)) => (Some(Scheme::Amqp), rest),
            Some(("amqps", rest)) => (Some(Scheme::Amqps), rest),
            Some(_) => return Err(BadAddress::Other),
            None => (None, text),
        };
        if rest.contains('@') {
            return Err(BadAddress::Credentials);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?']) {
            return Err(BadAddress::Path);
        }
        let host = rest.parse().map_err(|()| BadAddress::Other)?;
        Ok(Address { scheme, host })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_read_back_as_they_are_written() {
        for text in ["rabbit", "rabbit-1.acme.lan:5671", "10.0.0.1:1", "[::1]", "[fe80::1]:5672"] {
            assert_eq!(text.parse::<Host>().map(|host| host.to_string()), Ok(text.to_owned()));
        }
        for text in ["", ":5672", "a:", "a:0", "a:65536", "a:b", "::1", "[::1", "[x]", "[::1]5", "a b", "ä"]
        {
            assert_eq!(text.parse::<Host>(), Err(()), "{text}");
        }
    }
}
