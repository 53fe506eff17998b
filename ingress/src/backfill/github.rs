//! GitHub's API for the deliveries of a hook.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Client, Response, StatusCode, header::HeaderMap};
use serde::de::DeserializeOwned;

use super::{
    BackfillSettings,
    delivery::{Attempt, Detail},
    limit,
};
use crate::access::oidc::keys::is_in_the_clear;

/// How long one call may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Largest answer, in bytes: a hook takes less than a delivery with this.
const LARGEST: usize = 4 << 20;
/// Attempts on one page.
const PAGE: &str = "100";
/// The same where it is only seen whether they are to be had.
const GLANCE: &str = "1";

/// Why GitHub did not say what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// No answer came.
    #[error("cannot reach GitHub's API")]
    Unreachable(#[source] reqwest::Error),
    /// It answers, and not now.
    #[error("GitHub's API answered with {0}")]
    Failing(u16),
    /// The token is not one, or no longer.
    #[error("GitHub does not take the token of `backfill`: give it another that may read webhooks")]
    BadToken,
    /// The token is for other things.
    #[error("the token of `backfill` may not read the hook's deliveries: it needs to read webhooks")]
    NotAllowed,
    /// There is no such thing, or the token does not show it.
    #[error("GitHub knows no such hook or delivery, or does not show it to the token of `backfill`")]
    Unknown,
    /// The repository or organization has another name.
    #[error("the repository or organization of `backfill` has moved: write its name of today")]
    Moved,
    /// It was asked too much.
    #[error("GitHub's API wants to be asked no sooner than in {} s", .0.as_secs())]
    Limited(Duration),
    /// More than anybody needs.
    #[error("what GitHub's API says is larger than {LARGEST} bytes")]
    TooLarge,
    /// Another server answers in its place, or another version.
    #[error("what GitHub's API says makes no sense")]
    NoSense(#[source] serde_json::Error),
}

/// A page of attempts, newest first.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) attempts: Vec<Attempt>,
    /// Where the next page begins.
    pub(super) next: Option<String>,
    /// GitHub's clock, when it answered.
    pub(super) now: Option<Timestamp>,
}

/// Asks about one hook.
pub(super) struct GithubClient<'a> {
    settings: &'a BackfillSettings,
    http: Client,
}

impl GithubClient<'_> {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub(super) fn new(settings: &BackfillSettings) -> Result<GithubClient<'_>, FetchError> {
        let http = client(&settings.api, settings.ca.as_deref()).map_err(FetchError::Unreachable)?;
        Ok(GithubClient { settings, http })
    }

    /// Whether the token shows the hook's deliveries: one call, and the newest delivery at most.
    ///
    /// # Errors
    /// When GitHub does not show them.
    pub(super) async fn glance(&self) -> Result<(), FetchError> {
        let response = self.ask("", &[("per_page", GLANCE)]).await?;
        read::<Vec<Attempt>>(response).await.map(drop)
    }

    /// The newest attempts, or those from a `cursor` on.
    ///
    /// # Errors
    /// When GitHub does not say.
    pub(super) async fn page(&self, cursor: Option<&str>) -> Result<Page, FetchError> {
        let mut query = vec![("per_page", PAGE)];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let response = self.ask("", &query).await?;
        let (next, now) = (next_cursor(response.headers()), date(response.headers()));
        Ok(Page { attempts: read(response).await?, next, now })
    }

    /// One attempt with what was sent.
    ///
    /// # Errors
    /// When GitHub does not say.
    pub(super) async fn attempt(&self, id: u64) -> Result<Detail, FetchError> {
        read(self.ask(&format!("/{id}"), &[]).await?).await
    }

    async fn ask(&self, rest: &str, query: &[(&str, &str)]) -> Result<Response, FetchError> {
        let BackfillSettings { api, place, hook, token, .. } = self.settings;
        let url = format!("{api}/{place}/hooks/{hook}/deliveries{rest}");
        let request = self
            .http
            .get(url)
            .query(query)
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28")
            .bearer_auth(token.expose().trim());
        let response = request.send().await.map_err(|error| FetchError::Unreachable(error.without_url()))?;
        check(response)
    }
}

/// Passes on what was answered well.
fn check(response: Response) -> Result<Response, FetchError> {
    let (status, headers) = (response.status(), response.headers());
    if let Some(pause) = limit::pause(status, headers, Timestamp::now()) {
        return Err(FetchError::Limited(pause));
    }
    match status {
        StatusCode::UNAUTHORIZED => Err(FetchError::BadToken),
        StatusCode::FORBIDDEN => Err(FetchError::NotAllowed),
        StatusCode::NOT_FOUND => Err(FetchError::Unknown),
        status if status.is_redirection() => Err(FetchError::Moved),
        status if status.is_success() => Ok(response),
        status => Err(FetchError::Failing(status.as_u16())),
    }
}

async fn read<T: DeserializeOwned>(mut response: Response) -> Result<T, FetchError> {
    let mut body = Vec::new();
    let broken = |error: reqwest::Error| FetchError::Unreachable(error.without_url());
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > LARGEST {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(FetchError::NoSense)
}

/// The cursor in the link to the next page. The link itself is not followed: the token goes to the configured address
/// alone.
fn next_cursor(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("link")?.to_str().ok()?;
    let next = text.split(',').find(|link| link.contains("rel=\"next\""))?;
    let url = next.split_once('<')?.1.split_once('>')?.0;
    let (_, query) = url.split_once('?')?;
    let found = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "cursor");
    found.map(|(_, cursor)| cursor.into_owned()).filter(|cursor| !cursor.is_empty())
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get("date")?.to_str().ok()?;
    jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp())
}

/// A client for an API at this address, `ca` being PEM certificates.
pub(crate) fn client(api: &str, ca: Option<&str>) -> Result<Client, reqwest::Error> {
    // Fails where another part of the process was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .user_agent(concat!("longshore/", env!("CARGO_PKG_VERSION")))
        .timeout(ANSWER_WITHIN)
        .redirect(reqwest::redirect::Policy::none());
    match ca {
        Some(pem) => builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.as_bytes())?),
        None if is_in_the_clear(api) => builder.tls_certs_only([]).no_proxy(),
        None => builder,
    }
    .build()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn the_next_page_is_found_in_the_link() {
        let next = |text: &str| {
            let headers =
                HeaderMap::from_iter([(reqwest::header::LINK, HeaderValue::from_str(text).unwrap())]);
            next_cursor(&headers)
        };
        let link = "<https://api.github.com/repositories/1/hooks/7/deliveries?per_page=100&cursor=v1_12%3D>; rel=\"next\"";
        assert_eq!(next(link).as_deref(), Some("v1_12="));
        assert_eq!(next(&format!("<https://x/?cursor=a>; rel=\"prev\", {link}")).as_deref(), Some("v1_12="));
        for none in
            ["", "<https://x/?cursor=a>; rel=\"prev\"", "<https://x/>; rel=\"next\"", "; rel=\"next\""]
        {
            assert_eq!(next(none), None, "{none}");
        }
    }
}
