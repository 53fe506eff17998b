//! Commands to type next, spelled so that they work where they are printed.

use std::{env, fs, path::Path};

use proto::JobId;

use crate::{arguments::Reach, server::DEFAULT_DATA};

/// The name of the program where the shell finds it.
const NAME: &str = "longshore";

/// How the running program is typed: `longshore` where the shell finds this very program under that name, else its
/// path, from the current directory where it lies below it.
pub(crate) fn program() -> String {
    let Ok(running) = env::current_exe().and_then(fs::canonicalize) else { return NAME.to_owned() };
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).find_map(|folder| fs::canonicalize(folder.join(NAME)).ok());
    if found.is_some_and(|found| found == running) {
        return NAME.to_owned();
    }
    let here = env::current_dir().and_then(fs::canonicalize).unwrap_or_default();
    let below = running.strip_prefix(&here).ok().filter(|_| here.parent().is_some());
    match below {
        // A bare name would be sought in PATH.
        Some(below) if below.components().count() == 1 => quoted(&Path::new(".").join(below)),
        Some(below) => quoted(below),
        None => quoted(&running),
    }
}

/// The arguments, each with a space before it, by which a command reaches the same Longshore again.
pub(crate) fn reach(reach: &Reach) -> String {
    let files = reach.config.iter().map(|file| format!(" --config {}", quoted(file)));
    files.chain(reach.data.iter().map(|data| format!(" --data {}", quoted(data)))).collect()
}

/// The arguments by which a command finds what a running `up` keeps in `data`.
pub(crate) fn reach_of(data: &Path) -> String {
    let default = Path::new(DEFAULT_DATA);
    let same =
        || fs::canonicalize(data).ok().zip(fs::canonicalize(default).ok()).is_some_and(|(a, b)| a == b);
    let is_default = data == default || same();
    if is_default { String::new() } else { format!(" --data {}", quoted(data)) }
}

/// The command that follows a job, for whoever was given `arguments` to reach its Longshore.
pub(crate) fn watch(id: JobId, arguments: &str) -> String {
    format!("{} watch {id}{arguments}", program())
}

/// A path as a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+@:,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_given_again() {
        let given = Reach { config: vec!["a.yaml".into(), "my b.yaml".into()], data: Some("d".into()) };
        assert_eq!(reach(&given), " --config a.yaml --config 'my b.yaml' --data d");
        assert_eq!(reach_of(Path::new("./longshore-data")), "");
        assert_eq!(reach_of(Path::new("/it's/here")), " --data '/it'\\''s/here'");
    }

    #[test]
    fn the_program_is_named_by_a_path_that_exists() {
        // The program of this test is not called `longshore`, so its path is told.
        let path = std::path::PathBuf::from(program());
        assert!(path.is_file(), "{path:?}");
    }
}
