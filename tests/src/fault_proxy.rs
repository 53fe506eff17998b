//! A bad network between our processes and a service: connections that are cut, refused, slow, or half dead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const BACKLOG: u32 = 1024;
const CHUNK: usize = 16 * 1024;
const CONNECT: Duration = Duration::from_secs(5);

/// A TCP proxy on a port of its own of 127.0.0.1. It keeps that port while it refuses connections; dropping it
/// cuts all of them.
pub struct FaultProxy {
    address: SocketAddr,
    /// Bound and not listening, so that nobody else is given the port while nobody listens there.
    _place: TcpSocket,
    accepting: Option<JoinHandle<()>>,
    network: Arc<Network>,
}

/// What befalls each connection.
struct Network {
    service: String,
    weather: watch::Sender<Weather>,
    /// How often all connections were cut.
    cuts: watch::Sender<u64>,
    open: AtomicUsize,
    /// Connections that ended by what befell them, and chunks that were held back.
    broken: AtomicUsize,
    held_back: AtomicUsize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    Fair,
    Slow(Duration),
    Stalled,
}

impl FaultProxy {
    /// Forwards to `service` (`host:port`), which need not be up yet.
    pub async fn start(service: &str) -> Result<Self> {
        let place = reusable_socket()?;
        place.bind(SocketAddr::from(([127, 0, 0, 1], 0))).context("take a port for a proxy")?;
        let address = place.local_addr().context("read the port of a proxy")?;
        let network = Arc::new(Network {
            service: service.to_owned(),
            weather: watch::Sender::new(Weather::Fair),
            cuts: watch::Sender::new(0),
            open: AtomicUsize::new(0),
            broken: AtomicUsize::new(0),
            held_back: AtomicUsize::new(0),
        });
        let mut proxy = Self { address, _place: place, accepting: None, network };
        proxy.accept()?;
        Ok(proxy)
    }

    /// Where it listens: `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Connections that are open now, those that lead nowhere included.
    pub fn connections(&self) -> usize {
        self.network.open.load(Ordering::SeqCst)
    }

    /// Connections so far that were cut, or lost bytes and were given up since by one who used them.
    pub fn broken(&self) -> usize {
        self.network.broken.load(Ordering::SeqCst)
    }

    /// Chunks so far that were held back.
    pub fn held_back(&self) -> usize {
        self.network.held_back.load(Ordering::SeqCst)
    }

    /// Resets every connection that is open. New ones are taken as before.
    pub fn cut(&self) {
        self.network.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Refuses new connections from now on; those that are open go on.
    pub async fn refuse(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // The port is closed once the task is gone; that it was aborted is no news.
            let _ = accepting.await;
        }
    }

    /// Holds every chunk back for `delay`, each way, so that answers take twice as long at least.
    pub fn delay(&self, delay: Duration) {
        self.network.weather.send_replace(Weather::Slow(delay));
    }

    /// Takes connections and bytes as before, and forwards nothing: neither side sees an error. A connection
    /// that lost bytes so leads nowhere for good, whatever comes after, until it is cut or closed.
    pub fn stall(&self) {
        self.network.weather.send_replace(Weather::Stalled);
    }

    /// Forwards at once and takes new connections again.
    pub fn restore(&mut self) -> Result<()> {
        self.network.weather.send_replace(Weather::Fair);
        if self.accepting.is_none() {
            self.accept()?;
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        let socket = reusable_socket()?;
        socket.bind(self.address).with_context(|| format!("bind {} again", self.address))?;
        let listener = socket.listen(BACKLOG).with_context(|| format!("listen on {}", self.address))?;
        self.accepting = Some(tokio::spawn(accept_all(listener, Arc::clone(&self.network))));
        Ok(())
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
        self.cut();
    }
}

fn reusable_socket() -> Result<TcpSocket> {
    let socket = TcpSocket::new_v4().context("make a socket")?;
    socket.set_reuseaddr(true).context("prepare a socket")?;
    socket.set_reuseport(true).context("prepare a socket")?;
    Ok(socket)
}

async fn accept_all(listener: TcpListener, network: Arc<Network>) {
    loop {
        // Out of descriptors, or the caller is gone already: the next one may do better.
        let Ok((caller, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Counted here, so that no cut that follows misses it.
        let cuts = network.cuts.subscribe();
        let network = Arc::clone(&network);
        network.open.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            network.carry(caller, cuts).await;
            network.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

impl Network {
    /// One connection from its begin to its end.
    async fn carry(&self, mut caller: TcpStream, mut cuts: watch::Receiver<u64>) {
        let dead = AtomicBool::new(self.is_stalled());
        if dead.load(Ordering::SeqCst) {
            let (mut from_caller, _to_caller) = caller.split();
            tokio::select! {
                () = swallow(&mut from_caller) => {}
                _ = cuts.changed() => {}
            }
            reset(&caller);
            self.broken.fetch_add(1, Ordering::SeqCst);
            return;
        }
        let Ok(Ok(mut service)) = timeout(CONNECT, TcpStream::connect(&self.service)).await else {
            reset(&caller);
            return;
        };
        // What is small is not held back to be sent with more.
        let _ = (caller.set_nodelay(true), service.set_nodelay(true));
        let (mut from_caller, mut to_caller) = caller.split();
        let (mut from_service, mut to_service) = service.split();
        let both = async {
            tokio::join!(
                self.forward(&mut from_caller, &mut to_service, &dead),
                self.forward(&mut from_service, &mut to_caller, &dead),
            )
        };
        let is_cut = tokio::select! {
            _ = both => false,
            _ = cuts.changed() => true,
        };
        if is_cut || dead.load(Ordering::SeqCst) {
            self.broken.fetch_add(1, Ordering::SeqCst);
            reset(&caller);
            reset(&service);
        }
    }

    /// One way of a connection.
    async fn forward(&self, from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, dead: &AtomicBool) {
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = from.read(&mut chunk).await.unwrap_or(0);
            let weather = *self.weather.borrow();
            match weather {
                Weather::Fair => {}
                Weather::Slow(delay) => {
                    self.held_back.fetch_add(1, Ordering::SeqCst);
                    sleep(delay).await;
                }
                Weather::Stalled => dead.store(true, Ordering::SeqCst),
            }
            if dead.load(Ordering::SeqCst) {
                return if length > 0 {
                    swallow(from).await
                };
            }
            if length == 0 {
                // Best effort: the other side may be gone already.
                let _ = to.shutdown().await;
                return;
            }
            if to.write_all(&chunk[..length]).await.is_err() {
                return;
            }
        }
    }

    fn is_stalled(&self) -> bool {
        *self.weather.borrow() == Weather::Stalled
    }
}

/// Reads what comes until the other side closes.
async fn swallow(from: &mut ReadHalf<'_>) {
    let mut chunk = vec![0; CHUNK];
    while matches!(from.read(&mut chunk).await, Ok(1..)) {}
}

/// Makes the coming close a reset, as when a machine has gone.
fn reset(connection: &TcpStream) {
    // Fails only on a socket that is no socket.
    let _ = connection.set_zero_linger();
}

#[cfg(test)]
mod tests;
