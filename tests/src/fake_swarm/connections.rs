//! The HTTP of a fake engine, by hand: a library would not break an answer off.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use reqwest::Url;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

use super::answers::{Answer, Events, Request};
use super::services::is_of;
use super::{Engine, Mishap};

const LARGEST_BODY: usize = 1 << 20;

/// Of so many answers one is cut short while they are.
const CUT_SHARE: u64 = 3;

/// Of so many writes one is unanswered while they are.
const UNANSWERED_SHARE: u64 = 2;

/// How an answer fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    IsCutShort,
    NeverComes,
}

pub(super) async fn accept_all(listener: TcpListener, engine: Arc<Engine>) {
    loop {
        // The caller may be gone already.
        let Ok((caller, _)) = listener.accept().await else { continue };
        let _ = caller.set_nodelay(true);
        tokio::spawn(serve(BufReader::new(caller), Arc::clone(&engine)));
    }
}

/// One connection from its begin to its end.
async fn serve(mut caller: BufReader<TcpStream>, engine: Arc<Engine>) {
    while let Some(request) = read(&mut caller).await {
        let answer = engine.answer(&request);
        let fate = engine.fate(&request).await;
        let goes_on = match (answer, fate) {
            (_, Fate::NeverComes) => false,
            (Answer::Json(status, body), fate) => answer_with(&mut caller, status, &body, fate).await,
            (Answer::Events(events), _) => tell(&mut caller, events).await,
        };
        if !goes_on {
            return;
        }
    }
}

impl Engine {
    async fn fate(&self, request: &Request) -> Fate {
        let mishap = *self.mishap.borrow();
        // Only those are counted that it may befall.
        let is_one_in = |share: u64| self.concerned.fetch_add(1, Ordering::Relaxed).is_multiple_of(share);
        let fate = match mishap {
            Mishap::Late(delay) => {
                sleep(delay).await;
                Fate::Arrives
            }
            Mishap::CutShort if is_one_in(CUT_SHARE) => Fate::IsCutShort,
            Mishap::WritesUnanswered if request.writes() && is_one_in(UNANSWERED_SHARE) => Fate::NeverComes,
            Mishap::None | Mishap::CutShort | Mishap::WritesUnanswered => Fate::Arrives,
        };
        if fate != Fate::Arrives {
            self.broken_off.fetch_add(1, Ordering::Relaxed);
        }
        fate
    }
}

/// The next request; none when the caller is gone or makes no sense.
async fn read(caller: &mut BufReader<TcpStream>) -> Option<Request> {
    let first = line(caller).await?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let url = Url::parse("http://engine").ok()?.join(target).ok()?;
    let (mut length, mut with_key) = (0, false);
    loop {
        let header = line(caller).await?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        with_key |= name.eq_ignore_ascii_case("x-registry-auth");
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok().filter(|length| *length <= LARGEST_BODY)?;
        }
    }
    let mut body = vec![0; length];
    caller.read_exact(&mut body).await.ok()?;
    Some(Request { method, url, body, with_key })
}

async fn line(caller: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let length = caller.read_line(&mut line).await.ok()?;
    (length > 0).then(|| line.trim_end().to_owned())
}

/// Whether the connection goes on.
async fn answer_with(caller: &mut BufReader<TcpStream>, status: u16, body: &Value, fate: Fate) -> bool {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} Answer\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let whole = format!("{head}{body}");
    let sent = match fate {
        Fate::Arrives => &whole[..],
        Fate::IsCutShort | Fate::NeverComes => &whole[..head.len() + body.len() / 2],
    };
    caller.write_all(sent.as_bytes()).await.is_ok() && fate == Fate::Arrives
}

/// Tells what happens until the caller is gone.
async fn tell(caller: &mut BufReader<TcpStream>, mut events: Events) -> bool {
    let head = "HTTP/1.1 200 Answer\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    if caller.write_all(head.as_bytes()).await.is_err() {
        return false;
    }
    for event in events.past.drain(..) {
        if !tell_one(caller, &event).await {
            return false;
        }
    }
    let mut gone = [0; 1];
    loop {
        let event = tokio::select! {
            event = events.to_come.recv() => event,
            _ = caller.read(&mut gone) => return false,
        };
        let told = match event {
            Ok(event) if events.service.is_empty() || is_of(&event, &events.service) => {
                tell_one(caller, &event).await
            }
            Ok(_) => true,
            // Whoever lags behind so far has to ask again.
            Err(RecvError::Lagged(_) | RecvError::Closed) => false,
        };
        if !told {
            return false;
        }
    }
}

async fn tell_one(caller: &mut BufReader<TcpStream>, event: &Value) -> bool {
    let event = format!("{event}\n");
    caller.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await.is_ok()
}
