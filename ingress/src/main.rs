//! `longshore-ingress`: takes webhooks and calls of the API, on a machine that knows no target's credentials.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Parser;
use config::{Document, Faults, process};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Usage or configuration.
const MISUSED: u8 = 2;

/// Sections of other programs in the same file: known, and left alone.
const OTHERS: [&str; 7] = ["version", "data", "queue", "registries", "systems", "windows", "notify"];

/// Takes webhooks and calls of the API and makes deploy jobs of them.
///
/// It reads `listen`, `public_url`, `data`, `queue`, `sources`, `targets` and `access` of the configuration, and opens
/// nothing of `systems`, `registries` and `notify`.
#[derive(Parser)]
#[command(name = "longshore-ingress", version)]
struct Arguments {
    /// A configuration file; of several the later ones add to the earlier.
    #[arg(long, value_name = "FILE", required = true)]
    config: Vec<PathBuf>,
    /// Listen here instead of what the configuration says.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Keep the data here instead of where the configuration says.
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// Log more of what goes on.
    #[arg(long, short)]
    verbose: bool,
}

/// What the configuration says to this program.
struct Configuration {
    ingress: ingress::Settings,
    queue: queue::Settings,
    data: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    process::init_logging(arguments.verbose);
    let configuration = match configuration(&arguments) {
        Ok(configuration) => configuration,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(MISUSED);
        }
    };
    match run(&arguments, configuration) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn configuration(arguments: &Arguments) -> Result<Configuration, Faults> {
    let mut faults = Faults::new();
    let document = Document::load_into(&arguments.config, &mut faults);
    let configuration = document.and_then(|document| {
        let root = document.root();
        let known: Vec<&str> = [ingress::Settings::SECTIONS, &OTHERS].concat();
        root.known_keys(&known, &mut faults);
        let ingress = ingress::Settings::read(&document, &mut faults);
        let queue = queue::Settings::read(root, &mut faults);
        let data = match &arguments.data {
            Some(data) => Some(data.clone()),
            None => root.get("data").map_or(Some("./longshore-data".into()), |node| node.read(&mut faults)),
        };
        Some(Configuration { ingress: ingress?, queue: queue?, data: data? })
    });
    configuration.filter(|_| faults.is_empty()).ok_or(faults)
}

#[tokio::main]
async fn run(arguments: &Arguments, configuration: Configuration) -> Result<()> {
    let Configuration { ingress, queue, data } = configuration;
    let ingress = with_admin(ingress, &data)?;
    let address = arguments.listen.unwrap_or(ingress.listen());
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let queue = queue::open(&queue, &data).await.context("cannot open the job queue")?;
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    let ran = ingress::run(ingress, queue.clone(), listener, stop).await;
    queue.close().await;
    ran.context("cannot serve")
}

/// Without a configured token there is one in the data directory, made at the first start.
fn with_admin(ingress: ingress::Settings, data: &Path) -> Result<ingress::Settings> {
    if ingress.has_tokens() {
        return Ok(ingress);
    }
    let path = data.join(ingress::ADMIN_TOKEN_FILE);
    let hash = ingress::TokenHash::kept_in(&path)
        .with_context(|| format!("cannot keep the token of the API in {}", path.display()))?;
    tracing::info!(file = %path.display(), "the token of the API is in this file");
    Ok(ingress.with_admin_token(hash))
}

async fn stop_on_signal(stop: CancellationToken) {
    process::shutdown_signal().await;
    stop.cancel();
}
