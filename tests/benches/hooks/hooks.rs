//! What is sent: signed bodies of a kibibyte, each of its own, and what keeping one costs at least.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ring::hmac;
use serde_json::json;
use uuid::Uuid;

/// What all of them are signed with.
pub(crate) const SECRET: &str = "a-secret-of-a-benchmark-only";

/// Where they are sent to, at all that answer them.
pub(crate) const PATH: &str = "/hooks/push";

/// Repositories that are told of in turn.
pub(crate) const REPOSITORIES: usize = 500;

/// Syncs of which the median is told.
pub(crate) const SYNCS: usize = 200;

const BODY: usize = 1024;

/// Whole requests of HTTP/1.1.
pub(crate) struct Hooks(Vec<Vec<u8>>);

impl Hooks {
    /// So many, made before the clock runs.
    pub(crate) fn signed(count: usize) -> Hooks {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        Hooks((0..count).map(|n| request(&key, &body(n))).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn into_requests(self) -> Vec<Vec<u8>> {
        self.0
    }
}

/// Filled up with the white space that JSON allows: a push has no key that means nothing.
fn body(n: usize) -> Vec<u8> {
    let image = format!("acme/app-{}:1", n % REPOSITORIES);
    let mut body = json!({"image": image, "id": Uuid::now_v7()}).to_string().into_bytes();
    body.resize(BODY.max(body.len()), b' ');
    body
}

fn request(key: &hmac::Key, body: &[u8]) -> Vec<u8> {
    let tag = hmac::sign(key, body);
    let signature: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         x-hub-signature-256: sha256={signature}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The median time of writing a body and syncing it.
pub(crate) fn fsync() -> Result<Duration> {
    let folder = tempfile::tempdir().context("make a directory")?;
    let mut file = std::fs::File::create(folder.path().join("baseline")).context("make a file")?;
    let mut took = Vec::new();
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[b'x'; BODY]).context("write a file")?;
        file.sync_all().context("sync a file")?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok(took.get(SYNCS / 2).copied().unwrap_or_default())
}
