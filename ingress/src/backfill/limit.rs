//! When GitHub may be asked again that was asked too much.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{StatusCode, header::HeaderMap};

/// Pause after a refusal that does not say how long.
const UNSAID: Duration = Duration::from_secs(60);
/// Its windows are of an hour: it is left alone no longer, whatever it says.
const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);

/// How long the API is to be left alone after this answer; none where it may be asked on.
///
/// A refusal for the number of questions is a 403 or a 429: with `Retry-After`, or with nothing left until
/// `x-ratelimit-reset`. A 403 without either is for something else.
pub(super) fn pause(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    if ![StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS].contains(&status) {
        return None;
    }
    let said = retry_after(headers, now).or_else(|| until_reset(headers, now));
    let unsaid = (status == StatusCode::TOO_MANY_REQUESTS).then_some(UNSAID);
    said.or(unsaid).map(|pause| pause.clamp(Duration::from_secs(1), LONGEST))
}

fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Duration::try_from(date.timestamp().duration_since(now)).unwrap_or_default())
}

fn until_reset(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let reset = Timestamp::from_second(number("x-ratelimit-reset")?).ok()?;
    (number("x-ratelimit-remaining")? == 0)
        .then(|| Duration::try_from(reset.duration_since(now)).unwrap_or_default())
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
        let now = Timestamp::from_second(1_000_000).unwrap();
        pause(StatusCode::from_u16(status).unwrap(), &headers, now).map(|pause| pause.as_secs())
    }

    #[test]
    fn github_is_left_alone_for_as_long_as_it_says() {
        let reset = |left, at| [("x-ratelimit-remaining", left), ("x-ratelimit-reset", at)];
        for (status, headers, expected) in [
            (200, &reset("0", "1000090")[..], None),
            (403, &[], None),
            (403, &[("retry-after", "7")], Some(7)),
            (403, &reset("0", "1000090"), Some(90)),
            (403, &reset("12", "1000090"), None),
            (403, &reset("0", "999000"), Some(1)),
            (429, &[], Some(60)),
            (429, &reset("0", "1000090"), Some(90)),
            (429, &[("retry-after", "0")], Some(1)),
            (429, &[("retry-after", "99999999999999999999999")], Some(7200)),
            (429, &[("retry-after", "soon")], Some(60)),
            (500, &[("retry-after", "7")], None),
        ] {
            assert_eq!(after(status, headers), expected, "{status} {headers:?}");
        }
    }
}
