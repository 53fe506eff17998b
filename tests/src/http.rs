//! The HTTP client of the tests.

use std::sync::Once;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;

/// A client that gives up on a connection after ten seconds. Whole answers have no deadline here, since an
/// event stream has no end: see [`answer`].
pub fn client() -> Result<Client> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Refused only when one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder().connect_timeout(Duration::from_secs(10)).build().context("build the http client")
}

/// Sends `request` and gives the status with the body as JSON; a body that is not JSON comes as a string.
pub async fn answer(request: RequestBuilder) -> Result<(StatusCode, Value)> {
    let response = request.timeout(Duration::from_secs(60)).send().await.context("send a request")?;
    let status = response.status();
    let text = response.text().await.context("read the body of an answer")?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}
