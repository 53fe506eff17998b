//! A stretch of network between the engine and the broker that can be cut.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::support::uri;

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
}

impl Proxy {
    pub(crate) async fn open() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(State { cuts: 0, is_open: true }));
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
        self.state.send_modify(|state| *state = State { cuts: state.cuts + 1, is_open: false });
    }

    pub(crate) fn reopen(&self) {
        self.state.send_modify(|state| state.is_open = true);
    }
}

async fn pass_on(mut ours: TcpStream, mut state: watch::Receiver<State>) {
    let cuts = state.borrow().cuts;
    let uri = uri();
    let mut theirs = TcpStream::connect((uri.authority.host, uri.authority.port)).await.unwrap();
    tokio::select! {
        _ = copy_bidirectional(&mut ours, &mut theirs) => {}
        _ = state.wait_for(|state| state.cuts != cuts) => {}
    }
}
