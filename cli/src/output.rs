//! What is printed: text for people, JSON for programs.

pub(crate) mod dead;
pub(crate) mod held;

use std::{
    collections::{HashMap, HashSet},
    io::{self, Write},
};

use jiff::{Timestamp, tz::TimeZone};
use proto::{
    Event, ImageRef, Job, JobId, Operation, State,
    api::{JobStatus, JobSummary},
};
use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;

/// The operation whose result is in its lines.
const PRUNE: &str = "prune-images";

/// Prints in the form that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Output {
        Output { json }
    }

    /// Whether programs read it.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// A document for programs, or a text for people.
    pub(crate) fn document(self, document: &impl Serialize, text: impl FnOnce() -> String) {
        if self.json {
            line(&serde_json::to_string_pretty(document).unwrap_or_default());
        } else {
            line(text().trim_end());
        }
    }

    /// What went wrong, on standard error.
    pub(crate) fn failure(self, failure: &Failure) {
        let hint = failure.hint();
        if self.json {
            let error = json!({"error": failure.to_string(), "hint": hint, "exit": failure.exit().code()});
            eprintln!("{error}");
            return;
        }
        match failure {
            Failure::Configuration(faults) => {
                eprintln!(
                    "{faults}\nerror: the configuration cannot be used ({})",
                    count(faults.len(), "fault")
                );
            }
            Failure::Variables(faults) => {
                eprintln!(
                    "{faults}\nerror: the variables of this step cannot be used ({})",
                    count(faults.len(), "fault")
                );
            }
            Failure::Setup { .. } | Failure::Client(_) | Failure::Process { .. } => {
                eprintln!("error: {failure}");
            }
        }
        if let Some(hint) = hint {
            eprintln!("hint: {hint}");
        }
    }
}

/// A line on standard output. False when nobody reads there any more (`| head`), which is no reason to end
/// what is waited for.
pub(crate) fn line(text: &str) -> bool {
    writeln!(io::stdout().lock(), "{text}").is_ok()
}

/// Number and noun: `1 fault`, `2 faults`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Tells events as lines. Remembers what not every event repeats: each job's image or wish, and who is at work.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    wishes: HashMap<JobId, String>,
    at_work: HashSet<JobId>,
}

impl Teller {
    /// The line of an event, and the lines that explain an end that was not wished.
    pub(crate) fn tell(&mut self, event: &Event) -> String {
        let (time, target, state) = (clock(event.time), event.subject.to_string(), event.state());
        match state {
            State::Started => _ = self.at_work.insert(event.job_id()),
            State::Accepted | State::Progress => {}
            State::Held
            | State::Retrying
            | State::Succeeded
            | State::RolledBack
            | State::Failed
            | State::Dead
            | State::Superseded
            | State::Rejected
            | State::Cancelled => _ = self.at_work.remove(&event.job_id()),
        }
        let wish = self.wish(event);
        let mut text = format!("{time}  {target:<16}  {state:<11}  {wish}");
        for detail in details(event).into_iter().chain(short(event)) {
            text.push_str("  ");
            text.push_str(&detail);
        }
        // What was removed is what one wants to know of it.
        if state.is_end() && (state != State::Succeeded || wish == PRUNE) {
            let reason = event.data.reason.as_ref().map_or("", |reason| reason.text.as_str());
            let news = event.data.output.iter().filter(|line| !reason.contains(line.trim()));
            news.for_each(|line| text.push_str(&format!("\n          | {line}")));
        }
        if let Some(hint) = event.data.reason.as_ref().and_then(|reason| reason.hint.as_ref()) {
            text.push_str(&format!("\n          hint: {hint}"));
        }
        text
    }

    /// How many jobs started and neither ended nor wait for another attempt.
    pub(crate) fn at_work(&self) -> usize {
        self.at_work.len()
    }

    /// Keeps what a later event may not repeat, and tells nothing.
    pub(crate) fn remember(&mut self, event: &Event) {
        self.wish(event);
    }

