//! `longshore target`: one target.

use proto::{
    ImageRef, JobId, Operation, PutOnHold, Reason, State, Tasks,
    api::{JobName, Shown as JobShown, TargetStatus},
    ask::{PortainerStackShown, TargetNow},
};
use serde::Serialize;

use super::deploy::{self, Wait};
use crate::{
    arguments::Target,
    client::Client,
    exit::Exit,
    failure::Failure,
    output::{Output, wished},
    typed,
};

pub(crate) async fn run(target: Target, output: Output) -> Result<Exit, Failure> {
    match target {
        Target::Show { name, reach } => {
            let client = super::client(&reach)?;
            let status = client.target(&name).await?;
            let (stack, course) = (stack_of(&client, &status).await, Course::of(&client, &status).await);
            let shown = Shown { stack, course, status };
            output
                .document(&shown, || format!("{}{}", told(&shown.status, &shown.course), variables(&shown)));
            Ok(Exit::Succeeded)
        }
        Target::Release(release) => {
            let client = super::client(&release.reach)?;
            let accepted = client.release(&release.name).await?;
            let reach = typed::reach(&release.reach);
            deploy::outcome(&client, &accepted, Wait::of(&release.following), (output, &reach)).await
        }
        Target::Start(of) => super::operate::run_state((of, Operation::Start), output).await,
        Target::Stop(of) => super::operate::run_state((of, Operation::Stop), output).await,
        Target::Restart(of) => super::operate::run_state((of, Operation::Restart), output).await,
        Target::Hold(hold) => super::operate::hold(hold, output).await,
        Target::Rollback(rollback) => super::operate::roll_back(rollback, output).await,
    }
}

/// So many of its newest jobs are looked through for those that have not ended.
const NEWEST: u16 = 50;

/// A target with what its system tells of it beside.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    status: TargetStatus,
    /// Of a stack of a Portainer: its numbers, its repository, its variables, what its `variables.json` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<PortainerStackShown>,
    #[serde(flatten)]
    course: Course,
}

/// What became of the jobs of a target, as far as the token may know.
#[derive(Debug, Default, Serialize)]
struct Course {
    /// How the last job ended that was applied there.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_end: Option<Ended>,
    /// Jobs that are still to come to their end, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    open: Vec<Open>,
}

