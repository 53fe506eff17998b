//! How a registry asks who is there: the `WWW-Authenticate` header (RFC 9110, 11.6.1).

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// What a registry wants to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password.
    Basic,
    /// A token of the service at `realm`.
    Bearer {
        /// Where tokens are given.
        realm: String,
        /// For which service.
        service: Option<String>,
        /// For what; what the registry does not say is asked for as a reader.
        scope: Option<String>,
    },
}

/// The challenge to answer: a token goes before a password. None where there is none that makes sense.
pub(super) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let challenges: Vec<Challenge> = texts.filter_map(read).collect();
    let bearer = challenges.iter().find(|challenge| **challenge != Challenge::Basic);
    bearer.or(challenges.first()).cloned()
}

fn read(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameters = parameters(rest);
    let find = |name: &str| {
        let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    Some(Challenge::Bearer { realm: find("realm")?, service: find("service"), scope: find("scope") })
}

/// `name="value", name=value, …`; in quotes a backslash takes the next character as it is.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([',', ' ', '\t']).to_owned();
        let mut value = String::new();
        let after = after.trim_start();
        let mut letters = after.char_indices();
        let quoted = after.starts_with('"');
        if quoted {
            letters.next();
        }
        let mut end = after.len();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' if quoted => {
                    end = at + 1;
                    break;
                }
                '\\' if quoted => value.extend(letters.next().map(|(_, letter)| letter)),
                ',' if !quoted => {
                    end = at;
                    break;
                }
                letter => value.push(letter),
            }
        }
        found.push((name, value));
        rest = after.get(end..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    fn of(texts: &[&str]) -> Option<Challenge> {
        let values = texts.iter().map(|text| (WWW_AUTHENTICATE, HeaderValue::from_str(text).unwrap()));
        let mut headers = HeaderMap::new();
        values.for_each(|(name, value)| {
            headers.append(name, value);
        });
        challenge(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer { realm: realm.to_owned(), service: text(service), scope: text(scope) })
    }

    #[test]
    fn challenges_of_real_registries_are_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull,push""#;
        assert_eq!(
            of(&[hub]),
            bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:library/nginx:pull,push")
            )
        );
        assert_eq!(of(&[r#"Basic realm="Registry Realm""#]), Some(Challenge::Basic));
        assert_eq!(of(&["basic"]), Some(Challenge::Basic));
        assert_eq!(
            of(&["Basic realm=x", "Bearer realm=https://t/a, service=s"]),
            bearer("https://t/a", Some("s"), None)
        );
        assert_eq!(
            of(&[r#"Bearer realm="https://t/\"a\"", error="invalid_token""#]),
            bearer("https://t/\"a\"", None, None)
        );
        for odd in ["Bearer", "Bearer service=x", "Negotiate abc", "", "Bearer realm=\""] {
            assert_eq!(of(&[odd]), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_reader(text in "(Bearer )?[ -~]{0,80}") {
            of(&[&text]);
        }
    }
}
