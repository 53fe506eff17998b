//! `longshore-ingress`: the same as `longshore ingress`, without the rest.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run_ingress().into()
}
