//! Who operates: the `longshore` command. It runs the fleet (`up`, `ingress`, `worker`) and speaks to a
//! running one over its HTTP API, as any other client would.
//!
//! Typed ([`Arguments`]) → carried out ([`run`]) → told to the shell ([`Exit`]).

mod accounts;
mod arguments;
mod ci;
mod client;
mod command;
mod configuration;
mod directory;
mod exit;
mod failure;
mod follow;
#[cfg(test)]
mod fuzzing;
mod greeting;
mod login;
mod lookout;
mod output;
mod password;
mod process;
mod reload;
mod server;
mod sse;
mod typed;

use clap::Parser;

pub use arguments::Arguments;
pub use exit::Exit;

/// Carries out what was typed, and tells how it went. Everything that went wrong has been printed.
#[must_use]
pub fn run(arguments: Arguments) -> Exit {
    let output = output::Output::new(arguments.json);
    tell(command::carry_out(arguments, output), output)
}

/// The program `longshore-ingress`.
#[must_use]
pub fn run_ingress() -> Exit {
    let arguments = arguments::IngressAlone::parse();
    tell(command::ingress(arguments.ingress), output::Output::new(false))
}

/// The program `longshore-worker`.
#[must_use]
pub fn run_worker() -> Exit {
    let arguments = arguments::WorkerAlone::parse();
    tell(command::worker(arguments.worker), output::Output::new(false))
}

fn tell(done: Result<Exit, failure::Failure>, output: output::Output) -> Exit {
    done.unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit()
    })
}
