//! Passwords as people give them: from a file, from a terminal without showing them, or the first line of what is piped
//! in. Never from the command line, where others could read them.

use std::{
    fs,
    io::{self, BufRead, IsTerminal},
    path::Path,
};

use config::Secret;

use crate::failure::Failure;

/// Longest password that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// A password that somebody chooses: typed twice.
///
/// # Errors
/// When there is none, or the two differ.
pub(crate) fn chosen(file: Option<&Path>) -> Result<Secret, Failure> {
    read(file, || {
        let (first, again) = (typed("Password: ")?, typed("Once more: ")?);
        if first == again {
            return Ok(first);
        }
        Err(Failure::setup("the two passwords differ", "type the same one twice"))
    })
}

/// A password that somebody has.
///
/// # Errors
/// When there is none.
pub(crate) fn known(file: Option<&Path>) -> Result<Secret, Failure> {
    read(file, || typed("Password: "))
}

fn read(
    file: Option<&Path>,
    at_terminal: impl FnOnce() -> Result<String, Failure>,
) -> Result<Secret, Failure> {
    let text = match file {
        Some(file) => of_file(file)?,
        None if io::stdin().is_terminal() => at_terminal()?,
        None => piped()?,
    };
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(Failure::setup(
            "there is no password",
            "type it, pipe it in, or name a file that holds it with --password-file",
        ));
    }
    Ok(Secret::new(text))
}

fn of_file(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| {
        let hint = "check the path given with --password-file, and who may read the file";
        Failure::setup(format!("cannot read `{}`: {error}", file.display()), hint)
    })
}

fn typed(what: &str) -> Result<String, Failure> {
    let terminal = console::Term::stderr();
    let said = terminal.write_str(what).and_then(|()| terminal.read_secure_line());
    said.map_err(|error| unread(&error))
}

fn piped() -> Result<String, Failure> {
    let mut line = String::new();
    let read = io::Read::take(io::stdin().lock(), LONGEST).read_line(&mut line);
    read.map_err(|error| unread(&error)).map(|_| line)
}

fn unread(error: &io::Error) -> Failure {
    Failure::setup(
        format!("cannot read the password: {error}"),
        "name a file that holds it with --password-file",
    )
}
