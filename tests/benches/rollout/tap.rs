//! A way to the engine on which every request is noted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;

/// A TCP port that leads to the engine's socket.
pub(crate) struct Tap {
    pub(crate) host: String,
    noted: Arc<Mutex<Vec<Request>>>,
    accepting: JoinHandle<()>,
}

/// A request as it passed.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) at: Instant,
    /// Such as `GET /v1.41/tasks?filters=…`.
    pub(crate) line: String,
}

impl Tap {
    /// Before the engine at `host`, `unix://…`.
    pub(crate) async fn lay(host: &str) -> Result<Tap> {
        let path = host.strip_prefix("unix://").context("the engine's address is no socket")?.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen on a free port")?;
        let host = format!("tcp://{}", listener.local_addr()?);
        let noted = Arc::<Mutex<Vec<Request>>>::default();
        let notes = Arc::clone(&noted);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, path.clone(), Arc::clone(&notes)));
            }
        });
        Ok(Tap { host, noted, accepting })
    }

    /// What was asked since the last time this was called.
    pub(crate) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, path: String, noted: Arc<Mutex<Vec<Request>>>) -> Result<()> {
    let engine = UnixStream::connect(path).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let asked = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = from_client.read(&mut buffer).await?;
            if length == 0 {
                return to_engine.shutdown().await;
            }
            if let Some(line) = request_line(&buffer[..length]) {
                let request = Request { at: Instant::now(), line };
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            }
            to_engine.write_all(&buffer[..length]).await?;
        }
    };
    let answered = tokio::io::copy(&mut from_engine, &mut to_client);
    // Whoever ends first ends the other: an event stream has no end of its own.
    tokio::select! {
        asked = asked => asked?,
        answered = answered => answered.map(drop)?,
    }
    Ok(())
}

/// Requests are written whole, so one begins a read.
fn request_line(bytes: &[u8]) -> Option<String> {
    let line = bytes.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?.strip_suffix(" HTTP/1.1")?;
    Some(line.to_owned())
}
