//! A stretch of network between the engine and the broker that can be cut, or stalled for some connections.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::support::uri;

/// What a connection is for, as its name tells the broker.
pub(crate) type Role = &'static str;

const ROLES: [Role; 5] = ["publishing", "consuming", "reading", "answering", "asking"];

/// Passes connections on to the broker until it is cut.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    /// Connections of a former count are cut.
    cuts: u32,
    is_open: bool,
    /// Connections that stay open, and on which nothing passes.
    stalled: Option<Role>,
}

impl Proxy {
    pub(crate) async fn open() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(State { cuts: 0, is_open: true, stalled: None }));
        let told = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((ours, _)) = listener.accept().await {
                if told.borrow().is_open {
                    tokio::spawn(pass_on(ours, told.subscribe()));
                }
            }
        });
        Proxy { address, state }
    }

    /// Breaks every connection; new ones are passed on.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Breaks every connection, and lets none through until it is opened again.
    pub(crate) fn close(&self) {
        self.state.send_modify(|state| (state.cuts, state.is_open) = (state.cuts + 1, false));
    }

    pub(crate) fn reopen(&self) {
        self.state.send_modify(|state| state.is_open = true);
    }

    /// Lets nothing pass on the connections of one role, or on none any more.
    pub(crate) fn stall(&self, role: Option<Role>) {
        self.state.send_modify(|state| state.stalled = role);
    }
}

async fn pass_on(ours: TcpStream, state: watch::Receiver<State>) {
    let uri = uri();
    let theirs = TcpStream::connect((uri.authority.host, uri.authority.port)).await.unwrap();
    let ((from_us, to_us), (from_them, to_them)) = (ours.into_split(), theirs.into_split());
    let role = Arc::new(OnceLock::new());
    let there = Way { role: Arc::clone(&role), names_it: true, state: state.clone() };
    let back = Way { role, names_it: false, state: state.clone() };
    let (mut cut, cuts) = (state.clone(), state.borrow().cuts);
    tokio::select! {
        () = async { tokio::join!(there.pass(from_us, to_them), back.pass(from_them, to_us)); } => {}
        _ = cut.wait_for(|state| state.cuts != cuts) => {}
    }
}

/// One direction of a connection.
struct Way {
    role: Arc<OnceLock<Role>>,
    /// Whether it is the one in which the connection's name is told.
    names_it: bool,
    state: watch::Receiver<State>,
}

impl Way {
    async fn pass(mut self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if self.names_it {
                self.hear_role(&buffer[..length]);
            }
            let role = Arc::clone(&self.role);
            let flows = |state: &State| state.stalled.is_none_or(|stalled| role.get() != Some(&stalled));
            let _ = self.state.wait_for(flows).await;
            if to.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    }

    /// The name stands in one of the first frames, in clear.
    fn hear_role(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        if let Some(at) = text.find("connection_name") {
            let role = ROLES.into_iter().find(|role| text[at..].contains(role));
            role.into_iter().for_each(|role| {
                let _ = self.role.set(role);
            });
            self.names_it = false;
        }
    }
}
