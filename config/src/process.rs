//! What every process of Longshore does alike: its log and its end.

use std::io::IsTerminal;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::json_lines::JsonLines;

/// Starts the log on standard error, in colour on a terminal only.
///
/// `LONGSHORE_LOG`, else `RUST_LOG`, says what is logged, as in `info,worker=debug`; without them it is `info`, with
/// `verbose` `debug` for Longshore's own parts. The broker's client library is silent unless the filter names it. With `LONGSHORE_LOG_FORMAT=json` each line
/// is a JSON object. A second call changes nothing.
pub fn init_logging(verbose: bool) {
    init_logging_at(if verbose {
        "info,cli=debug,longshore=debug,config=debug,queue=debug,ingress=debug,worker=debug,notifier=debug"
    } else {
        "info"
    });
}

/// The broker's client library shows whole messages in lines of its own. They are off unless a filter names it:
/// what is worth telling of the broker, our own lines tell.
const SILENT: &str = "lapin";

fn without_silent(filter: &str) -> String {
    if filter.contains(SILENT) { filter.to_owned() } else { format!("{filter},{SILENT}=off") }
}

/// As [`init_logging`], with a filter of the caller's own for where the environment says nothing.
pub fn init_logging_at(default: &str) {
    let given = ["LONGSHORE_LOG", "RUST_LOG"].into_iter().find_map(|name| {
        std::env::var(name).ok().filter(|filter| !filter.is_empty()).map(|filter| (name, filter))
    });
    let (filter, refused) = match given {
        None => (EnvFilter::new(without_silent(default)), None),
        Some((name, filter)) => match EnvFilter::try_new(without_silent(&filter)) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new(without_silent(default)), Some((name, error))),
        },
    };
    let format = std::env::var(FORMAT).ok().filter(|format| !format.is_empty());
    // Where nothing can be written any more, as on a full disk, lines are lost and nothing else: to tell of it in the same
    // place would panic.
    let log = tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match format.as_deref() {
        Some("json") => log.event_format(JsonLines).try_init(),
        Some(_) | None => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    if started.is_err() {
        return;
    }
    if let Some((name, error)) = refused {
        tracing::warn!(%error, "{name} is not a log filter, logging {default}");
    }
    if let Some(format) = format.filter(|format| !["json", "text"].contains(&format.as_str())) {
        tracing::warn!(format, "{FORMAT} is `json` or `text`, logging text");
    }
}

/// The variable that says how the log is written.
const FORMAT: &str = "LONGSHORE_LOG_FORMAT";

/// SIGINT (Ctrl-C) and SIGTERM, by which the process is asked to end; they no longer end it by themselves then.
#[derive(Debug)]
pub struct Endings {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Endings {
    /// Listens from now on: what comes before somebody waits for it is not missed. Must be called within a tokio runtime.
    #[must_use]
    pub fn listen() -> Endings {
        Endings { interrupt: listen(SignalKind::interrupt()), terminate: listen(SignalKind::terminate()) }
    }

    /// Returns at the next one. Dropping the future misses none.
    pub async fn next(&mut self) {
        tokio::select! {
            () = received(&mut self.interrupt) => tracing::info!("received SIGINT, ending"),
            () = received(&mut self.terminate) => tracing::info!("received SIGTERM, ending"),
        }
    }
}

/// Returns when the process is asked to end from now on. Must be called within a tokio runtime.
pub async fn shutdown_signal() {
    Endings::listen().next().await;
}

/// SIGHUP, by which people ask for the configuration to be read again; it no longer ends the process then.
#[derive(Debug)]
pub struct Hangups(Option<Signal>);

impl Hangups {
    /// Listens from now on. Must be called within a tokio runtime.
    #[must_use]
    pub fn listen() -> Hangups {
        Hangups(listen(SignalKind::hangup()))
    }

    /// Returns at the next one; false where they cannot be listened to.
    pub async fn next(&mut self) -> bool {
        match &mut self.0 {
            Some(signal) => signal.recv().await.is_some(),
            None => false,
        }
    }
}

fn listen(kind: SignalKind) -> Option<Signal> {
    match signal(kind) {
        Ok(signal) => Some(signal),
        Err(error) => {
            tracing::error!(%error, "cannot listen for signal {}", kind.as_raw_value());
            None
        }
    }
}

/// Waits for the signal; for ever where it cannot be listened to, its default action then ends the process.
async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_process_asked_to_end_knows_it_however_late_it_looks() {
        let mut endings = Endings::listen();
        for name in ["TERM", "INT", "TERM"] {
            {
                let mut ending = pin!(endings.next());
                tokio::select! {
                    biased;
                    () = &mut ending => panic!("nobody asked yet"),
                    () = std::future::ready(()) => {}
                }
            }
            let kill = format!("kill -{name} {}", std::process::id());
            assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
            tokio::time::timeout(Duration::from_secs(10), endings.next()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_hangup_is_told_and_ends_nothing() {
        let mut hangups = Hangups::listen();
        for _ in 0..2 {
            let kill = format!("kill -HUP {}", std::process::id());
            assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
            assert!(tokio::time::timeout(Duration::from_secs(10), hangups.next()).await.unwrap());
        }
    }

    #[test]
    fn the_brokers_client_is_silent_unless_it_is_named() {
        assert_eq!(without_silent("info,worker=debug"), "info,worker=debug,lapin=off");
        assert_eq!(without_silent("debug,lapin=trace"), "debug,lapin=trace");
        let filter = EnvFilter::new(without_silent("debug")).to_string();
        assert!(filter.contains("lapin=off") && filter.contains("debug"), "{filter}");
    }

    #[test]
    fn the_log_may_be_started_twice() {
        init_logging(true);
        init_logging(false);
        assert!(tracing::dispatcher::has_been_set());
    }
}
