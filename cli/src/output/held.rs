//! What is printed of jobs that wait for a time or an approval, and of those that were approved.

use proto::{
    CauseKind, Event, Job, State,
    api::{JobStatus, JobSummary},
};

use super::{moment, table, wished};

/// Jobs that are held, with what opens them.
pub(crate) fn table_of(jobs: &[JobSummary]) -> String {
    if jobs.is_empty() {
        return "no deploys are held\n".to_owned();
    }
    let rows = jobs.iter().map(|JobSummary { job, held, .. }| {
        let why = held.as_ref().map_or("", |reason| reason.text.as_str());
        [
            job.id.to_string(),
            moment(job.accepted_at),
            job.target.to_string(),
            wished(job),
            match approved_as(jobs, job) {
                Some(by) => format!("approved, as {}", by.id),
                None => why.to_owned(),
            },
        ]
    });
    let mut text = table(["JOB", "ACCEPTED", "TARGET", "IMAGE", "WHY"], rows);
    let mut hints: Vec<&str> =
        jobs.iter().filter_map(|status| status.held.as_ref()?.hint.as_deref()).collect();
    hints.dedup();
    hints.truncate(3);
    hints.iter().for_each(|hint| text.push_str(&format!("\nhint: {hint}")));
    text
}

/// The job of the list that stands for a held one.
fn approved_as<'a>(jobs: &'a [JobSummary], held: &Job) -> Option<&'a Job> {
    let mut made = jobs.iter().map(|status| &status.job).filter(|job| job.cause.kind == CauseKind::Approve);
    made.find(|job| job.replays == Some(held.id))
}

/// What happened to a job, without the ways to have at once what is not held any more, or was overtaken: they would undo
/// what was deployed since.
pub(crate) fn events_of(status: &JobStatus) -> Vec<Event> {
    let mut events = status.events.clone();
    for event in events.iter_mut().filter(|event| event.state() == State::Held) {
        let is_so = event.data.reason == status.held;
        event.data.reason.iter_mut().filter(|_| !is_so).for_each(|reason| reason.hint = None);
    }
    events
}

/// Why a job is held, where its events tell it otherwise: it was overtaken since.
pub(crate) fn changed(status: &JobStatus) -> Option<String> {
    let why = status.held.as_ref()?;
    let is_told = status.events.iter().any(|event| event.data.reason.as_ref() == Some(why));
    (!is_told).then(|| format!("held      {}\n", why.text))
}

/// Of a job: what holds it by its own words, which job it stands for, and who approved or released that.
pub(crate) fn lines_of(job: &Job) -> Vec<String> {
    let mut lines = Vec::new();
    if job.gates.approve {
        lines.push(format!("approval  needed until {}\n", moment(job.held_until())));
    }
    lines.extend(job.not_before.map(|time| format!("not before {}\n", moment(time))));
    lines.extend(job.gates.window.as_ref().map(|window| format!("window    {}\n", window.name)));
    let by = job.cause.by.as_deref().unwrap_or("somebody");
    lines.extend(job.replays.map(|other| match job.cause.kind {
        CauseKind::Approve => format!("approves  {other}, approved by {by}\n"),
        CauseKind::Release => format!("releases  {other}, released by {by}\n"),
        CauseKind::Hook
        | CauseKind::Api
        | CauseKind::Cli
        | CauseKind::Amqp
        | CauseKind::Poll
        | CauseKind::Replay => format!("replays   {other}\n"),
    }));
    lines
}

#[cfg(test)]
mod tests {
    use proto::Reason;
    use serde_json::json;

    use super::*;

    fn job(change: impl Fn(&mut serde_json::Value)) -> Job {
        let mut job = json!({
            "version": 1,
            "id": "0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42",
            "chain": "0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42",
            "target": "default/web",
            "operation": {"type": "set-image", "image": "docker.io/acme/web:2"},
            "slots": ["image:docker.io/acme/web"],
            "cause": {"kind": "hook"},
            "accepted_at": "2026-01-02T03:04:05Z",
            "deadline": "2026-01-02T04:04:05Z",
            "gates": {"approve": true},
        });
        change(&mut job);
        serde_json::from_value(job).unwrap()
    }

    fn approved() -> Job {
        job(|job| {
            job["replays"] = job["id"].clone();
            job["id"] = json!("0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e43");
            job["cause"] = json!({"kind": "approve", "by": "ada"});
            job["gates"] = json!({"window": {"name": "nights", "periods": [{"zone": "UTC"}]}});
        })
    }

    fn held(job: Job, text: &str, hint: &str) -> JobSummary {
        JobSummary { job, state: State::Held, held: Some(Reason::new("x", text).hint(hint)), image: None }
    }

    #[test]
    fn what_is_held_is_listed_with_what_opens_it() {
        let list = [held(job(|_| {}), "it waits to be approved", "approve it")];
        let text = table_of(&list);
        assert!(text.contains("acme/web:2  it waits to be approved"), "{text}");
        assert!(text.ends_with("\nhint: approve it"), "{text}");
        let list =
            [held(approved(), "the window is closed", "wait"), held(job(|_| {}), "it waits", "approve it")];
        let text = table_of(&list);
        assert!(text.contains("acme/web:2  approved, as 0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e43"), "{text}");
    }

    #[test]
    fn what_was_overtaken_is_told_without_a_way_to_have_it_at_once() {
        let job = job(|_| {});
        let mut event = Event::of(&job, State::Held, 0, 1);
        let why = Reason::new("window", "the window is closed").hint("deploy it --now");
        event.data.reason = Some(why.clone());
        let of = |held| JobStatus {
            job: job.clone(),
            state: State::Held,
            events: vec![event.clone()],
            held,
            waits: None,
            letter: None,
        };
        let told = super::super::story(&of(Some(why)), "");
        assert!(told.contains("deploy it --now") && !told.contains("\nheld "), "{told}");
        let told = super::super::story(&of(Some(Reason::new("newer-wish", "overtaken by 7"))), "");
        assert!(told.contains("\nheld      overtaken by 7\n") && !told.contains("--now"), "{told}");
        let told = super::super::story(&JobStatus { state: State::Superseded, ..of(None) }, "");
        assert!(told.contains("the window is closed") && !told.contains("--now"), "{told}");
    }

    #[test]
    fn who_approved_is_told() {
        let told = lines_of(&approved()).concat();
        assert_eq!(
            told,
            "window    nights\napproves  0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42, approved by ada\n"
        );
        assert!(lines_of(&job(|_| {})).concat().starts_with("approval  needed until "));
    }
}
