//! When a registry may be asked again that was asked too much.

use std::time::Duration;

use proto::Timestamp;
use reqwest::{StatusCode, header::HeaderMap};

use crate::target::retry_after::retry_after;

/// Pause after a refusal that does not say how long.
const UNSAID: Duration = Duration::from_secs(60);

/// No registry is left alone for longer, whatever it says.
const LONGEST: Duration = Duration::from_secs(6 * 60 * 60);

/// How long a registry is to be left alone after this answer; none where it may be asked on.
///
/// Docker Hub counts the pulls of an address and says how many are left (`ratelimit-remaining: 76;w=21600`): the
/// last tenth is left to those who pull.
pub(super) fn pause(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Some(retry_after(headers, now).unwrap_or(UNSAID).min(LONGEST));
    }
    let (limit, _) = quota(headers, "ratelimit-limit")?;
    let (left, window) = quota(headers, "ratelimit-remaining")?;
    (left.saturating_mul(10) <= limit).then(|| (window / 10).min(LONGEST))
}

/// `100;w=21600`: a number, and the seconds of its window.
fn quota(headers: &HeaderMap, name: &str) -> Option<(u64, Duration)> {
    let text = headers.get(name)?.to_str().ok()?;
    let (number, rest) = text.split_once(';').unwrap_or((text, ""));
    let window = rest.split(';').find_map(|part| part.trim().strip_prefix("w=")?.parse().ok());
    Some((number.trim().parse().ok()?, Duration::from_secs(window.unwrap_or(6 * 60 * 60))))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn after(status: u16, headers: &[(&str, &str)]) -> Option<u64> {
        let header = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        let headers = HeaderMap::from_iter(headers.iter().map(header));
        let status = StatusCode::from_u16(status).unwrap();
        pause(status, &headers, Timestamp::now()).map(|pause| pause.as_secs())
    }

    #[test]
    fn registries_are_left_alone_for_as_long_as_they_say() {
        let left = |left| [("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", left)];
        for (status, headers, expected) in [
            (200, &[][..], None),
            (429, &[], Some(60)),
            (429, &[("retry-after", "7")], Some(7)),
            (429, &[("retry-after", "99999999")], Some(21600)),
            (200, &left("76;w=21600"), None),
            (200, &left("10;w=21600"), Some(2160)),
            (200, &left("0;w=21600"), Some(2160)),
            (200, &left("many"), None),
            (200, &[("ratelimit-remaining", "0;w=60")], None),
        ] {
            assert_eq!(after(status, headers), expected, "{status} {headers:?}");
        }
    }
}
