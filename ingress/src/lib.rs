#![doc = include_str!("../README.md")]

mod accept;
mod access;
mod approve;
mod audit;
mod authenticate;
mod backfill;
mod counters;
mod decide;
mod explain;
#[cfg(test)]
mod fuzzing;
mod gates;
mod http;
mod ingress;
mod kept;
mod known;
mod letters;
mod limits;
mod mint;
pub mod openapi;
mod outlook;
mod overdue;
mod pools;
mod problem;
mod producer;
mod publishers;
mod readings;
mod refusal;
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
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use access::{
    ADMIN_TOKEN_FILE, TokenHash,
    doors::{TOKENS_FILE, USERS_FILE},
    file::FileError,
    passwords::PasswordError,
    role::Role,
    scope::{Scope, ScopeError},
    tokens, users,
};
pub use backfill::connect::{Connected, connect};
pub use explain::{Decision, Explanation, Letter, Nearly, POLL, UnknownSource};
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

/// Where an ingress is reached.
#[derive(Debug)]
pub struct Listeners {
    /// For everything: hooks, the API, the page.
    pub all: TcpListener,
    /// For hooks alone, as from the internet. What is open or full there does not keep anybody from `all`.
    pub hooks: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(all: TcpListener) -> Listeners {
        Listeners { all, hooks: None }
    }
}

/// Takes hooks and calls on `listeners` until `stop`, then finishes what was begun.
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
    listeners: impl Into<Listeners>,
    stop: CancellationToken,
) -> Result<(), IngressError> {
    run_following(watch::Sender::new(settings).subscribe(), queue, spool, listeners, stop).await
}

/// As [`run`], going on with each new value of `settings`: what comes in from then on is decided by it, what came in
/// before ends under the one it came in under. Where to listen, how much callers may ask for and where files are kept
/// stay those of the start.
///
/// # Errors
/// When a listener cannot be used.
pub async fn run_following(
    mut settings: watch::Receiver<Settings>,
    queue: Arc<dyn Queue>,
    spool: Option<Arc<Spooling>>,
    listeners: impl Into<Listeners>,
    stop: CancellationToken,
) -> Result<(), IngressError> {
    let Listeners { all, hooks } = listeners.into();
    let address = all.local_addr().map_err(IngressError::Listener)?;
    let first = settings.borrow_and_update().clone();
    ingress::say_what_is_open(&first);
    let ingress = Ingress::start(first, queue, spool, address, stop.clone());
    if ingress.doors().are_closed() {
        tracing::warn!(
            "there is no token: nobody may call the API (`access.admin_token_file`, `longshore token create`)"
        );
    }
    let following = Arc::clone(&ingress);
    // Ends with this function.
    let mut changes = JoinSet::new();
    changes.spawn(async move { following.follow(settings).await });
    tracing::info!(%address, "listening");
    serve(&ingress, all, hooks, &stop).await;
    ingress.finish().await;
    Ok(())
}

async fn serve(
    ingress: &Arc<Ingress>,
    all: TcpListener,
    hooks: Option<TcpListener>,
    stop: &CancellationToken,
) {
    let settings = ingress.settings();
    let limits = &settings.limits;
    let listeners = 1 + usize::from(hooks.is_some());
    let most = serve::make_room_for(limits.connections.saturating_mul(listeners)).div_ceil(listeners);
    let serve_hooks = async {
        let Some(listener) = hooks else { return };
        let address = listener.local_addr().ok();
        tracing::info!(address = address.map(tracing::field::display), "listening for hooks alone");
        serve::serve(listener, http::hooks_router(Arc::clone(ingress)), limits, most, stop).await;
    };
    tokio::join!(serve::serve(all, http::router(Arc::clone(ingress)), limits, most, stop), serve_hooks);
}
