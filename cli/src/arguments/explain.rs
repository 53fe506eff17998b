//! What can be typed about a message or an image that nobody sends.

use std::path::PathBuf;

use clap::Args;

/// What `explain` takes.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// An image with its tag, or `@FILE` with the body of a webhook (`@-`: standard input)
    #[arg(value_name = "IMAGE|@FILE")]
    pub(crate) what: String,

    /// Who sent the body: a kind of source, as `github` or `harbor`, or a source of the configuration by its name
    #[arg(long, value_name = "KIND")]
    pub(crate) source: Option<String>,

    /// The registry's host, instead of the one in the body
    #[arg(long, value_name = "HOST")]
    pub(crate) registry: Option<String>,

    /// A header that came with the body, as `X-GitHub-Event: package`; several are given one by one
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,

    /// A configuration file, which says who follows the image; several are merged by key, the later one wins. Without
    /// any, the server that runs says who follows it
    #[arg(long = "config", value_name = "FILE")]
    pub(crate) config: Vec<PathBuf>,

    /// The data directory of a `longshore up` on this machine [default: ./longshore-data]
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(crate) data: Option<PathBuf>,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(':').ok_or("expected a name and a value, as in `X-GitHub-Event: push`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
