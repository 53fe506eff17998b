//! The embedded engine keeps the contract.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod directory;

use crate::directory::Directory;

queue::contract_tests!(Directory::new());
