//! A request's body: whole, of bounded size, in bounded time; and all bodies together in bounded memory.

use std::{
    collections::HashMap,
    error::Error,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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

use crate::{
    limits::Client,
    problem::{Kind, Problem},
};

/// Largest body where nothing else is said, in bytes.
pub(crate) const LARGEST: usize = 1024 * 1024;
/// What the bodies of all requests that run may take together, in bytes.
const MOST: usize = 64 * 1024 * 1024;
/// What those of one caller may take of that, or one that is as large as may be: nobody alone keeps the others out.
const MOST_OF_ONE: usize = MOST / 8;

/// Reads a body to its end.
pub(super) async fn read(body: Body) -> Result<Bytes, Problem> {
    read_up_to(body, LARGEST).await
}

/// Reads a body of so many bytes at most.
pub(super) async fn read_up_to(body: Body, largest: usize) -> Result<Bytes, Problem> {
    let too_large = || Kind::TooLarge.with(format!("the body is larger than {largest} bytes"));
    if body.size_hint().lower() > largest as u64 {
        return Err(too_large());
    }
    match Limited::new(body, largest).collect().await {
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
    /// What those of one caller may take together, in bytes.
    of_one: usize,
    taken: Mutex<Taken>,
}

/// Bytes in memory.
#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Of each caller who has any.
    by: HashMap<IpAddr, usize>,
}

/// What the body of one request takes, until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    bodies: Arc<Bodies>,
    client: Client,
    taken: AtomicUsize,
}

impl Bodies {
    /// Of which each has to arrive in this time, and may have so many bytes.
    pub(super) fn new(within: Duration, largest: usize) -> Bodies {
        Bodies { within, of_one: MOST_OF_ONE.max(largest), taken: Mutex::default() }
    }

    /// Counts the body of a request while it is read, and as long as what is given is held.
    pub(super) fn count(
        self: &Arc<Bodies>,
        client: Client,
        request: Request,
    ) -> (Request, Option<Arc<Held>>) {
        if request.body().is_end_stream() {
            return (request, None);
        }
        let held = Arc::new(Held { bodies: Arc::clone(self), client, taken: AtomicUsize::new(0) });
        let until = Instant::now() + self.within;
        let counted = |body| Body::new(Counted { body, held: Arc::clone(&held), until, waiting: None });
        let mut request = request.map(counted);
        request.extensions_mut().insert(OfRequest(Arc::clone(&held)));
        (request, Some(held))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn add(&mut self, client: &Client, bytes: usize, of_one: usize) -> Result<(), Broken> {
        let own = self.by.get(&client.address).copied().unwrap_or_default();
        if self.all + bytes > MOST || (own + bytes > of_one && !client.is_exempt) {
            return Err(Broken::Full);
        }
        self.all += bytes;
        self.by.insert(client.address, own + bytes);
        Ok(())
    }

    fn give_back(&mut self, client: &Client, bytes: usize) {
        self.all = self.all.saturating_sub(bytes);
        let Some(own) = self.by.get_mut(&client.address) else { return };
        *own = own.saturating_sub(bytes);
        if *own == 0 {
            self.by.remove(&client.address);
        }
    }
}

impl Held {
    fn take(&self, bytes: usize) -> Result<(), Broken> {
        self.bodies.taken().add(&self.client, bytes, self.bodies.of_one)?;
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Held {
    fn give_back(&self) {
        self.bodies.taken().give_back(&self.client, self.taken.swap(0, Ordering::Relaxed));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// What the body of a request takes, for whoever has done with the body long before the answer.
#[derive(Debug, Clone)]
pub(super) struct OfRequest(Arc<Held>);

impl OfRequest {
    /// The body is no longer in memory.
    pub(super) fn give_back(&self) {
        self.0.give_back();
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

    fn client(n: u8) -> Client {
        Client { address: [198, 51, 100, n].into(), is_exempt: false }
    }

    fn body_of(bodies: &Arc<Bodies>, by: u8, bytes: usize) -> (Request, Option<Arc<Held>>) {
        bodies.count(client(by), Request::new(Body::from(vec![b'x'; bytes])))
    }

    #[tokio::test]
    async fn bodies_share_a_bounded_memory_and_give_it_back() {
        let bodies = Arc::new(Bodies::new(Duration::from_secs(10), LARGEST));
        let mut held = Vec::new();
        let one_more = |by| read(body_of(&bodies, by, 10).0.into_body());
        for by in 0..8 {
            for _ in 0..MOST_OF_ONE / LARGEST {
                let (request, kept) = body_of(&bodies, by, LARGEST);
                assert_eq!(read(request.into_body()).await.unwrap().len(), LARGEST);
                held.push(kept);
            }
            assert_eq!(one_more(by).await.unwrap_err().kind(), Kind::Busy, "{by} has its share");
            assert_eq!(one_more(100).await.is_ok(), by < 7, "the others have theirs");
        }
        held.pop();
        assert_eq!(one_more(100).await.unwrap().len(), 10);
        held.clear();
        let taken = bodies.taken();
        assert_eq!((taken.all, taken.by.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_larger_body_is_taken_where_that_is_said() {
        let large = 20 * LARGEST;
        let bodies = Arc::new(Bodies::new(Duration::from_secs(10), large));
        let (request, _held) = body_of(&bodies, 1, large);
        assert_eq!(read_up_to(request.into_body(), large).await.unwrap().len(), large);
        assert_eq!(read(body_of(&bodies, 1, 10).0.into_body()).await.unwrap_err().kind(), Kind::Busy);
    }

    #[tokio::test]
    async fn what_was_read_and_left_behind_is_given_back_before_the_answer() {
        let bodies = Arc::new(Bodies::new(Duration::from_secs(10), LARGEST));
        let (request, held) = body_of(&bodies, 1, LARGEST);
        let own: OfRequest = request.extensions().get::<OfRequest>().unwrap().clone();
        drop(read(request.into_body()).await.unwrap());
        assert_eq!(bodies.taken().all, LARGEST);
        own.give_back();
        let left = |taken: MutexGuard<'_, Taken>| (taken.all, taken.by.len());
        assert_eq!(left(bodies.taken()), (0, 0));
        drop((own, held));
        assert_eq!(bodies.taken().all, 0, "given back once");
    }

    #[tokio::test]
    async fn a_body_has_its_time_and_its_size() {
        let bodies = Arc::new(Bodies::new(Duration::from_millis(20), LARGEST));
        let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let (request, _held) = bodies.count(client(1), Request::new(never));
        assert_eq!(read(request.into_body()).await.unwrap_err().kind(), Kind::TooSlow);
        let (request, _held) = body_of(&bodies, 1, LARGEST + 1);
        assert_eq!(read(request.into_body()).await.unwrap_err().kind(), Kind::TooLarge);
    }
}
