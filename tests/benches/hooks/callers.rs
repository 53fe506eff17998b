//! The load: connections that are kept open, each of which sends the next hook when its last was answered. As little
//! as can be is done for each, since callers and what they call share the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::hooks::Hooks;

const CONNECTIONS: usize = 64;

/// More is no answer to a hook.
const LONGEST_ANSWER: usize = 64 * 1024;

pub(crate) struct Callers(Vec<TcpStream>);

/// What is left to send, and since when.
struct Work {
    requests: Vec<Vec<u8>>,
    next: AtomicUsize,
    begin: Instant,
    /// Between two of them; none to send each as soon as there is a caller.
    interval: Option<Duration>,
}

impl Callers {
    pub(crate) async fn connect(address: &str) -> Result<Callers> {
        let connect = || async {
            let stream =
                TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
            stream.set_nodelay(true)?;
            anyhow::Ok(stream)
        };
        Ok(Callers(try_join_all((0..CONNECTIONS).map(|_| connect())).await?))
    }

    /// Hooks answered a second, as fast as they are.
    pub(crate) async fn send(self, hooks: Hooks) -> Result<f64> {
        let count = hooks.len();
        let (began, _) = self.work(hooks, None).await?;
        Ok(count as f64 / began.elapsed().as_secs_f64())
    }

    /// How long each took from when it was due.
    pub(crate) async fn paced(self, hooks: Hooks, per_second: u32) -> Result<Vec<Duration>> {
        let (_, delays) = self.work(hooks, Some(Duration::from_secs(1) / per_second)).await?;
        Ok(delays)
    }

    async fn work(self, hooks: Hooks, interval: Option<Duration>) -> Result<(Instant, Vec<Duration>)> {
        let begin = Instant::now();
        let requests = hooks.into_requests();
        let work = Arc::new(Work { requests, next: AtomicUsize::new(0), begin, interval });
        let callers = self.0.into_iter().map(|stream| tokio::spawn(call(stream, Arc::clone(&work))));
        let mut delays = Vec::new();
        for caller in try_join_all(callers).await? {
            delays.extend(caller?);
        }
        Ok((begin, delays))
    }
}

impl Work {
    /// The next request, and when it is due.
    fn next(&self) -> Option<(&[u8], Instant)> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let due = match self.interval {
            Some(interval) => self.begin + interval * u32::try_from(n).ok()?,
            None => Instant::now(),
        };
        self.requests.get(n).map(|request| (&**request, due))
    }
}

async fn call(mut stream: TcpStream, work: Arc<Work>) -> Result<Vec<Duration>> {
    let (mut delays, mut answer) = (Vec::new(), Vec::new());
    while let Some((request, due)) = work.next() {
        if work.interval.is_some() {
            sleep_until(due).await;
        }
        stream.write_all(request).await.context("send a hook")?;
        read_answer(&mut stream, &mut answer).await?;
        delays.push(due.elapsed());
    }
    Ok(delays)
}

/// Reads one whole answer, which has to be of the 200s.
async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Result<()> {
    answer.clear();
    loop {
        ensure!(answer.len() < LONGEST_ANSWER, "an answer has no end");
        ensure!(stream.read_buf(answer).await.context("read an answer")? > 0, "the connection was closed");
        let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
            continue;
        };
        let text = String::from_utf8_lossy(answer.get(..head).unwrap_or_default()).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize =
            length.map_or(Ok(0), |length| length.trim().parse()).context("read an answer's length")?;
        if answer.len() >= head + length {
            let status = text.split(' ').nth(1).unwrap_or_default();
            ensure!(status.starts_with('2'), "a hook was answered: {}", String::from_utf8_lossy(answer));
            return Ok(());
        }
    }
}
