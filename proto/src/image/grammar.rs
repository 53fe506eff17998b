//! Which characters may stand where in an image's name: the distribution project's `reference.go`.

use super::{DOCKER_HUB, DOCKER_HUB_LEGACY, ImageError, LONGEST_TAG};

/// The first component is a registry if it could not be anything else: a dot, a port, `localhost`, capitals.
pub(super) fn split_host(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest)) if looks_like_host(first) => {
            (if first == DOCKER_HUB_LEGACY { DOCKER_HUB } else { first }, rest)
        }
        _ => (DOCKER_HUB, text),
    }
}

fn looks_like_host(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.chars().any(|c| c.is_ascii_uppercase())
}

pub(super) fn check_host(host: &str) -> Result<(), ImageError> {
    let bad = || ImageError::Host(host.to_owned());
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let label = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let ipv6 = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let name_good = match ipv6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(label),
    };
    let port_good = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if name_good && port_good { Ok(()) } else { Err(bad()) }
}

pub(super) fn check_path(path: &str) -> Result<(), ImageError> {
    if path.split('/').all(is_path_component) { Ok(()) } else { Err(ImageError::Path(path.to_owned())) }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(part: &str) -> bool {
    let mut separator = String::new();
    let mut last_was_word = false;
    for c in part.chars() {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            let joined = separator.is_empty()
                || matches!(separator.as_str(), "." | "_" | "__")
                || separator.chars().all(|c| c == '-');
            if !joined || (!separator.is_empty() && !last_was_word) {
                return false;
            }
            separator.clear();
            last_was_word = true;
        } else if matches!(c, '.' | '_' | '-') && last_was_word {
            separator.push(c);
        } else {
            return false;
        }
    }
    last_was_word && separator.is_empty()
}

pub(crate) fn check_tag(tag: &str) -> Result<&str, ImageError> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let good = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.len() <= LONGEST_TAG
        && tag.chars().all(inner);
    if good { Ok(tag) } else { Err(ImageError::Tag(tag.to_owned())) }
}
