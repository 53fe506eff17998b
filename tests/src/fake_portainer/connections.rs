//! The HTTP of a fake Portainer, by hand: a library would not break an answer off.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{Mishap, Shared};
use crate::fake_http::{Request, read};

/// The values of a Docker filter.
pub(super) fn filter(request: &Request, name: &str) -> Vec<String> {
    let filters: Value =
        request.parameter("filters").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let values = filters[name].as_array().into_iter().flatten().filter_map(Value::as_str);
    values.map(str::to_owned).collect()
}

/// Status and body.
pub(super) type Answer = (u16, String);

/// The status of an answer that does not come: the connection breaks.
pub(super) const BROKEN: u16 = 0;

pub(super) async fn accept_all(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // The caller may be gone already.
        let Ok((caller, _)) = listener.accept().await else { continue };
        let _ = caller.set_nodelay(true);
        tokio::spawn(serve(BufReader::new(caller), Arc::clone(&shared)));
    }
}

async fn serve(mut caller: BufReader<TcpStream>, shared: Arc<Shared>) {
    while let Some(request) = read(&mut caller).await {
        // What was begun goes on, whether or not the caller waits for it.
        let of_it = Arc::clone(&shared);
        let answering = tokio::spawn(async move {
            let _counted = of_it.begin();
            let takes = of_it.state().answers_take;
            tokio::time::sleep(takes).await;
            match of_it.mishap(&request) {
                None => Some(of_it.answer(&request).await),
                Some(Mishap::CutBefore) => None,
                Some(Mishap::CutAfter) => {
                    of_it.answer(&request).await;
                    None
                }
                Some(Mishap::Instead(status, body)) => Some((status, body.to_owned())),
                Some(Mishap::Afterwards(status, body)) => {
                    of_it.answer(&request).await;
                    Some((status, body.to_owned()))
                }
                Some(Mishap::GivenUp(status, body)) => {
                    let behind = Arc::clone(&of_it);
                    tokio::spawn(async move { behind.answer(&request).await });
                    Some((status, body.to_owned()))
                }
                Some(Mishap::DiesUnder) => {
                    of_it.die_under(&request);
                    None
                }
                Some(Mishap::Held(gate)) => {
                    gate.notified().await;
                    Some(of_it.answer(&request).await)
                }
            }
        });
        let Ok(Some((status, body))) = answering.await else { return };
        if status == BROKEN {
            return;
        }
        let whole = format!("{}\r\n{body}", head(status, &body));
        if caller.write_all(whole.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn head(status: u16, body: &str) -> String {
    let mut head = format!("HTTP/1.1 {status} Answer\r\nContent-Length: {}\r\n", body.len());
    // Every login sets a cookie, which no worker must send back.
    head.push_str("Set-Cookie: portainer_api_key=x; Path=/; HttpOnly\r\n");
    if status == 303 {
        // Of all redirects this one leads nowhere.
        head.push_str("redirect-reason: AdminInitTimeout\r\n");
    } else if (300..400).contains(&status) {
        // Whoever follows there is answered well, and has lost its body.
        head.push_str("Location: /api/status\r\n");
    }
    // What is no JSON is a plain text (recorded: "cookie on auth"), and an empty body has no kind.
    if body.starts_with(['{', '[']) {
        head.push_str("Content-Type: application/json\r\n");
    } else if !body.is_empty() {
        head.push_str("Content-Type: text/plain; charset=utf-8\r\n");
    }
    head
}

/// A request that is being answered.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.state().at_once -= 1;
    }
}

impl Shared {
    fn begin(self: &Arc<Self>) -> Counted {
        let mut state = self.state();
        state.at_once += 1;
        state.most_at_once = state.most_at_once.max(state.at_once);
        drop(state);
        Counted(Arc::clone(self))
    }

    /// Notes the request, and takes what is to befall it.
    fn mishap(&self, request: &Request) -> Option<Mishap> {
        let mut state = self.state();
        let line = format!("{} {}", request.method, request.path);
        let number = format!("#{}", state.requests.len() + 1);
        let at = state.mishaps.iter().position(|(part, _)| line.contains(part.as_str()) || *part == number);
        state.requests.push(line);
        at.map(|at| state.mishaps.remove(at).1)
    }
}
