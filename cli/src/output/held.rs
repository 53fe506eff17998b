//! What is printed of jobs that wait for a time or an approval, and of those that were approved.

use proto::{CauseKind, Job, api::JobSummary};

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
    use proto::{Reason, State};
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
        JobSummary { job, state: State::Held, held: Some(Reason::new("x", text).hint(hint)) }
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
    fn who_approved_is_told() {
        let told = lines_of(&approved()).concat();
        assert_eq!(
            told,
            "window    nights\napproves  0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42, approved by ada\n"
        );
        assert!(lines_of(&job(|_| {})).concat().starts_with("approval  needed until "));
    }
}
