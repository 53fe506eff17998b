//! Plays one case.

use std::{
    fmt::Write,
    panic::AssertUnwindSafe,
    process::{Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use futures::FutureExt;
use proto::{CauseKind, Event, Job, Operation, State, Timestamp};
use serde_json::{Value, json};

use crate::{
    case::{Case, Expected, Step, is_like, merge},
    images::Images,
    lab::{Service, docker, environment},
    stage::{Stage, code, job},
    text::Stack,
};

/// Longest wait for one end: the longest window, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// A case with the service it is played on.
pub(crate) struct Play<'a> {
    case: &'a Case,
    images: &'a Images,
    /// Whether every reason must come in the words of the case.
    in_its_words: bool,
    /// The service, or the one that is called `web` in the stack.
    service: Service,
    /// A stack that is deployed from texts.
    stack: Option<Stack>,
    jobs: Mutex<Vec<Job>>,
    /// Tasks that may not be replaced.
    noted: Mutex<Option<Vec<String>>>,
}

/// One worker for all cases, each with a target of the case's name.
pub(crate) fn configuration(plays: &[Play<'_>]) -> String {
    let host = environment("LONGSHORE_TEST_DOCKER");
    let mut text = format!(
        "worker: {{takeover_after: 2s, grace: 100ms, at_once: 100}}\n\
         systems:\n  swarm: {{kind: swarm, host: \"{host}\", at_once: 32}}\ntargets:\n"
    );
    for play in plays {
        let mut target = match &play.stack {
            Some(stack) => json!({"at": "swarm", "stack": stack.name}),
            None => json!({"at": "swarm", "service": play.service.name}),
        };
        merge(&mut target, &Value::Object(play.case.target.clone()));
        writeln!(text, "  {}: {target}", play.case.name).unwrap();
    }
    text
}

impl<'a> Play<'a> {
    pub(crate) async fn make(case: &'a Case, images: &'a Images, in_its_words: bool) -> Play<'a> {
        let image = images.named(&case.image).to_string();
        let stack = case.is_of_texts().then(Stack::new);
        let service = if let Some(stack) = &stack {
            Service { name: format!("{}_web", stack.name) }
        } else if case.stack {
            stack_deploy(&case.name, &image);
            let service = Service { name: format!("{}_web", case.name) };
            service.wait_for("its tasks to run", async |service| !service.tasks().await.is_empty()).await;
            service
        } else {
            Service::create(&image, |spec| merge(spec, &case.service)).await
        };
        Play { case, images, in_its_words, service, stack, jobs: Mutex::default(), noted: Mutex::default() }
    }

    /// # Errors
    /// What was not as it must be.
    pub(crate) async fn play(&self, stage: &Stage) -> Result<(), String> {
        let name = &self.case.name;
        let all = async {
            for step in &self.case.steps {
                self.take(step, stage).await;
            }
            let mut wrong = Vec::new();
            for number in 0..self.case.ends.len() {
                wrong.extend(self.judge(number, &self.come_to(number, stage).await));
            }
            wrong.extend(self.look_at_what_is_left().await);
            wrong
        };
        match AssertUnwindSafe(all).catch_unwind().await {
            Ok(wrong) if wrong.is_empty() => Ok(()),
            Ok(wrong) => Err(format!("{name}: {}", wrong.join("\n    "))),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                Err(format!("{name}: {said}"))
            }
        }
    }

    async fn take(&self, step: &Step, stage: &Stage) {
        match step {
            Step::Deploy(image) => self.deploy(image, stage, |_| ()).await,
            Step::DeployWithin(image, seconds) => {
                let left = Duration::from_secs(*seconds);
                self.deploy(image, stage, |job| job.deadline = Timestamp::now() + left).await;
            }
            Step::DeployText(text) => {
                let operation = Operation::DeployStack(text.whole(self.images));
                let edit = |job: &mut Job| {
                    job.slots = operation.slots();
                    job.operation = operation;
                };
                self.deploy("good-1", stage, edit).await;
            }
            Step::Release(image) => {
                self.deploy(image, stage, |job| job.cause.kind = CauseKind::Release).await;
            }
            Step::Rolls => self.service.wait_until_it_rolls().await,
            Step::OneRuns => {
                let rolls = async |service: &Service| {
                    let tasks = service.tasks().await;
                    let runs = |task: &&Value| task["Status"]["State"] == "running";
                    // What it ran at first was named without a digest.
                    let image = Some(service.image().await).filter(|image| image.contains('@'));
                    let is_new = |task: &Value| {
                        Some(task["Spec"]["ContainerSpec"]["Image"].as_str()) == Some(image.as_deref())
                    };
                    image.is_some() && tasks.iter().filter(runs).any(is_new)
                };
                self.service.wait_for("a new task to run", rolls).await;
            }
            Step::Ended(number) => drop(self.come_to(*number, stage).await),
            Step::ByHand(patch) => self.by_hand(patch).await,
            Step::RollbackByHand => {
                docker(&["service", "rollback", "--detach", &self.service.name]);
            }
            Step::StackDeploy(image) => {
                stack_deploy(self.stack_name(), &self.images.named(image).to_string());
            }
            Step::NoteTasks => {
                let tasks = self.tasks().await;
                *self.noted.lock().unwrap() = Some(tasks);
            }
        }
    }

    async fn deploy(&self, image: &str, stage: &Stage, edit: impl FnOnce(&mut Job)) {
        let mut job = job(&self.case.name, &self.images.named(image).to_string());
        edit(&mut job);
        stage.accept(&job).await;
        self.jobs.lock().unwrap().push(job);
    }

    fn stack_name(&self) -> &str {
        self.stack.as_ref().map_or(&self.case.name, |stack| &stack.name)
    }

    /// The tasks of the service that are meant to run, by their ids.
    async fn tasks(&self) -> Vec<String> {
        let tasks = self.service.tasks().await;
        let mut ids: Vec<String> = tasks.iter().map(|task| task["ID"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }

    async fn by_hand(&self, patch: &Value) {
        let mut patch = patch.clone();
        if let Some(image) = patch.pointer_mut("/TaskTemplate/ContainerSpec/Image") {
            *image = json!(self.images.pinned(image.as_str().unwrap()).await.to_string());
        }
        self.service.edit_by_hand(|spec| merge(spec, &patch)).await;
    }

    /// Waits until the job with that number has ended, or is held where that is expected.
    async fn come_to(&self, number: usize, stage: &Stage) -> Event {
        let job = self.jobs.lock().unwrap()[number].clone();
        let held = self.case.ends[number].state == "held";
        let last = |event: &Event| event.state().is_end() || held && event.state() == State::Held;
        let events = stage.until_within(PATIENCE, &job, |events| events.iter().any(last)).await;
        events.into_iter().find(last).unwrap()
    }

    fn judge(&self, number: usize, event: &Event) -> Vec<String> {
        let Expected { state, code: expected, text, tasks, by } = &self.case.ends[number];
        let node = docker(&["info", "--format", "{{.Name}}"]);
        let text = text.replace("{service}", &self.service.name).replace("{stack}", self.stack_name());
        let text = text.replace("{node}", node.trim());
        let said = event.data.reason.as_ref().map_or("", |reason| &reason.text);
        let counted = event.data.tasks.map(|tasks| format!("{}/{}", tasks.running, tasks.wanted));
        let by = by.map(|number| self.jobs.lock().unwrap()[number].id);
        let right = event.state().to_string() == *state
            && code(event) == expected
            && (!self.in_its_words || is_like(said, &text))
            && (tasks.is_none() || *tasks == counted)
            && (by.is_none() || by == event.data.by);
        let output = event.data.output.join(" | ");
        let told = format!(
            "job {number} is {} {} `{said}` {counted:?} by {:?}, not {state} {expected} `{text}`; output: {output}",
            event.state(),
            code(event),
            event.data.by
        );
        if right { Vec::new() } else { vec![told] }
    }

    async fn look_at_what_is_left(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(image) = &self.case.leaves.image {
            let (stands, image) = (self.service.image().await, self.images.pinned(image).await.to_string());
            // What somebody else wrote may stand there without a digest.
            if stands != image && !image.starts_with(&format!("{stands}@")) {
                wrong.push(format!("{stands} stands there, not {image}"));
            }
        }
        for (label, expected) in &self.case.leaves.labels {
            let found = self.service.label(label).await;
            let expected = match expected {
                Some(text) => Some(self.meaning(label, text).await),
                None => None,
            };
            if found != expected {
                wrong.push(format!("{label} is {found:?}, not {expected:?}"));
            }
        }
        wrong.extend(self.look_at_the_stack().await);
        let noted = self.noted.lock().unwrap().clone();
        if let Some(noted) = noted {
            let tasks = self.tasks().await;
            if tasks != noted {
                wrong.push(format!("the tasks {tasks:?} run, not {noted:?}"));
            }
        }
        wrong
    }

    /// The services of the stack, each with its image, where a case tells them.
    async fn look_at_the_stack(&self) -> Vec<String> {
        let Some(stack) = self.stack.as_ref().filter(|_| !self.case.leaves.services.is_empty()) else {
            return Vec::new();
        };
        let mut wrong = Vec::new();
        let (found, expected) = (stack.services(), &self.case.leaves.services);
        if !found.iter().eq(expected.keys()) {
            wrong.push(format!("the stack has {found:?}, not {expected:?}"));
        }
        for name in found {
            let Some(expected) = expected.get(&name) else { continue };
            let (stands, image) = (stack.part(&name).image().await, self.images.pinned(expected).await);
            if stands != image.to_string() {
                wrong.push(format!("{name}: {stands} stands there, not {image}"));
            }
        }
        wrong
    }

    async fn meaning(&self, label: &str, text: &str) -> String {
        if let Some(number) = text.strip_prefix('#') {
            return self.jobs.lock().unwrap()[number.parse::<usize>().unwrap()].id.to_string();
        }
        let image = self.images.pinned(text).await;
        match label {
            "longshore.bad" => image.digest().unwrap().to_string(),
            _ => image.to_string(),
        }
    }
}

fn stack_deploy(stack: &str, image: &str) {
    let text = json!({"version": "3.8", "services": {"web": {
        "image": image, "init": true, "stop_grace_period": "0s",
        "deploy": {"replicas": 1, "labels": {"team": "a"}, "update_config": {"monitor": "5s"}}
    }}});
    let mut deploy = Command::new("docker")
        .args(["stack", "deploy", "--resolve-image", "never", "-c", "-", stack])
        .env("DOCKER_HOST", environment("LONGSHORE_TEST_DOCKER"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut deploy.stdin.take().unwrap(), text.to_string().as_bytes()).unwrap();
    let done = deploy.wait_with_output().unwrap();
    assert!(done.status.success(), "docker stack deploy: {}", String::from_utf8_lossy(&done.stderr));
}
