//! An HTTP server that takes whatever is posted to it, and shows it to the test.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A server on a port of its own that answers everything with 200. Dropping it ends it.
pub struct Receiver {
    url: String,
    posts: mpsc::UnboundedReceiver<Post>,
    server: JoinHandle<()>,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Post {
    /// The path with its query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as JSON; one that is not JSON comes as a string.
    pub body: Value,
}

impl Receiver {
    /// Starts listening on a free port of 127.0.0.1.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen on a free port")?;
        let url = format!("http://{}", listener.local_addr().context("read the port")?);
        let (sender, posts) = mpsc::unbounded_channel();
        let router = Router::new().fallback(keep).with_state(sender);
        let server = tokio::spawn(async move {
            // Ends with the task; an error here shows as a post that never comes.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, posts, server })
    }

    /// The address without a path, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The next request, in the order they came.
    pub async fn next(&mut self, deadline: Duration) -> Result<Post> {
        let post = timeout(deadline, self.posts.recv()).await;
        post.map_err(|_| anyhow!("nothing was posted to {} within {deadline:?}", self.url))?
            .context("the receiver has ended")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn keep(
    State(posts): State<mpsc::UnboundedSender<Post>>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
    match posts.send(Post { path: uri.to_string(), headers, body }) {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::GONE,
    }
}
