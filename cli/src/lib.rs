//! Who operates: the `longshore` command. It runs the fleet (`up`, `ingress`, `worker`) and speaks to a
//! running one over its HTTP API, as any other client would.
//!
//! Typed ([`Arguments`]) → carried out ([`run`]) → told to the shell ([`Exit`]).

mod arguments;
mod client;
mod command;
mod configuration;
mod directory;
mod exit;
mod failure;
mod follow;
mod greeting;
mod output;
mod process;
mod server;
mod sse;

pub use arguments::Arguments;
pub use exit::Exit;

/// Carries out what was typed, and tells how it went. Everything that went wrong has been printed.
#[must_use]
pub fn run(arguments: Arguments) -> Exit {
    let output = output::Output::new(arguments.json);
    match command::carry_out(arguments, output) {
        Ok(exit) => exit,
        Err(failure) => {
            output.failure(&failure);
            failure.exit()
        }
    }
}
