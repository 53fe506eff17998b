#![doc = include_str!("../README.md")]

mod compose;
mod document;
mod fault;
mod json_lines;
mod node;
mod place;
pub mod process;
mod read;
mod resolve;
mod schema;
mod secret;
mod spelling;
mod units;

pub use document::{Document, LARGEST_FILE};
pub use fault::{Fault, Faults};
pub use node::{Key, Node};
pub use place::Place;
pub use schema::allow_secret_files;
pub use secret::Secret;
pub use spelling::nearest;
pub use units::{Bytes, Span, UnitError};
