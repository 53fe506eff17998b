//! The HTTP server as its callers meet it.

mod crowd;
