//! Where tokens and users are kept.

use std::path::{Path, PathBuf};

use config::{Document, Faults};

use crate::{arguments::Reach, failure::Failure, server::DEFAULT_DATA};

/// The file that `access.<key>` names, else the one of that `name` in the data directory.
///
/// # Errors
/// When the configuration cannot be read, or nothing says where Longshore keeps its data.
pub(crate) fn file(reach: &Reach, key: &str, name: &str) -> Result<PathBuf, Failure> {
    let mut data = reach.data.clone();
    if !reach.config.is_empty() {
        let document = Document::load(&reach.config)?;
        let mut faults = Faults::new();
        let access = document.root().get("access").and_then(|access| access.get(key));
        let file: Option<PathBuf> = access.and_then(|node| node.read(&mut faults));
        if data.is_none() {
            data = document.root().get("data").and_then(|node| node.read(&mut faults));
        }
        faults.into_result()?;
        if let Some(file) = file {
            return Ok(file);
        }
    }
    let is_named = data.is_some() || !reach.config.is_empty();
    let data = data.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA));
    if !is_named && !data.is_dir() {
        return Err(Failure::setup(
            format!("there is no `{}` here, where a `longshore up` would keep its data", data.display()),
            "name the configuration of your Longshore with --config, or its data directory with --data",
        ));
    }
    Ok(data.join(name))
}

/// Whether nothing is at `file` yet.
pub(crate) fn is_new(file: &Path) -> bool {
    !file.exists()
}

/// Says where a file was made: a path in a configuration is looked for from where a command runs, which may be another
/// place than where Longshore runs.
pub(crate) fn say_where(file: &Path) {
    let whole = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    eprintln!(
        "note: `{}` is new; it counts where the running Longshore reads that very file (run the command in its \
         directory, or configure a whole path)",
        whole.display()
    );
}
