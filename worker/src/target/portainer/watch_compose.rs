//! The containers of a service that Compose runs, watched until they stay up.

use std::time::Duration;

use proto::{ImageRef, Tasks};
use tokio::{sync::mpsc, time::Instant};

use super::{
    PortainerStack,
    container::{Container, State, state_of, tasks},
    objects::Stack,
};
use crate::target::{End, Outcome, Progress};

/// How long containers have to stay up where the target does not say.
const UP_FOR: Duration = Duration::from_secs(5);
/// How much longer than that something may be wrong that may yet come right.
const DOWN_FACTOR: u32 = 2;
/// How much longer they have to stay up once one of them came down.
const DOUBT_FACTOR: u32 = 3;

/// How long the same is not said again, but for a number in it.
const SAID_FOR: Duration = Duration::from_secs(10);
/// Most lines that are kept for the end.
const MOST_LINES: usize = 40;

/// What is seen of one service.
pub(super) struct ComposeEye<'a> {
    service: String,
    progress: &'a mpsc::Sender<Progress>,
    window: Duration,
    /// Since when all are up, and how often they were started again by then.
    up: Option<(Instant, u64)>,
    down: Option<Instant>,
    fell: bool,
    done: bool,
    tasks: Option<Tasks>,
    /// The last of each kind: a loop of crashes says the same again and again, with other numbers.
    lines: Vec<String>,
    /// When something was said last.
    said: Option<Instant>,
}

impl<'a> ComposeEye<'a> {
    pub(super) fn new(
        service: &str,
        stable: Option<Duration>,
        progress: &'a mpsc::Sender<Progress>,
    ) -> ComposeEye<'a> {
        let window = stable.unwrap_or(UP_FOR);
        ComposeEye {
            service: service.to_owned(),
            progress,
            window,
            up: None,
            down: None,
            fell: false,
            done: false,
            tasks: None,
            lines: Vec::new(),
            said: None,
        }
    }

    /// What a look comes to: none while it goes on.
    pub(super) fn look(&mut self, containers: &[&Container], now: Instant) -> Option<End> {
        self.tasks = Some(tasks(containers));
        let restarts = containers.iter().map(|container| container.restarts()).sum();
        match state_of(containers) {
            State::Done => {
                self.done = true;
                Some(End::Converged)
            }
            State::Up => {
                self.down = None;
                let (since, before) = *self.up.get_or_insert((now, restarts));
                if before != restarts {
                    self.fell = true;
                    self.up = Some((now, restarts));
                    return None;
                }
                let window = if self.fell { self.window * DOUBT_FACTOR } else { self.window };
                self.say(format!(
                    "all containers are up; waiting {} s to see that they stay",
                    window.as_secs()
                ));
                (now.duration_since(since) >= window).then_some(End::Converged)
            }
            State::Comes(line) => {
                self.fell |= self.up.take().is_some();
                self.down = None;
                self.say(line);
                None
            }
            State::Down(why) => {
                self.fell = true;
                self.up = None;
                self.say(why.clone());
                let since = *self.down.get_or_insert(now);
                let reason = || proto::Reason::new(proto::reason::ROLLOUT_FAILED, why);
                (now.duration_since(since) >= self.window * DOWN_FACTOR).then(|| End::Failed(reason()))
            }
        }
    }

    pub(super) fn has_looked(&self) -> bool {
        self.tasks.is_some()
    }

    /// Whether its containers ran to a good end.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn close(self, end: End) -> Outcome {
        Outcome { tasks: self.tasks, output: self.lines, ..Outcome::of(end) }
    }

    fn say(&mut self, line: String) {
        if self.lines.last() == Some(&line) {
            return;
        }
        let kind = without_numbers(&line);
        let known = self.lines.iter().position(|said| without_numbers(said) == kind);
        let is_due = self.said.is_none_or(|said| said.elapsed() >= SAID_FOR);
        if let Some(tasks) = self.tasks.filter(|_| known.is_none() || is_due) {
            self.said = Some(Instant::now());
            let line = format!("{}: {line}", self.service);
            // Nobody waits for progress: where the reader lags, a step is left out.
            let _ = self.progress.try_send(Progress { tasks, line });
        }
        if let Some(at) = known {
            self.lines.remove(at);
        }
        self.lines.push(line);
        if self.lines.len() > MOST_LINES {
            self.lines.remove(MOST_LINES / 2);
        }
    }
}

