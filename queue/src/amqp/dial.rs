//! One connection that can be given up: nothing of it is left behind then.
//!
//! Dropping lapin's own future frees nothing: the connection that is being made is kept by the very thread that waits
//! for the peer's first words, and a peer that accepts and says nothing would keep a thread and a socket for ever.

use std::{
    io,
    net::{Shutdown, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, PoisonError},
};

use lapin::{
    AsyncTcpStream, Connection, ConnectionProperties,
    tcp::{AMQPUriTcpExt, OwnedTLSConfig},
    uri::AMQPUri,
};
use tokio_util::sync::CancellationToken;

/// Connects and shakes hands. Dropped before that is done, it ends the thread and closes the socket.
pub(super) async fn dial(
    uri: AMQPUri,
    tls: OwnedTLSConfig,
    properties: ConnectionProperties,
) -> lapin::Result<Connection> {
    let line = Arc::new(Line::default());
    let attempt = Attempt(Arc::clone(&line));
    let runtime = lapin::runtime::default_runtime()?;
    let reactor = runtime.clone();
    let connect = async move |uri: AMQPUri, _| {
        let connecting = uri.connect_with_config_async(tls.as_ref(), &reactor);
        let stream = tokio::select! {
            stream = connecting => stream?,
            () = line.given_up.cancelled() => return Err(given_up()),
        };
        line.holds(match &stream {
            AsyncTcpStream::Plain(stream) => stream.get_ref().as_fd(),
            AsyncTcpStream::Rustls(stream) => stream.get_ref().0.get_ref().as_fd(),
            _ => return Err(io::Error::other("a stream of another kind than asked for").into()),
        })?;
        Ok(stream)
    };
    let connection = Connection::connector(uri, runtime, connect, properties).await?;
    attempt.succeeded();
    Ok(connection)
}

/// What is held of an attempt to end it.
#[derive(Default)]
struct Line {
    given_up: CancellationToken,
    /// A second handle on the socket.
    socket: Mutex<Option<TcpStream>>,
}

impl Line {
    /// Keeps a handle on the socket; refused when the attempt was given up meanwhile.
    fn holds(&self, socket: BorrowedFd<'_>) -> lapin::Result<()> {
        let socket = TcpStream::from(socket.try_clone_to_owned()?);
        let mut held = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: whoever gives up looks for the socket after it said so.
        if self.given_up.is_cancelled() {
            return Err(given_up());
        }
        *held = Some(socket);
        Ok(())
    }

    fn take(&self) -> Option<TcpStream> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn given_up() -> lapin::Error {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

/// An attempt, given up when this is dropped.
struct Attempt(Arc<Line>);

impl Attempt {
    /// From now on the connection looks after itself.
    fn succeeded(self) {
        drop(self.0.take());
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.given_up.cancel();
        if let Some(socket) = self.0.take() {
            // The thread reads the end of the stream, and ends. Fails only where the peer was faster.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
