//! A request's body: whole, of bounded size, in bounded time; and all bodies together in bounded memory.

use std::{
    error::Error,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::problem::{Kind, Problem};

/// Largest body, in bytes.
const LARGEST: usize = 1024 * 1024;
/// What the bodies of all requests that run may take together, in bytes.
const MOST: usize = 64 * 1024 * 1024;

/// Reads a body to its end.
pub(super) async fn read(body: Body) -> Result<Bytes, Problem> {
    let too_large = || Kind::TooLarge.with(format!("the body is larger than {LARGEST} bytes"));
    if body.size_hint().lower() > LARGEST as u64 {
        return Err(too_large());
    }
    match Limited::new(body, LARGEST).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if cause::<LengthLimitError>(&*error).is_some() => Err(too_large()),
        Err(error) => Err(match cause::<Broken>(&*error) {
            Some(Broken::Slow(within)) => {
                let within = config::Span(*within);
                Kind::TooSlow.with(format!("the body did not arrive within {within}"))
            }
            Some(Broken::Full) => Kind::Busy.with("too many requests with large bodies are under way"),
            None => Kind::TooSlow.with("the connection broke before the body had arrived"),
        }),
    }
}

fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    error.downcast_ref().or_else(|| cause(error.source()?))
}

/// The bodies of the requests that run on one listener.
#[derive(Debug)]
pub(super) struct Bodies {
    within: Duration,
    /// Bytes in memory.
    taken: AtomicUsize,
}

/// What the body of one request takes, until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    bodies: Arc<Bodies>,
    taken: AtomicUsize,
}

impl Bodies {
    /// Of which each has to arrive in this time.
    pub(super) fn new(within: Duration) -> Bodies {
        Bodies { within, taken: AtomicUsize::new(0) }
    }

    /// Counts the body of a request while it is read, and as long as what is given is held.
    pub(super) fn count(self: &Arc<Bodies>, request: Request) -> (Request, Option<Arc<Held>>) {
        if request.body().is_end_stream() {
            return (request, None);
        }
        let held = Arc::new(Held { bodies: Arc::clone(self), taken: AtomicUsize::new(0) });
        let until = Instant::now() + self.within;
        let counted = |body| Body::new(Counted { body, held: Arc::clone(&held), until, waiting: None });
        (request.map(counted), Some(held))
    }
}

impl Held {
    fn take(&self, bytes: usize) -> Result<(), Broken> {
        let fits = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= MOST);
        let counted = self.bodies.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        counted.map_err(|_| Broken::Full)?;
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bodies.taken.fetch_sub(*self.taken.get_mut(), Ordering::Relaxed);
    }
}

/// Why a body is not read on.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the body did not arrive in time")]
    Slow(Duration),
    #[error("the bodies of other requests fill the memory")]
    Full,
}

/// A body that is counted as it arrives.
struct Counted {
    body: Body,
    held: Arc<Held>,
    until: Instant,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            let until = self.until;
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep_until(until)));
            ready!(waiting.as_mut().poll(context));
            return Poll::Ready(Some(Err(Broken::Slow(self.held.bodies.within).into())));
        };
        Poll::Ready(frame.map(|frame| {
            let frame = frame?;
            self.held.take(frame.data_ref().map_or(0, Bytes::len))?;
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(bodies: &Arc<Bodies>, bytes: usize) -> (Request, Option<Arc<Held>>) {
        bodies.count(Request::new(Body::from(vec![b'x'; bytes])))
    }

    #[tokio::test]
    async fn bodies_share_a_bounded_memory_and_give_it_back() {
        let bodies = Arc::new(Bodies::new(Duration::from_secs(10)));
        let mut held = Vec::new();
        for _ in 0..MOST / LARGEST {
            let (request, kept) = body_of(&bodies, LARGEST);
            assert_eq!(read(request.into_body()).await.unwrap().len(), LARGEST);
            held.push(kept);
        }
        let one_more = || async { read(body_of(&bodies, 10).0.into_body()).await };
        assert_eq!(one_more().await.unwrap_err().kind(), Kind::Busy);
        held.pop();
        assert_eq!(one_more().await.unwrap().len(), 10);
        held.clear();
        assert_eq!(bodies.taken.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_body_has_its_time_and_its_size() {
        let bodies = Arc::new(Bodies::new(Duration::from_millis(20)));
        let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let (request, _held) = bodies.count(Request::new(never));
        assert_eq!(read(request.into_body()).await.unwrap_err().kind(), Kind::TooSlow);
        let (request, _held) = body_of(&bodies, LARGEST + 1);
        assert_eq!(read(request.into_body()).await.unwrap_err().kind(), Kind::TooLarge);
    }
}
