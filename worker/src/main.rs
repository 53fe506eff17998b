//! `longshore-worker`: takes jobs and carries them out, beside the systems it has the keys to.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use config::{Document, Faults, process};
use tokio_util::sync::CancellationToken;

/// Usage or configuration.
const MISUSED: u8 = 2;

/// Sections of other programs in the same file: known, and left alone.
const OTHERS: [&str; 6] = ["version", "queue", "listen", "public_url", "sources", "access"];

/// Takes deploy jobs, carries them out, and says what became of them.
///
/// It reads `data`, `queue`, `worker`, `registries`, `systems` and `targets` of the configuration, and opens nothing of
/// `sources` and `access`.
#[derive(Parser)]
#[command(name = "longshore-worker", version)]
struct Arguments {
    /// A configuration file; of several the later ones add to the earlier.
    #[arg(long, value_name = "FILE", required = true)]
    config: Vec<PathBuf>,
    /// Keep the data here instead of where the configuration says.
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// Log more of what goes on.
    #[arg(long, short)]
    verbose: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    process::init_logging(arguments.verbose);
    let (worker, queue) = match configuration(&arguments) {
        Ok(configuration) => configuration,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(MISUSED);
        }
    };
    match run(worker, queue) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn configuration(arguments: &Arguments) -> Result<(worker::Settings, queue::Settings), Faults> {
    let mut faults = Faults::new();
    let document = Document::load_into(&arguments.config, &mut faults);
    let configuration = document.and_then(|document| {
        let known: Vec<&str> = [worker::Settings::SECTIONS, &OTHERS].concat();
        document.root().known_keys(&known, &mut faults);
        let worker = worker::Settings::read(&document, &mut faults);
        let queue = queue::Settings::read(document.root(), &mut faults);
        let worker = match &arguments.data {
            Some(data) => worker?.with_data(data),
            None => worker?,
        };
        Some((worker, queue?))
    });
    configuration.filter(|_| faults.is_empty()).ok_or(faults)
}

#[tokio::main]
async fn run(worker: worker::Settings, queue: queue::Settings) -> Result<()> {
    let queue = queue::open(&queue, worker.data()).await.context("cannot open the job queue")?;
    let stop = CancellationToken::new();
    let signalled = stop.clone();
    tokio::spawn(async move {
        process::shutdown_signal().await;
        signalled.cancel();
    });
    let ran = worker::run(worker, queue.clone(), stop).await;
    queue.close().await;
    ran.context("cannot work")
}
