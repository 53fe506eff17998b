//! The HTTP server as its callers meet it.

mod crowd;
mod described;
mod requests;
mod tls;
mod waiting;

use anyhow::{Context, Result};
use tests::fleet::Fleet;

/// What the server has in memory, in bytes.
fn memory(fleet: &Fleet) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", fleet.process("longshore")?.id()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("find the memory")?;
    let kib: usize = line.trim().trim_end_matches("kB").trim().parse().context("read the memory")?;
    Ok(kib * 1024)
}
