//! Ports for programs that are told where to listen.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use anyhow::{Context, Result, bail};

use crate::environment;

/// Below those the kernel gives to outgoing connections and to whoever asks for any port: nobody else takes one
/// between its choice and the start of the program, nor while that program is down.
const PORTS: Range<u16> = 10_000..30_000;

/// The first of two ports, one after the other, which no other test of the run is given.
pub fn take_two() -> Result<u16> {
    let taken = environment::directory()?.join("ports");
    std::fs::create_dir_all(&taken).context("make the list of taken ports")?;
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    for port in PORTS.step_by(2) {
        let is_ours = File::create_new(taken.join(port.to_string())).is_ok();
        if is_ours && free(port) && free(port + 1) {
            return Ok(port);
        }
    }
    bail!("no free port in {PORTS:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_given_a_port_twice() {
        let (first, second) = (take_two().unwrap(), take_two().unwrap());
        assert!(first.abs_diff(second) >= 2, "{first} {second}");
    }
}
