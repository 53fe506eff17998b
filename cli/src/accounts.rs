//! Where tokens and users are kept.

use std::path::PathBuf;

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