#[derive(Debug, Serialize)]
struct Ended {
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

#[derive(Debug, Serialize)]
struct Open {
    job: JobId,
    state: State,
    wish: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Reason>,
}

impl Course {
    /// Of the newest jobs; what cannot be told is left out.
    async fn of(client: &Client, status: &TargetStatus) -> Course {
        let last_end = match status.now.last_job {
            Some(job) => ended(client.job(JobName::Job(job)).await.ok()),
            None => None,
        };
        let page = client.jobs(Some(&status.target.target), None, NEWEST).await;
        let jobs = page.map(|page| page.jobs).unwrap_or_default();
        let open = jobs.into_iter().filter(|job| !job.state.is_end()).map(|job| Open {
            wish: wished(&job.job),
            job: job.job.id,
            state: job.state,
            held: job.held,
        });
        Course { last_end, open: open.collect() }
    }
}

fn ended(shown: Option<JobShown>) -> Option<Ended> {
    let Some(JobShown::Job(status)) = shown else { return None };
    let end = status.events.into_iter().find(|event| event.state().is_end())?;
    Some(Ended { state: end.state(), reason: end.data.reason })
}

/// How Portainer shows the stack; what cannot be told is left out.
pub(super) async fn stack_of(client: &Client, status: &TargetStatus) -> Option<PortainerStackShown> {
    if status.now.kind != "portainer-stack" {
        return None;
    }
    client.stack_of(&status.target.target).await.ok()?
}

fn variables(shown: &Shown) -> String {
    let Some(stack) = &shown.stack else { return String::new() };
    let number = format!("{}/{}", stack.number.environment, stack.number.stack);
    let mut lines = vec![("number", number), ("state", stack.state.clone())];
    lines.extend(stack.repository.clone().map(|url| ("git", url)));
    lines.extend(stack.reference.clone().map(|reference| ("reference", reference)));
    lines.extend(stack.env.iter().map(|(name, value)| ("variable", format!("{name}={value}"))));
    lines.extend(stack.variables.iter().map(|(name, value)| ("about", format!("{name}: {}", plain(value)))));
    lines.iter().map(|(name, value)| format!("{name:<9} {value}\n")).collect()
}

/// A text without its quotes; the rest as JSON has it.
fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether it runs, and where it does not though it should, how much of it does.
fn running(now: &TargetNow) -> String {
    match now.tasks {
        _ if !now.running => "no, stopped".to_owned(),
        Some(Tasks { running: 0, wanted }) if wanted > 0 => format!("no, 0 of {wanted} tasks run"),
        Some(Tasks { running, wanted }) if running < wanted => {
            format!("in part, {running} of {wanted} tasks run")
        }
        Some(_) | None => "yes".to_owned(),
    }
}

/// `web: acme/web@sha256:…`
fn held_image(held: &PutOnHold) -> String {
    let part = held.part.as_ref().map(|part| format!("{part}: ")).unwrap_or_default();
    format!("{part}{}", held.image.familiar())
}

fn last_job(job: JobId, course: &Course) -> String {
    let Some(Ended { state, reason }) = &course.last_end else { return job.to_string() };
    let why = reason.as_ref().map(|reason| format!(": {}", reason.text)).unwrap_or_default();
    format!("{job} {state}{why}")
}

fn open(open: &Open) -> String {
    let why = open.held.as_ref().map(|reason| format!(": {}", reason.text)).unwrap_or_default();
    format!("{} {} ({}){why}", open.job, open.state, open.wish)
}

/// The images, each with what runs it where the target has parts.
fn images(now: &TargetNow) -> Vec<String> {
    if now.parts.is_empty() {
        return now.images.iter().map(ImageRef::familiar).collect();
    }
    now.parts.iter().map(|(part, image)| format!("{part}: {}", image.familiar())).collect()
}

fn told(status: &TargetStatus, course: &Course) -> String {
    let (target, now) = (&status.target, &status.now);
    let mut lines = vec![
        ("target", target.target.to_string()),
        ("at", target.system.clone()),
        ("kind", now.kind.clone()),
        ("running", running(now)),
    ];
    lines.extend(images(now).into_iter().map(|image| ("image", image)));
    lines.extend(now.tasks.map(|tasks| ("tasks", format!("{} of {} run", tasks.running, tasks.wanted))));
    lines.extend(now.trouble.iter().map(|trouble| ("trouble", trouble.clone())));
    lines.extend(now.last_job.map(|job| ("last job", last_job(job, course))));
    lines.extend(course.open.iter().map(|job| ("open job", open(job))));
    lines.extend(now.held_images.iter().map(|held| ("held", held_image(held))));
    let release = |by| format!("by {by}; `longshore target release {}`", target.target);
    lines.extend(now.on_hold.map(|by| ("on hold", release(by))));
    lines.extend(super::targets::gates(target).into_iter().map(|gate| ("waits for", gate)));
    let text = now
        .deployed
        .as_ref()
        .map(|deployed| format!("deployed by {}; `longshore stack show {}`", deployed.by, target.target));
    lines.extend(text.map(|text| ("text", text)));
    let notes = now.deployed.iter().flat_map(|deployed| &deployed.notes);
    lines.extend(notes.map(|note| ("note", note.clone())));
    lines.extend(target.follows.iter().map(|follow| ("follows", follow.to_string())));
    let faults = status.faults.iter();
    lines.extend(faults.flat_map(|fault| {
        [("mind", format!("{}: {}", fault.thing, fault.text)), ("hint", fault.hint.clone())]
    }));
    lines.iter().map(|(name, value)| format!("{name:<9} {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_keeps_a_target_from_running_is_told_first() {
        let of = |running: bool, tasks: serde_json::Value| {
            let now = json!({"kind": "swarm-service", "images": [], "running": running, "tasks": tasks});
            super::running(&serde_json::from_value(now).unwrap())
        };
        assert_eq!(of(true, json!({"running": 0, "wanted": 2})), "no, 0 of 2 tasks run");
        assert_eq!(of(true, json!({"running": 1, "wanted": 2})), "in part, 1 of 2 tasks run");
        assert_eq!(of(true, json!({"running": 2, "wanted": 2})), "yes");
        assert_eq!(of(true, json!(null)), "yes");
        assert_eq!(of(false, json!({"running": 0, "wanted": 0})), "no, stopped");
    }

    #[test]
    fn each_part_is_told_with_its_image() {
        let of = |parts: serde_json::Value| {
            let now =
                json!({"kind": "portainer-stack", "images": ["acme/web:2"], "parts": parts, "running": true});
            images(&serde_json::from_value(now).unwrap())
        };
        let two = json!({"web": "acme/web:2", "api": "acme/web:2"});
        assert_eq!(of(two), ["api: acme/web:2", "web: acme/web:2"]);
        assert_eq!(of(json!({})), ["acme/web:2"]);
    }

    #[test]
    fn the_last_job_is_told_with_its_end() {
        let job: JobId = "0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42".parse().unwrap();
        let reason = Some(Reason::new("rollout-failed", "exit 1"));
        let course = Course { last_end: Some(Ended { state: State::Failed, reason }), open: Vec::new() };
        assert_eq!(last_job(job, &course), format!("{job} failed: exit 1"));
        assert_eq!(last_job(job, &Course::default()), job.to_string());
    }
}
