#![doc = include_str!("../README.md")]

mod accept;
mod access;
mod approve;
mod authenticate;
mod counters;
mod decide;
mod explain;
mod gates;
mod http;
mod ingress;
mod known;
mod letters;
mod mint;
mod overdue;
mod problem;
mod publishers;
mod release;
mod route;
pub mod section;
mod serve;
mod settings;
mod source;
mod submission;
mod timeline;
mod view;
mod windows;

use std::sync::Arc;

use queue::{Queue, Spooling};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use access::{ADMIN_TOKEN_FILE, TokenHash};
pub use explain::{Decision, Explanation, Letter, Nearly, UnknownSource};
pub use settings::Settings;
pub use source::Kind;

use ingress::Ingress;

/// Why an ingress ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    /// The listener is not one that can be served.
    #[error("cannot serve on the listener")]
    Listener(#[source] std::io::Error),
}

/// Takes hooks and calls on `listener` until `stop`, then finishes what was begun.
///
/// A queue that is away is no error: hooks are answered with 503 until it is there, or, where `queue` keeps a
/// `spool` (the same one, then), taken into that.
///
/// # Errors
/// When the listener cannot be used.
pub async fn run(
    settings: Settings,
    queue: Arc<dyn Queue>,
    spool: Option<Arc<Spooling>>,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), IngressError> {
    let address = listener.local_addr().map_err(IngressError::Listener)?;
    say_what_is_open(&settings);
    let ingress = Ingress::start(settings, queue, spool, address, stop.clone());
    tracing::info!(%address, "listening");
    serve::serve(listener, http::router(Arc::clone(&ingress)), &stop).await;
    ingress.finish().await;
    Ok(())
}

fn say_what_is_open(settings: &Settings) {
    for source in settings.sources.values().filter(|source| source.door.open) {
        let reach = if source.door.loopback_only { "anyone on this machine" } else { "anyone" };
        tracing::warn!(source = source.name, "the source is open: {reach} may deploy through it");
    }
    if settings.access.is_closed() {
        tracing::warn!("no token is configured: nobody may call the API (`access.admin_token_file`)");
    }
}
