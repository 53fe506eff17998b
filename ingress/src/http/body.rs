//! A request's body: whole, of bounded size, in bounded time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::problem::{Kind, Problem};

/// Largest body, in bytes.
const LARGEST: usize = 1024 * 1024;
/// How long a body may take to arrive.
const WITHIN: Duration = Duration::from_secs(10);

/// Reads a body to its end.
pub(super) async fn read(body: Body) -> Result<Bytes, Problem> {
    let collected = tokio::time::timeout(WITHIN, Limited::new(body, LARGEST).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(Kind::TooLarge.with(format!("the body is larger than {LARGEST} bytes")))
        }
        Ok(Err(_)) => Err(Kind::TooSlow.with("the connection broke before the body had arrived")),
        Err(_) => Err(Kind::TooSlow.with(format!("the body did not arrive within {} s", WITHIN.as_secs()))),
    }
}
