//! Connections: their limits and their end.

mod open_files;
mod stall;
mod work;

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::limits::{Crowd, Limits, Place, network};
pub(crate) use open_files::make_room_for;
use stall::Stalling;
use work::Work;

/// Largest head of a request, and what a connection buffers at most, in bytes.
const LARGEST_HEAD: usize = 16 * 1024;
/// How long running requests may go on after the end was asked for.
const FINISH_WITHIN: Duration = Duration::from_secs(20);
/// Pause after the system could not give a connection (too many open files).
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The address a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What the connections of one listener share.
#[derive(Clone)]
struct Front {
    router: Router,
    limits: Arc<Limits>,
    stop: CancellationToken,
}

/// Serves at most `most` connections at a time until `stop`, then waits for the requests that run.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &Limits,
    most: usize,
    stop: &CancellationToken,
) {
    let front = Front { router, limits: Arc::new(limits.clone()), stop: stop.clone() };
    let (connections, places) = (TaskTracker::new(), Arc::new(Semaphore::new(most)));
    let crowd = Arc::new(Crowd::of(limits.connections_per_client));
    while let Some((stream, peer, place)) = next(&listener, &places, stop).await {
        let client = peer.ip().to_canonical();
        let own = match limits.passes_over(client) {
            true => None,
            false => match crowd.enter(network(client)) {
                Some(own) => Some(own),
                None => {
                    tracing::debug!(%client, "closed a connection: the address has too many");
                    continue;
                }
            },
        };
        connections.spawn(connection(stream, peer, front.clone(), (place, own)));
    }
    drop(listener);
    connections.close();
    if timeout(FINISH_WITHIN, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "ended while requests were still running");
    }
}

/// The next connection; none once the end is asked for.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accept = async {
        // Never closed, so there is always a place in the end.
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return Some((stream, peer, place)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_AGAIN_AFTER).await;
                }
            }
        }
    };
    tokio::select! {
        accepted = accept => accepted,
        () = stop.cancelled() => None,
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    Front { router, limits, stop }: Front,
    _places: (OwnedSemaphorePermit, Option<Place>),
) {
    // Small answers should not wait for more.
    let _ = stream.set_nodelay(true);
    let work = Work::default();
    let stream = Stalling::new(stream, limits.answer_within, work.clone());
    let begun = work.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let (answer, begun) = (tower::ServiceExt::oneshot(router.clone(), request), begun.begin());
        async move {
            let answer = answer.await;
            drop(begun);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_within)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = connection => served,
                // Whoever has not even asked need not be waited for.
                () = work.is_done() => return,
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a connection broke");
    }
}