    /// What an event is about, forgotten with the job's end: its image, or what is wished without one.
    fn wish(&mut self, event: &Event) -> String {
        let id = event.job_id();
        let said = event.data.image.as_ref().and_then(|change| change.to.as_ref()).map(ImageRef::familiar);
        if let Some(wish) = said.or_else(|| event.job().map(wished)) {
            self.wishes.insert(id, wish);
        }
        let known =
            if event.state().is_end() { self.wishes.remove(&id) } else { self.wishes.get(&id).cloned() };
        known.unwrap_or_default()
    }
}

/// The image a job brings, or else its operation.
pub(crate) fn wished(job: &Job) -> String {
    let operation = &job.operation;
    operation.image().map_or_else(|| operation.type_name().to_owned(), ImageRef::familiar)
}

/// What a job is, or was, to bring; with what it brought, where that had yet to be found out.
fn brought(status: &JobSummary) -> String {
    let wished = wished(&status.job);
    match (&status.image, &status.job.operation) {
        (Some(image), Operation::Rollback { .. }) => format!("{wished} to {}", image.familiar()),
        (Some(image), _) => format!("{wished}: {}", image.familiar()),
        (None, _) => wished,
    }
}

/// The end of the job's id, where the line does not hold all of it. Ids that follow one another differ in their last
/// digits first.
fn short(event: &Event) -> Option<String> {
    let id = event.job_id().to_string();
    let end = id.get(id.len().saturating_sub(8)..)?;
    (event.data.state != State::Accepted).then(|| format!("…{end}"))
}

fn details(event: &Event) -> Vec<String> {
    let data = &event.data;
    let mut details = Vec::new();
    if let Some(tasks) = data.tasks.filter(|_| data.state == State::Progress) {
        details.push(match tasks.wanted {
            0 => format!("{} still running", tasks.running),
            wanted => format!("{}/{wanted} running", tasks.running),
        });
    }
    if data.state.is_end() {
        details.extend(data.took_ms.map(|took| format!("in {}", seconds(took))));
    }
    if data.state == State::Accepted {
        details.push(format!("job {}", event.job_id()));
    }
    details.extend(data.reason.as_ref().map(|reason| reason.text.clone()));
    let names = |by: &str| data.reason.as_ref().is_some_and(|reason| reason.text.contains(by));
    details.extend(data.by.map(|by| by.to_string()).filter(|by| !names(by)).map(|by| format!("by job {by}")));
    if data.state == State::Progress {
        details.extend(data.output.last().cloned());
    }
    details
}

