//! What people are told of a rollout, in the words they know from the docker CLI.

use std::time::Duration;

use proto::Tasks;
use tokio::{sync::mpsc, time::Instant};

use super::{service::UpdateState, watch::Snapshot};
use crate::target::{End, Progress};

/// At most two utterances a second.
const PAUSE: Duration = Duration::from_millis(500);
/// The lines a terminal event carries at most; of a longer rollout the middle is left out.
const MOST_LINES: usize = 40;

const FAILED: &str = "service update failed";

/// Tells each change once, not too often, and keeps the lines.
pub(super) struct Report<'a> {
    progress: &'a mpsc::Sender<Progress>,
    /// The service, where others are told of beside it.
    service: Option<String>,
    said: Option<(Progress, Instant)>,
    lines: Vec<String>,
    rolls_back: bool,
}

impl<'a> Report<'a> {
    pub(super) fn new(progress: &'a mpsc::Sender<Progress>) -> Report<'a> {
        Report { progress, service: None, said: None, lines: Vec::new(), rolls_back: false }
    }

    /// The same of one service among others: how far it is, is told with its name.
    pub(super) fn of_service(service: &str, progress: &'a mpsc::Sender<Progress>) -> Report<'a> {
        Report { service: Some(service.to_owned()), ..Report::new(progress) }
    }

    /// Tells how far it is, if that is new. Called again and again, so what came too soon is told later.
    pub(super) fn say(&mut self, tasks: Tasks, line: String, now: Instant) {
        self.keep(&line);
        let line = match &self.service {
            Some(service) => format!("{service}: {line}"),
            None => line,
        };
        let next = Progress { tasks, line };
        let due = match &self.said {
            Some((said, at)) => *said != next && now.duration_since(*at) >= PAUSE,
            None => true,
        };
        // Nobody waits for progress: where the reader lags, a step is left out.
        if due && self.progress.try_send(next.clone()).is_ok() {
            self.said = Some((next, now));
        }
    }

    /// Notes once that, and why, the engine rolls back.
    pub(super) fn note_rollback(&mut self, why: &str) {
        if !self.rolls_back {
            self.rolls_back = true;
            self.keep(&told("rollback", why));
        }
    }

    /// The lines of the whole rollout, with its end.
    pub(super) fn close(mut self, snapshot: &Snapshot, end: &End) -> Vec<String> {
        for failing in snapshot.failures() {
            self.keep(&failing.to_string());
        }
        match end {
            End::Converged => {
                let Tasks { running, wanted } = snapshot.count.tasks();
                self.keep(&format!("overall progress: {running} out of {wanted} tasks"));
                self.keep("verify: Service converged");
            }
            End::RolledBack(_) => self.keep(&told("service rolled back", &snapshot.message)),
            End::Failed(_) => {
                let what = match snapshot.update {
                    Some(UpdateState::Paused) => "service update paused",
                    Some(UpdateState::RollbackPaused) => "service rollback paused",
                    Some(
                        UpdateState::Updating
                        | UpdateState::Completed
                        | UpdateState::RollbackStarted
                        | UpdateState::RollbackCompleted,
                    )
                    | None => FAILED,
                };
                // The engine's own words are of a success then, or of something that goes on.
                let is_paused = what != FAILED;
                self.keep(&told(what, if is_paused { &snapshot.message } else { "" }));
            }
            End::Superseded { reason, .. } => self.keep(&reason.text),
        }
        self.lines
    }

    fn keep(&mut self, line: &str) {
        if self.lines.last().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() == MOST_LINES {
            self.lines.remove(MOST_LINES / 2);
        }
        self.lines.push(line.to_owned());
    }
}

fn told(what: &str, words: &str) -> String {
    if words.is_empty() { what.to_owned() } else { format!("{what}: {words}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Tasks = Tasks { running: 1, wanted: 2 };

    #[test]
    fn each_change_is_told_once_and_at_most_twice_a_second() {
        let (sender, mut told) = mpsc::channel(16);
        let mut report = Report::new(&sender);
        let start = Instant::now();
        for step in 0..40 {
            report.say(HALF, format!("line {}", step / 2), start + Duration::from_millis(100) * step);
        }
        let mut lines = Vec::new();
        while let Ok(progress) = told.try_recv() {
            lines.push(progress.line);
        }
        assert_eq!(
            lines,
            ["line 0", "line 2", "line 5", "line 7", "line 10", "line 12", "line 15", "line 17"]
        );
        assert_eq!(report.lines.len(), 20);
    }

    #[test]
    fn one_service_among_others_is_told_with_its_name() {
        let (sender, mut told) = mpsc::channel(16);
        let mut report = Report::of_service("web", &sender);
        report.say(HALF, "1 out of 2 tasks".to_owned(), Instant::now());
        assert_eq!(told.try_recv().unwrap().line, "web: 1 out of 2 tasks");
        assert_eq!(report.lines, ["1 out of 2 tasks"], "its lines are named where they are put together");
    }

    #[test]
    fn a_long_story_loses_its_middle() {
        let (sender, _told) = mpsc::channel(1);
        let mut report = Report::new(&sender);
        for step in 0..100 {
            report.say(HALF, format!("line {step}"), Instant::now());
        }
        assert_eq!(report.lines.len(), MOST_LINES);
        assert_eq!(report.lines.first().map(String::as_str), Some("line 0"));
        assert_eq!(report.lines.last().map(String::as_str), Some("line 99"));
    }
}
