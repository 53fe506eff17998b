//! `longshore-worker`: the same as `longshore worker`, without the rest.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run_worker().into()
}
