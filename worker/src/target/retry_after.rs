//! When a system that cannot serve now says it may be asked again.

use std::time::Duration;

use proto::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// The pause that an answer asks for, as a number of seconds or as a date (RFC 9110, 10.2.3). None where it asks for
/// none, or in words that make no sense: then our own schedule holds.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // More digits than a number holds are as good as for ever.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Duration::try_from(date.timestamp().duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    fn read(text: &str) -> Option<Duration> {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]);
        retry_after(&headers, "2026-11-21T10:00:00Z".parse().unwrap())
    }

    #[test]
    fn seconds_and_dates_are_read_and_nothing_else() {
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("0"), Some(Duration::ZERO));
        assert_eq!(read("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(read("Sat, 21 Nov 2026 10:02:00 GMT"), Some(Duration::from_secs(120)));
        // In the past: at once, as far as the system is concerned.
        assert_eq!(read("Sat, 21 Nov 2026 09:58:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["", "soon", "-5", "1.5", "12 s"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), Timestamp::now()), None);
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_reader(text in "[ -~]{0,60}") {
            read(&text);
        }
    }
}
