//! What GitHub says to the tokens of `backfill` before the first outage: one that cannot fetch is noticed else only when
//! deliveries are missing.

use std::error::Error;

use super::{BackfillSettings, github::GithubClient};
use crate::settings::Settings;

/// What is behind one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// The source's name in the configuration.
    pub source: String,
    /// What is there, line by line.
    pub found: Vec<String>,
    /// What is missing or will not work, line by line.
    pub missing: Vec<String>,
}

/// Asks for every source what it fetches from: one call each. Nothing is taken or changed.
pub async fn connect(settings: &Settings) -> Vec<Connected> {
    let mut all = Vec::new();
    for (name, source) in &settings.sources {
        let Some(backfill) = &source.backfill else { continue };
        let mut told = Connected { source: name.clone(), found: Vec::new(), missing: Vec::new() };
        match ask(backfill).await {
            Ok(line) => told.found.push(line),
            Err(line) => told.missing.push(line),
        }
        all.push(told);
    }
    all
}

async fn ask(backfill: &BackfillSettings) -> Result<String, String> {
    let hook = format!("hook {} of {}", backfill.hook, backfill.place.told());
    let asked = async { GithubClient::new(backfill)?.glance().await };
    match asked.await {
        Ok(()) => Ok(format!("GitHub: missed deliveries of the {hook} can be fetched")),
        Err(error) => {
            Err(format!("missed deliveries of the {hook} cannot be fetched: {}", in_one_line(&error)))
        }
    }
}

/// An error with its causes. None of them repeats the token: it goes into a header alone.
fn in_one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