/// A time of day, as the clock on the wall shows it.
fn clock(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// A date and a time of day.
fn moment(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Milliseconds in seconds.
pub(crate) fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// Jobs as a table.
pub(crate) fn table_of_jobs(jobs: &[JobSummary]) -> String {
    if jobs.is_empty() {
        return "no deploys\n".to_owned();
    }
    let rows = jobs.iter().map(|status| {
        let Job { id, target, accepted_at, .. } = &status.job;
        [id.to_string(), moment(*accepted_at), target.to_string(), status.state.to_string(), brought(status)]
    });
    table(["JOB", "ACCEPTED", "TARGET", "STATE", "IMAGE"], rows)
}

/// A job and everything that happened to it.
///
/// `reach` is how a further command finds the same Longshore.
pub(crate) fn story(status: &JobStatus, reach: &str) -> String {
    let job = &status.job;
    let what = match job.operation.image() {
        Some(image) => format!("image     {image}\n"),
        None => format!("wish      {}\n", job.operation.type_name()),
    };
    let mut text = format!(
        "job       {}\ntarget    {}\n{what}state     {}\naccepted  {}\n",
        job.id,
        job.target,
        status.state,
        moment(job.accepted_at)
    );
    text.extend(held::lines_of(job));
    text.extend(held::changed(status));
    text.extend(status.waits.as_ref().map(|reason| format!("waits     {}\n", reason.text)));
    let mut teller = Teller::default();
    for event in held::events_of(status) {
        text.push_str(&format!("\n{}", teller.tell(&event)));
    }
    if let Some(letter) = &status.letter {
        text.push('\n');
        text.push_str(&dead::letter_of(letter, job.id, reach));
    }
    text
}

/// Rows under their heads, as wide as they need to be.
pub(crate) fn table<const N: usize>(heads: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(heads.map(str::to_owned)).chain(rows).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use proto::{Reason, Tasks};

    use super::*;

    fn job() -> Job {
        serde_json::from_value(json!({
            "version": 1,
            "id": "0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42",
            "chain": "0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42",
            "target": "default/web",
            "operation": {"type": "set-image", "image": "docker.io/acme/web:2"},
            "slots": ["image:docker.io/acme/web"],
            "cause": {"kind": "cli"},
            "accepted_at": "2026-01-02T03:04:05Z",
            "deadline": "2026-01-02T04:04:05Z",
        }))
        .unwrap()
    }

    #[test]
    fn a_rollback_is_listed_with_what_it_went_back_to() {
        let operation = Operation::Rollback { service: None, job: None, image: None };
        let mut back =
            JobSummary { job: Job { operation, ..job() }, state: State::Started, held: None, image: None };
        assert!(table_of_jobs(std::slice::from_ref(&back)).ends_with("  rollback"));
        back.image = "docker.io/acme/web:1".parse().ok();
        assert!(table_of_jobs(&[back]).ends_with("  rollback to acme/web:1"));
    }

    fn told(teller: &mut Teller, event: &Event) -> String {
        // The clock on the wall differs between machines.
        teller.tell(event)[8..].to_owned()
    }

    #[test]
    fn a_life_is_told_in_lines() {
        let (job, mut teller) = (job(), Teller::default());
        assert_eq!(
            told(&mut teller, &Event::of(&job, State::Accepted, 0, 0)),
            "  default/web       accepted     acme/web:2  job 0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42"
        );
        let mut progress = Event::of(&job, State::Progress, 1, 1);
        progress.data.tasks = Some(Tasks { running: 1, wanted: 3 });
        assert_eq!(
            told(&mut teller, &progress),
            "  default/web       progress     acme/web:2  1/3 running  …5d1c9e42"
        );
        let mut failed = Event::of(&job, State::Failed, 1, 0);
        failed.data.took_ms = Some(12_345);
        failed.data.output = vec!["exit code 1".to_owned(), "the new tasks did not stay up".to_owned()];
        failed.data.reason =
            Some(Reason::new("rollout-failed", "the new tasks did not stay up").hint("read the logs"));
        assert_eq!(
            told(&mut teller, &failed),
            "  default/web       failed       acme/web:2  in 12.3 s  the new tasks did not stay up  …5d1c9e42\n          \
             | exit code 1\n          hint: read the logs"
        );
        assert!(teller.wishes.is_empty());
    }

    #[test]
    fn what_one_has_to_know_beside_a_success_is_told_with_it() {
        let (job, mut teller) = (job(), Teller::default());
        teller.remember(&Event::of(&job, State::Accepted, 0, 0));
        let mut succeeded = Event::of(&job, State::Succeeded, 1, 0);
        succeeded.data.output = vec!["verify: Service converged".to_owned()];
        succeeded.data.reason =
            Some(Reason::new("stopped", "it is stopped: nothing was started").hint("start it"));
        assert_eq!(
            told(&mut teller, &succeeded),
            "  default/web       succeeded    acme/web:2  it is stopped: nothing was started  …5d1c9e42\n          \
             hint: start it"
        );
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "bcd".to_owned()], ["longer".to_owned(), String::new()]];
        assert_eq!(table(["X", "Y"], rows), "X       Y\na       bcd\nlonger");
    }
}
