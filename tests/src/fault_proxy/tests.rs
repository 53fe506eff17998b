//! Seen from a caller, with a service that says back what it is told.

use std::io::ErrorKind;

use super::*;
use crate::wait::eventually;

const SOON: Duration = Duration::from_secs(10);
const WHILE: Duration = Duration::from_millis(300);

/// Says back what it is told.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = caller.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

async fn proxy() -> FaultProxy {
    FaultProxy::start(&echo().await).await.unwrap()
}

async fn call(proxy: &FaultProxy) -> TcpStream {
    timeout(SOON, TcpStream::connect(proxy.address())).await.unwrap().unwrap()
}

async fn ask(connection: &mut TcpStream, word: &[u8; 4]) {
    connection.write_all(word).await.unwrap();
    let mut answer = [0; 4];
    timeout(SOON, connection.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, word);
}

async fn reads_nothing(connection: &mut TcpStream) {
    let read = timeout(WHILE, connection.read_u8()).await;
    assert!(read.is_err(), "{read:?}");
}

async fn is_reset(connection: &mut TcpStream) {
    let read = timeout(SOON, connection.read_u8()).await.unwrap();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn it_forwards_all_and_an_end_too() {
    let proxy = proxy().await;
    let mut connection = call(&proxy).await;
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (mut from, mut to) = connection.split();
    let sending = async {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let both = async { tokio::join!(sending, from.read_to_end(&mut got)) };
    timeout(SOON, both).await.unwrap().1.unwrap();
    assert!(got == sent);
    let closed = || async {
        anyhow::ensure!(proxy.connections() == 0, "open");
        Ok(())
    };
    eventually(SOON, "the connection's end", closed).await.unwrap();
}

#[tokio::test]
async fn a_cut_resets_those_that_are_open_and_takes_new_ones() {
    let proxy = proxy().await;
    let (mut one, mut two) = (call(&proxy).await, call(&proxy).await);
    ask(&mut one, b"one!").await;
    ask(&mut two, b"two!").await;
    proxy.cut();
    is_reset(&mut one).await;
    is_reset(&mut two).await;
    ask(&mut call(&proxy).await, b"more").await;
}

#[tokio::test]
async fn refused_ones_see_it_at_once_and_open_ones_go_on() {
    let mut proxy = proxy().await;
    let mut open = call(&proxy).await;
    ask(&mut open, b"one!").await;
    proxy.refuse().await;
    let refused = timeout(SOON, TcpStream::connect(proxy.address())).await.unwrap();
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    ask(&mut open, b"two!").await;
    proxy.restore().unwrap();
    ask(&mut call(&proxy).await, b"more").await;
}

#[tokio::test]
async fn a_delay_holds_back_every_chunk() {
    let mut proxy = proxy().await;
    let mut connection = call(&proxy).await;
    proxy.delay(Duration::from_millis(200));
    let asked = tokio::time::Instant::now();
    ask(&mut connection, b"slow").await;
    assert!(asked.elapsed() >= Duration::from_millis(400), "{:?}", asked.elapsed());
    proxy.restore().unwrap();
    ask(&mut connection, b"fast").await;
}

#[tokio::test]
async fn what_stalled_leads_nowhere_until_it_is_cut() {
    let mut proxy = proxy().await;
    let mut open = call(&proxy).await;
    let mut idle = call(&proxy).await;
    ask(&mut open, b"one!").await;
    ask(&mut idle, b"one!").await;
    proxy.stall();
    let mut fresh = call(&proxy).await;
    for connection in [&mut open, &mut fresh] {
        connection.write_all(b"lost").await.unwrap();
        reads_nothing(connection).await;
    }
    proxy.restore().unwrap();
    open.write_all(b"lost").await.unwrap();
    reads_nothing(&mut open).await;
    ask(&mut idle, b"two!").await;
    ask(&mut call(&proxy).await, b"more").await;
    proxy.cut();
    is_reset(&mut open).await;
    is_reset(&mut fresh).await;
}

#[tokio::test]
async fn a_service_that_is_away_resets_the_caller() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let proxy = FaultProxy::start(&gone).await.unwrap();
    is_reset(&mut call(&proxy).await).await;
}

#[tokio::test]
async fn what_befell_connections_is_counted() {
    let proxy = proxy().await;
    let mut connection = call(&proxy).await;
    ask(&mut connection, b"fair").await;
    assert_eq!((proxy.broken(), proxy.held_back()), (0, 0));
    proxy.delay(Duration::from_millis(1));
    ask(&mut connection, b"slow").await;
    assert_eq!((proxy.broken(), proxy.held_back()), (0, 2));
    proxy.cut();
    is_reset(&mut connection).await;
    let counted = eventually(SOON, "the cut to be counted", || async {
        anyhow::ensure!(proxy.broken() == 1, "{}", proxy.broken());
        Ok(())
    });
    counted.await.unwrap();
}
