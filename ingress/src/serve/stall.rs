//! A connection whose other end takes nothing is given up, and what waits for it with it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::work::{Begun, Work};

/// A stream that breaks once nothing could be written for some time.
pub(super) struct Stalling<S> {
    stream: S,
    within: Duration,
    work: Work,
    /// Runs while something waits to be written.
    stalled: Option<(Pin<Box<Sleep>>, Begun)>,
}

impl<S> Stalling<S> {
    pub(super) fn new(stream: S, within: Duration, work: Work) -> Stalling<S> {
        Stalling { stream, within, work, stalled: None }
    }

    fn written<T>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let (within, work) = (self.within, &self.work);
        let (stalled, _) = self.stalled.get_or_insert_with(|| (Box::pin(sleep(within)), work.begin()));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the caller took nothing of the answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.written(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn only_one_who_takes_nothing_at_all_is_given_up() {
        let (near, mut far) = duplex(8);
        let mut near = Stalling::new(near, WITHIN, Work::default());
        let slow = tokio::spawn(async move {
            let mut taken = Vec::new();
            while taken.len() < 32 {
                sleep(WITHIN / 3).await;
                let mut part = [0; 8];
                let count = far.read(&mut part).await.unwrap();
                taken.extend_from_slice(&part[..count]);
            }
            (taken, far)
        });
        near.write_all(&[7; 32]).await.unwrap();
        let (taken, _far) = slow.await.unwrap();
        assert_eq!(taken, [7; 32]);
        let error = near.write_all(&[7; 32]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