fn without_numbers(line: &str) -> String {
    line.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

impl PortainerStack {
    /// Whether containers that are known by a tag alone run something else than what that tag is to mean.
    pub(super) async fn is_of_other_content(
        &self,
        stack: &Stack,
        containers: &[&Container],
        wanted: &ImageRef,
    ) -> bool {
        let Some(digest) = wanted.digest() else { return false };
        for container in containers.iter().filter(|container| container.is_known_by_tag()) {
            let path = format!("images/{}/json", container.image_id);
            // What cannot be told is not held against it.
            let Ok(image) = self.docker(stack, (&path, None)).await else { continue };
            let Some(known) = image["RepoDigests"].as_array().filter(|known| !known.is_empty()) else {
                continue;
            };
            let is_it = |known: &serde_json::Value| {
                known.as_str().is_some_and(|known| known.ends_with(&format!("@{}", digest.as_str())))
            };
            if !known.iter().any(is_it) {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(status: &str, restarts: u64) -> Container {
        Container::of(&json!({
            "Id": "c1", "RestartCount": restarts, "State": {"Status": status, "ExitCode": 1},
            "Config": {"Image": "acme/web:2", "Labels": {"com.docker.compose.service": "web"}},
            "HostConfig": {"RestartPolicy": {"Name": "always"}},
        }))
        .unwrap()
    }

    #[test]
    fn what_is_up_has_to_stay_so() {
        let (progress, _told) = mpsc::channel(100);
        let mut eye = ComposeEye::new("web", Some(Duration::from_secs(5)), &progress);
        let start = Instant::now();
        let mut at = |seconds: u64, status: &str, restarts| {
            eye.look(&[&container(status, restarts)], start + Duration::from_secs(seconds))
        };
        assert_eq!(at(0, "created", 0), None);
        assert_eq!(at(1, "running", 0), None);
        assert_eq!(at(4, "restarting", 0), None);
        assert_eq!(at(5, "running", 1), None);
        // It fell once: five seconds are not enough any more.
        assert_eq!(at(12, "running", 1), None);
        assert_eq!(at(13, "running", 2), None);
        assert_eq!(at(27, "running", 2), None);
        assert_eq!(at(28, "running", 2), Some(End::Converged));
    }

    #[test]
    fn what_stays_down_has_failed() {
        let (progress, _told) = mpsc::channel(100);
        let mut eye = ComposeEye::new("web", None, &progress);
        let start = Instant::now();
        assert_eq!(eye.look(&[&container("exited", 0)], start), None);
        let end = eye.look(&[&container("exited", 0)], start + Duration::from_secs(10));
        assert!(matches!(end, Some(End::Failed(reason)) if reason.text.contains("exited with 1")));
    }

    #[test]
    fn a_loop_of_crashes_is_told_once_for_each_thing_it_says() {
        let (progress, mut told) = mpsc::channel(100);
        let mut eye = ComposeEye::new("web", None, &progress);
        eye.tasks = Some(Tasks { running: 0, wanted: 1 });
        for time in 0..20 {
            eye.say(format!("was started {time} times again"));
            eye.say("exited with 1".to_owned());
        }
        let mut lines = Vec::new();
        while let Ok(progress) = told.try_recv() {
            lines.push(progress.line);
        }
        assert_eq!(lines, ["web: was started 0 times again", "web: exited with 1"]);
        assert_eq!(eye.lines, ["was started 19 times again", "exited with 1"], "the last of each is kept");
    }
}
