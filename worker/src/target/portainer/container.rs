//! A container of a stack that Compose runs, and what its state means.

use std::time::Duration;

use proto::{ImageRef, Tasks, Timestamp};
use serde_json::Value;

use super::live::is_wanted;

/// How long a container may take to end where nobody says: the engine's own time.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// A container, as the engine tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) service: String,
    /// What the text of the stack called the image when it was made.
    image: Option<ImageRef>,
    /// The engine's number of the image itself.
    pub(super) image_id: String,
    pub(super) is_one_off: bool,
    state: String,
    health: Option<String>,
    exit_code: i64,
    error: String,
    restarts: u64,
    /// When it was started last, as the engine writes it.
    pub(super) started_at: String,
    stays_down: bool,
    /// How long it may take to end before it is ended.
    pub(super) ends_within: Duration,
}

/// What the containers of a service come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// All are up.
    Up,
    /// They ran to a good end, as what is not started again may.
    Done,
    /// Something is on its way.
    Comes(String),
    /// This will not come up.
    Down(String),
}

impl Container {
    /// Takes the engine's answer; none where it lacks what every container of Compose has.
    pub(super) fn of(raw: &Value) -> Option<Container> {
        let labels = &raw["Config"]["Labels"];
        let state = &raw["State"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let image = text(&raw["Config"]["Image"]);
        let policy =
            raw.pointer("/HostConfig/RestartPolicy/Name").and_then(Value::as_str).unwrap_or_default();
        Some(Container {
            id: raw["Id"].as_str()?.to_owned(),
            service: labels["com.docker.compose.service"].as_str()?.to_owned(),
            image: image.parse().or_else(|_| format!("{image}:latest").parse()).ok(),
            image_id: text(&raw["Image"]),
            is_one_off: labels["com.docker.compose.oneoff"] == "True",
            state: text(&state["Status"]),
            health: state.pointer("/Health/Status").and_then(Value::as_str).map(str::to_owned),
            exit_code: state["ExitCode"].as_i64().unwrap_or_default(),
            error: text(&state["Error"]),
            restarts: raw["RestartCount"].as_u64().unwrap_or_default(),
            started_at: text(&state["StartedAt"]),
            ends_within: raw
                .pointer("/Config/StopTimeout")
                .and_then(Value::as_u64)
                .map_or(ENDS_WITHIN, Duration::from_secs),
            stays_down: matches!(policy, "" | "no" | "on-failure"),
        })
    }

    /// What it was made of, as the stack's text called it then.
    pub(super) fn image(&self) -> Option<&ImageRef> {
        self.image.as_ref()
    }

    /// Whether it was made of the wanted image.
    pub(super) fn is_of(&self, wanted: &ImageRef) -> bool {
        self.image.as_ref().is_some_and(|image| is_wanted(image, wanted))
    }

    /// Whether it was made of an image that is known by its tag alone.
    pub(super) fn is_known_by_tag(&self) -> bool {
        self.image.as_ref().is_none_or(|image| image.digest().is_none())
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == "running"
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == "running"
            && self.health.as_deref().is_none_or(|health| matches!(health, "healthy" | "none"))
    }

    /// Whether it was made, and nobody has started it yet.
    pub(super) fn is_made_alone(&self) -> bool {
        self.state == "created"
    }

    /// Whether it is up and, where it had to be started again, for longer than `believed`: one that exits again and again
    /// is up in between.
    pub(super) fn runs_well(&self, believed: Duration, now: Timestamp) -> bool {
        let up_for = || Duration::try_from(now.duration_since(self.started_at.parse().ok()?)).ok();
        self.is_up() && (self.restarts == 0 || up_for().is_some_and(|up_for| up_for > believed))
    }

    /// How often it was started again.
    pub(super) fn restarts(&self) -> u64 {
        self.restarts
    }

    fn is_done(&self) -> bool {
        self.state == "exited" && self.exit_code == 0 && self.stays_down
    }

    /// Why it does not come up, where it does not.
    fn trouble(&self) -> Option<String> {
        let name = format!("a container of `{}`", self.service);
        let words = if self.error.is_empty() { String::new() } else { format!(": {}", self.error) };
        if self.health.as_deref() == Some("unhealthy") {
            return Some(format!("{name} runs and its health check fails"));
        }
        if self.state == "restarting" {
            let restarts = self.restarts;
            return Some(format!(
                "{name} does not stay up: it exits with {} and was started {restarts} times again{words}",
                self.exit_code
            ));
        }
        match &*self.state {
            // Made, and not started: its port is taken, what it mounts is not there …
            "created" if self.exit_code != 0 || !self.error.is_empty() => {
                Some(format!("{name} could not be started{words}"))
            }
            "exited" | "dead" => Some(format!("{name} exited with {}{words}", self.exit_code)),
            _ => None,
        }
    }
}

/// What the containers of one service come to.
pub(super) fn state_of(containers: &[&Container]) -> State {
    if containers.is_empty() {
        return State::Comes("no container yet".to_owned());
    }
    if containers.iter().all(|one| one.is_done()) {
        return State::Done;
    }
    if let Some(trouble) = containers.iter().filter(|one| !one.is_done()).find_map(|one| one.trouble()) {
        return State::Down(trouble);
    }
    if containers.iter().filter(|one| !one.is_done()).all(|one| one.is_up()) {
        return State::Up;
    }
    let Tasks { running, wanted } = tasks(containers);
    State::Comes(format!("{running} out of {wanted} containers are up"))
}

pub(super) fn tasks(containers: &[&Container]) -> Tasks {
    let running = containers.iter().filter(|one| one.is_up()).count() as u64;
    Tasks { running, wanted: containers.len() as u64 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(state: Value, restarts: u64, policy: &str) -> Container {
        Container::of(&json!({
            "Id": "c1", "Image": "sha256:1", "RestartCount": restarts, "State": state,
            "Config": {"Image": "acme/web:2", "Labels": {"com.docker.compose.service": "web"}},
            "HostConfig": {"RestartPolicy": {"Name": policy}},
        }))
        .unwrap()
    }

    #[test]
    fn only_what_stays_up_is_up() {
        let running = |health: &str| json!({"Status": "running", "Health": {"Status": health}});
        let state = |state: Value, restarts, policy| {
            let container = container(state, restarts, policy);
            match state_of(&[&container]) {
                State::Up => "up".to_owned(),
                State::Done => "done".to_owned(),
                State::Comes(why) => format!("comes: {why}"),
                State::Down(why) => format!("down: {why}"),
            }
        };
        assert_eq!(state(json!({"Status": "running"}), 0, "always"), "up");
        assert_eq!(state(running("healthy"), 0, "always"), "up");
        assert_eq!(state(running("starting"), 0, "always"), "comes: 0 out of 1 containers are up");
        assert!(
            state(running("unhealthy"), 0, "always")
                .starts_with("down: a container of `web` runs and its health")
        );
        let loops = json!({"Status": "restarting", "ExitCode": 3});
        assert!(state(loops, 1, "always").contains("it exits with 3"));
        assert_eq!(state(json!({"Status": "exited", "ExitCode": 0}), 0, "no"), "done");
        assert!(state(json!({"Status": "exited", "ExitCode": 1}), 0, "no").contains("exited with 1"));
        assert!(state(json!({"Status": "exited", "ExitCode": 0}), 0, "always").contains("exited with 0"));
        assert_eq!(state(json!({"Status": "created"}), 0, "no"), "comes: 0 out of 1 containers are up");
        let taken = json!({"Status": "created", "ExitCode": 128, "Error": "port is already allocated"});
        let told = "down: a container of `web` could not be started: port is already allocated";
        assert_eq!(state(taken, 0, "no"), told);
        assert_eq!(state_of(&[]), State::Comes("no container yet".to_owned()));
    }

    #[test]
    fn what_is_up_between_two_crashes_does_not_run_well() {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let runs_well = |restarts, started: &str| {
            let state = json!({"Status": "running", "StartedAt": started});
            container(state, restarts, "always").runs_well(Duration::from_secs(60), now)
        };
        assert!(runs_well(0, "2026-01-01T00:59:58Z"));
        assert!(!runs_well(7, "2026-01-01T00:59:58Z"));
        // Its database came up after it.
        assert!(runs_well(7, "2026-01-01T00:50:00Z"));
        assert!(!container(json!({"Status": "restarting"}), 0, "always").runs_well(Duration::ZERO, now));
    }
}
