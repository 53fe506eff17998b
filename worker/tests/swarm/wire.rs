//! A wire to the engine that a test can cut.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
};

use crate::lab::{PATIENCE, environment};

/// The first lines of requests.
type Asked = Arc<Mutex<Vec<String>>>;
/// What a write holds that is to come too late, and how many more of them are.
type Stale = Arc<Mutex<(String, usize)>>;

/// A TCP port that leads to the engine's socket.
pub(crate) struct Wire {
    pub(crate) host: String,
    /// Answers to so many writes are to be lost.
    swallow_answers: Arc<AtomicUsize>,
    asked: Asked,
    stale: Stale,
    cut: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn lay() -> Wire {
        Wire::at(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// Lays one where another was cut.
    pub(crate) async fn lay_again(cut: &Wire) -> Wire {
        let address = cut.host.trim_start_matches("tcp://");
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => return Wire::at(listener),
                Err(error) => assert!(std::time::Instant::now() < deadline, "{address}: {error}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    fn at(listener: TcpListener) -> Wire {
        let host = format!("tcp://{}", listener.local_addr().unwrap());
        let swallow = Arc::new(AtomicUsize::new(0));
        let (asked, stale) = (Asked::default(), Stale::default());
        let (cut, is_cut) = watch::channel(false);
        let noted = (Arc::clone(&asked), Arc::clone(&stale));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&swallow), noted, is_cut));
        Wire { host, swallow_answers: swallow, asked, stale, cut, accepting }
    }

    /// From now on a write reaches the engine, and the connection breaks before its answer.
    pub(crate) fn swallow_answers_to_writes(&self) {
        self.swallow_answers.store(usize::MAX, Ordering::SeqCst);
    }

    /// The same of the next one alone.
    pub(crate) fn swallow_answer_to_next_write(&self) {
        self.swallow_answers.store(1, Ordering::SeqCst);
    }

    /// So many of the writes that hold `part` reach the engine as if somebody had written before them.
    pub(crate) fn make_stale(&self, part: &str, times: usize) {
        *self.stale.lock().unwrap() = (part.to_owned(), times);
    }

    /// How many of them are still to come.
    pub(crate) fn stale_to_come(&self) -> usize {
        self.stale.lock().unwrap().1
    }

    /// How often something like `GET …/tasks?…` was asked, as far as `which` says.
    pub(crate) fn asked(&self, which: impl Fn(&str) -> bool) -> usize {
        self.asked.lock().unwrap().iter().filter(|line| which(line)).count()
    }

    /// Breaks every connection and refuses new ones.
    pub(crate) fn cut(&self) {
        self.accepting.abort();
        self.cut.send_replace(true);
    }
}

async fn accept(
    listener: TcpListener,
    swallow: Arc<AtomicUsize>,
    (asked, stale): (Asked, Stale),
    is_cut: watch::Receiver<bool>,
) {
    let path = environment("LONGSHORE_TEST_DOCKER").trim_start_matches("unix://").to_owned();
    while let Ok((client, _)) = listener.accept().await {
        let engine = UnixStream::connect(&path).await.unwrap();
        let (swallow, asked, stale) = (Arc::clone(&swallow), Arc::clone(&asked), Arc::clone(&stale));
        let mut is_cut = is_cut.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = carry(client, engine, &swallow, (&asked, &stale)) => {}
                _ = is_cut.wait_for(|cut| *cut) => {}
            }
        });
    }
}

/// Gives a write another version than it has, where it is to come too late.
fn make_stale(bytes: &mut [u8], stale: &Stale) {
    let mut stale = stale.lock().unwrap();
    let (part, times) = &mut *stale;
    let at = |what: &[u8], bytes: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    if *times == 0 || !bytes.starts_with(b"POST ") || at(part.as_bytes(), bytes).is_none() {
        return;
    }
    let Some(version) = at(b"version=", bytes) else { return };
    let Some(digit) = bytes.get_mut(version + "version=".len()) else { return };
    *digit = if *digit == b'1' { b'2' } else { b'1' };
    *times -= 1;
}

async fn carry(
    client: TcpStream,
    engine: UnixStream,
    swallow: &AtomicUsize,
    (noted, stale): (&Asked, &Stale),
) {
    let (from_client, to_client) = client.into_split();
    let (from_engine, to_engine) = engine.into_split();
    let writing = AtomicBool::new(false);
    let asked = copy(from_client, to_engine, |bytes| {
        // Requests are written whole, so one begins a read.
        let line = bytes.split(|byte| *byte == b'\r').next().and_then(|line| std::str::from_utf8(line).ok());
        noted.lock().unwrap().extend(line.filter(|line| line.ends_with(" HTTP/1.1")).map(str::to_owned));
        make_stale(bytes, stale);
        let one_less = |left: usize| left.checked_sub(1);
        if bytes.starts_with(b"POST ")
            && swallow.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
        {
            writing.store(true, Ordering::SeqCst);
        }
        true
    });
    let answered = copy(from_engine, to_client, |_| !writing.load(Ordering::SeqCst));
    tokio::select! {
        () = asked => {}
        () = answered => {}
    }
}

/// Carries bytes until one side ends or `passes` says no.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    passes: impl Fn(&mut [u8]) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut buffer).await {
        if length == 0 || !passes(&mut buffer[..length]) || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
