//! The windows that the configuration declares.

use std::collections::BTreeMap;

use proto::{Window, window::Period};

/// All windows, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Windows(BTreeMap<String, Vec<Period>>);

/// A window that nobody declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no window `{0}`")]
pub(crate) struct UnknownWindow(pub(crate) String);

impl Windows {
    pub(crate) fn new(windows: BTreeMap<String, Vec<Period>>) -> Windows {
        Windows(windows)
    }

    /// The window of these names, several of them separated by commas: open where any of them opens, and closed where
    /// any of them freezes.
    ///
    /// # Errors
    /// Names the first that nobody declared.
    pub(crate) fn named(&self, names: &str) -> Result<Window, UnknownWindow> {
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        let periods =
            names.iter().map(|name| self.0.get(*name).ok_or_else(|| UnknownWindow((*name).to_owned())));
        let periods: Vec<&Vec<Period>> = periods.collect::<Result<_, _>>()?;
        Ok(Window { name: names.join(","), periods: periods.into_iter().flatten().cloned().collect() })
    }

    /// The names, in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
