//! `GET /metrics`: numbers for Prometheus. docs/operating.md tells what they mean and which are worth an alarm.

use std::fmt::{Display, Write};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{App, health::takes_hooks};

/// The form in which Prometheus reads.
const FORM: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn metrics(State(ingress): State<App>) -> Response {
    let mut page = Page::default();
    write_queue(&mut page, &ingress);
    write_jobs(&mut page, &ingress);
    write_pools(&mut page, &ingress);
    write_refusals(&mut page, &ingress);
    write_backfills(&mut page, &ingress);
    ([(header::CONTENT_TYPE, FORM)], page.0).into_response()
}

/// Numbers as Prometheus reads them.
#[derive(Default)]
struct Page(String);

impl Page {
    /// One number.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.several(name, kind, help, [(String::new(), value)]);
    }

    /// Numbers of one name, each with its labels.
    fn several<V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        values: impl IntoIterator<Item = (String, V)>,
    ) {
        // Infallible: it is a string.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let _ = match labels.as_str() {
                "" => writeln!(self.0, "{name} {value}"),
                labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
            };
        }
    }
}

fn write_queue(page: &mut Page, ingress: &App) {
    let spool = ingress.spool.as_ref().map(|spool| spool.status());
    let (jobs, bytes) = spool.map_or((0, 0), |spool| (spool.jobs, spool.bytes));
    let failing = ingress.queue.is_failing() || spool.is_some_and(|spool| spool.failing);
    let damaged = ingress.queue.is_damaged() || spool.is_some_and(|spool| spool.damaged);
    let help = "Whether hooks are taken, be it by the broker or to be kept here.";
    page.one("longshore_ready", "gauge", help, u8::from(takes_hooks(ingress)));
    let help = "Whether the job queue can be reached and takes jobs.";
    let available = ingress.queue.is_available() && !ingress.queue.is_failing();
    page.one("longshore_broker_available", "gauge", help, u8::from(available));
    page.one("longshore_spooled_jobs", "gauge", "Jobs kept here until the broker is back.", jobs);
    page.one("longshore_spooled_bytes", "gauge", "Their bodies' size in bytes.", bytes);
    let help = "Whether jobs, here or in the embedded queue, cannot be kept because the last write to the disk failed.";
    page.one("longshore_spool_failing", "gauge", help, u8::from(failing));
    let help = "Whether the queue's file in the data directory was found damaged since the start.";
    page.one("longshore_queue_damaged", "gauge", help, u8::from(damaged));
    let read = ingress.view.read();
    let help = "Place in the history up to which it was read.";
    page.several("longshore_history_position", "gauge", help, read.position.map(|at| (String::new(), at.0)));
    let help = "When the last event was said that was read in the history.";
    let at = read.said_at.map(|at| (String::new(), at.as_second()));
    page.several("longshore_history_last_event_timestamp_seconds", "gauge", help, at);
}

fn write_jobs(page: &mut Page, ingress: &App) {
    let help = "Jobs accepted since the start.";
    page.one("longshore_jobs_accepted_total", "counter", help, ingress.counters.jobs_accepted());
    let help = "Jobs that the history told to have ended since the start, by how.";
    let ends = ingress.view.ends().into_iter().map(|(state, count)| (format!("state=\"{state}\""), count));
    page.several("longshore_jobs_ended_total", "counter", help, ends);
    let open = ingress.view.open();
    let help = "Jobs among the newest ten thousand that have not ended, by the state they are in.";
    let counts = open.iter().map(|(state, of)| (format!("state=\"{state}\""), of.count));
    page.several("longshore_jobs_open", "gauge", help, counts);
    let help = "When the oldest of them was accepted.";
    let oldest = open
        .iter()
        .filter_map(|(state, of)| of.oldest.map(|oldest| (format!("state=\"{state}\""), oldest.as_second())));
    page.several("longshore_jobs_oldest_timestamp_seconds", "gauge", help, oldest);
    let help = "Dead jobs that wait to be replayed or discarded.";
    let dead = ingress.outlook.dead().map(|dead| (String::new(), dead));
    page.several("longshore_dead_letters", "gauge", help, dead);
}

fn write_pools(page: &mut Page, ingress: &App) {
    let standings = ingress.outlook.pools.standings();
    let help = "Workers that take the pool's jobs.";
    let workers = standings.iter().map(|(pool, stands)| (format!("pool=\"{pool}\""), stands.workers));
    page.several("longshore_pool_workers", "gauge", help, workers);
    let help = "Jobs in the pool's queue that no worker has taken yet.";
    let waiting = standings.iter().map(|(pool, stands)| (format!("pool=\"{pool}\""), stands.waiting));
    page.several("longshore_pool_waiting_jobs", "gauge", help, waiting);
    let help = "Pools whose queue had no room for the last job.";
    let full = ingress.outlook.pools.full().into_iter().map(|pool| (format!("pool=\"{pool}\""), 1));
    page.several("longshore_pool_full", "gauge", help, full);
}

fn write_refusals(page: &mut Page, ingress: &App) {
    let refused = ingress.counters.hooks_refused();
    let refused = refused.map(|(kind, count)| (format!("reason=\"{}\"", kind.slug()), count));
    page.several("longshore_hooks_refused_total", "counter", "Hooks refused since the start.", refused);
    let help = "Callers not let in, or not for this.";
    let refused = ingress.audit.refused();
    let refused = refused.into_iter().map(|(kind, count)| (format!("reason=\"{}\"", kind.slug()), count));
    page.several("longshore_access_refused_total", "counter", help, refused);
}

fn write_backfills(page: &mut Page, ingress: &App) {
    let help = "Deliveries that never came and were asked for, by what became of them.";
    let fates = ingress.counters.backfills.fates();
    let fates = fates
        .into_iter()
        .map(|((source, fate), count)| (format!("source=\"{source}\",result=\"{}\"", fate.name()), count));
    page.several("longshore_missed_deliveries_total", "counter", help, fates);
    let help = "Times that missed deliveries could not be asked for.";
    let failures = ingress.counters.backfills.failures();
    let failures = failures.into_iter().map(|(source, count)| (format!("source=\"{source}\""), count));
    page.several("longshore_missed_deliveries_failures_total", "counter", help, failures);
}
