//! What was recorded of real servers, asked again of the fakes: an answer has the same status, the same kind of content,
//! the same fields with the same kinds of values, and in errors the same words. Where a fake rightly differs, the
//! difference stands in a list with its reason; one that is not met any more fails as one that is not listed does.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod account;
mod portainer;
mod rancher;
mod shape;
mod trace;
