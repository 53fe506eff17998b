#![doc = include_str!("../README.md")]

mod accept;
mod access;
mod approve;
mod authenticate;
mod counters;
mod decide;
mod explain;
#[cfg(test)]
mod fuzzing;
mod gates;
mod http;
mod ingress;
mod known;
mod letters;
mod mint;
mod overdue;
mod problem;
mod producer;
mod release;
mod route;
pub mod section;
mod serve;
mod settings;
mod sightings;
mod source;
mod timeline;
mod view;
mod windows;

use std::sync::Arc;

use queue::{Queue, Spooling};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use access::{ADMIN_TOKEN_FILE, TokenHash};
pub use explain::{Decision, Explanation, Letter, Nearly, UnknownSource};
pub use producer::{Outgoing, Paste, Producer, Sample};
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
    run_following(watch::Sender::new(settings).subscribe(), queue, spool, listener, stop).await
}

/// As [`run`], going on with each new value of `settings`: what comes in from then on is decided by it, what came in
/// before ends under the one it came in under. Where to listen and where files are kept stay those of the start.
///
/// # Errors
/// When the listener cannot be used.
pub async fn run_following(
    mut settings: watch::Receiver<Settings>,
    queue: Arc<dyn Queue>,
    spool: Option<Arc<Spooling>>,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), IngressError> {
    let address = listener.local_addr().map_err(IngressError::Listener)?;
    let first = settings.borrow_and_update().clone();
    ingress::say_what_is_open(&first);
    let ingress = Ingress::start(first, queue, spool, address, stop.clone());
    let following = Arc::clone(&ingress);
    // Ends with this function.
    let mut changes = JoinSet::new();
    changes.spawn(async move { following.follow(settings).await });
    tracing::info!(%address, "listening");
    serve::serve(listener, http::router(Arc::clone(&ingress)), &stop).await;
    ingress.finish().await;
    Ok(())
}
