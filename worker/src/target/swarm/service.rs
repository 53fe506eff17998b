//! A service as the engine's raw JSON: what is read of it, and the edits made to it. Everything not named
//! here goes back as it came, so that no option of a newer engine is lost.

use std::time::Duration;

use proto::{ImageRef, JobId};
use serde_json::{Map, Value, json};

use super::fence::{self, Fence};

/// The engine's default for an absent monitor.
const DEFAULT_MONITOR: Duration = Duration::from_secs(5);

/// A service as it was read.
#[derive(Debug, Clone)]
pub(super) struct Service {
    raw: Value,
    pub(super) id: String,
    pub(super) index: u64,
    pub(super) fence: Fence,
}

/// How many tasks a service is meant to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// So many, anywhere.
    Replicated(u64),
    /// One on each node that fits.
    Global,
    /// Runs to an end instead of staying up.
    Job,
}

/// `UpdateStatus.State` of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpdateState {
    Updating,
    Paused,
    Completed,
    RollbackStarted,
    RollbackPaused,
    RollbackCompleted,
}

/// What of a spec is changed in one write; the rest stays.
#[derive(Debug, Clone, Default)]
pub(super) struct Edit<'a> {
    pub(super) image: Option<&'a ImageRef>,
    /// What its tasks may run on, as the engine writes it.
    pub(super) platforms: Option<Vec<Value>>,
    /// Replace the tasks though the image is the same.
    pub(super) force: bool,
    pub(super) job: Option<JobId>,
    pub(super) trying: Option<JobId>,
    pub(super) good: Option<&'a str>,
    pub(super) trying_image: Option<&'a ImageRef>,
    pub(super) back: Option<JobId>,
    /// Empty: none is left.
    pub(super) bad: Option<&'a str>,
    /// How many tasks are to run, of a service that counts them.
    pub(super) replicas: Option<u64>,
    /// Further labels to set, or to take away.
    pub(super) labels: Vec<(&'static str, Option<String>)>,
}

impl Service {
    /// Takes the engine's answer; `None` where it lacks what every service has.
    pub(super) fn from_raw(raw: Value) -> Option<Service> {
        let id = raw.get("ID")?.as_str()?.to_owned();
        let index = raw.pointer("/Version/Index")?.as_u64()?;
        raw.get("Spec")?.as_object()?;
        let fence = Fence::read(&raw["Spec"]["Labels"]);
        Some(Service { raw, id, index, fence })
    }

    pub(super) fn name(&self) -> &str {
        self.raw["Spec"]["Name"].as_str().unwrap_or_default()
    }

    /// The image as the spec writes it.
    pub(super) fn image_text(&self) -> Option<&str> {
        self.raw.pointer("/Spec/TaskTemplate/ContainerSpec/Image")?.as_str()
    }

    pub(super) fn image(&self) -> Option<ImageRef> {
        image_named(self.image_text()?)
    }

    /// Whether the spec names exactly the wanted content.
    pub(super) fn runs(&self, wanted: &ImageRef) -> bool {
        self.image().is_some_and(|image| same_image(&image, wanted))
    }

    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.raw["Spec"]["Labels"].get(name)?.as_str()
    }

    /// The names of all its labels.
    pub(super) fn label_names(&self) -> impl Iterator<Item = &str> {
        self.raw["Spec"]["Labels"].as_object().into_iter().flatten().map(|(name, _)| name.as_str())
    }

    /// The names of all labels of its containers.
    pub(super) fn container_label_names(&self) -> impl Iterator<Item = &str> {
        let labels = self.raw.pointer("/Spec/TaskTemplate/ContainerSpec/Labels");
        labels.and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str())
    }

    /// When it was made, on the engine's clock, as it writes it.
    pub(super) fn created_at(&self) -> &str {
        self.raw["CreatedAt"].as_str().unwrap_or_default()
    }

    /// The platforms that its tasks may be placed on, as the engine writes them; none when any will do.
    pub(super) fn platforms(&self) -> &[Value] {
        let platforms = self.raw.pointer("/Spec/TaskTemplate/Placement/Platforms");
        platforms.and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    pub(super) fn mode(&self) -> Mode {
        let mode = &self.raw["Spec"]["Mode"];
        if mode.get("Global").is_some() {
            Mode::Global
        } else if mode.get("ReplicatedJob").is_some() || mode.get("GlobalJob").is_some() {
            Mode::Job
        } else {
            Mode::Replicated(mode.pointer("/Replicated/Replicas").and_then(Value::as_u64).unwrap_or(1))
        }
    }

    /// Which run of a job it is: every one that is started anew has tasks of its own.
    pub(super) fn job_iteration(&self) -> u64 {
        self.raw.pointer("/JobStatus/JobIteration/Index").and_then(Value::as_u64).unwrap_or(0)
    }

    /// How many tasks of a job have to end well; none where that is one on each node.
    pub(super) fn job_completions(&self) -> Option<u64> {
        let job = self.raw.pointer("/Spec/Mode/ReplicatedJob")?;
        let number = |name| job.get(name).and_then(Value::as_u64);
        Some(number("TotalCompletions").or_else(|| number("MaxConcurrent")).unwrap_or(1))
    }

    /// How often a task of a job may be started, where its restart policy bounds that.
    pub(super) fn job_attempts(&self) -> Option<usize> {
        let policy = self.raw.pointer("/Spec/TaskTemplate/RestartPolicy")?;
        if policy.get("Condition").and_then(Value::as_str) == Some("none") {
            return Some(1);
        }
        let again = policy.get("MaxAttempts").and_then(Value::as_u64).filter(|again| *again > 0)?;
        usize::try_from(again.saturating_add(1)).ok()
    }

    pub(super) fn pauses_for(&self) -> Duration {
        let of = |config: &str, field: &str| {
            self.raw.pointer(&format!("/Spec/{config}/{field}")).and_then(Value::as_u64).unwrap_or_default()
        };
        let longest = |field| of("UpdateConfig", field).max(of("RollbackConfig", field));
        Duration::from_nanos(longest("Delay").saturating_add(longest("Monitor")))
    }

    pub(super) fn update(&self) -> Option<UpdateState> {
        match self.raw.pointer("/UpdateStatus/State")?.as_str()? {
            "updating" => Some(UpdateState::Updating),
            "paused" => Some(UpdateState::Paused),
            "completed" => Some(UpdateState::Completed),
            "rollback_started" => Some(UpdateState::RollbackStarted),
            "rollback_paused" => Some(UpdateState::RollbackPaused),
            "rollback_completed" => Some(UpdateState::RollbackCompleted),
            _ => None,
        }
    }

    pub(super) fn update_message(&self) -> &str {
        self.raw.pointer("/UpdateStatus/Message").and_then(Value::as_str).unwrap_or_default()
    }

    /// When the last update began, on the engine's clock, as it writes it.
    pub(super) fn update_started_at(&self) -> Option<&str> {
        self.raw.pointer("/UpdateStatus/StartedAt")?.as_str()
    }

    /// When the last update came to its end, on the engine's clock, as it writes it.
    pub(super) fn update_completed_at(&self) -> Option<&str> {
        self.raw.pointer("/UpdateStatus/CompletedAt")?.as_str()
    }

    /// When this version was made, on the engine's clock, as it writes it.
    pub(super) fn updated_at(&self) -> Option<&str> {
        self.raw.get("UpdatedAt")?.as_str()
    }

    /// How long a new task has to stay up before the engine believes it.
    pub(super) fn monitor(&self) -> Duration {
        let nanos = self.raw.pointer("/Spec/UpdateConfig/Monitor").and_then(Value::as_u64);
        nanos.filter(|nanos| *nanos > 0).map_or(DEFAULT_MONITOR, Duration::from_nanos)
    }

    /// The spec with `edit` made to it, to be written back.
    pub(super) fn edited(&self, edit: &Edit<'_>) -> Value {
        let mut spec = self.raw["Spec"].clone();
        if let Some(image) = edit.image {
            spec["TaskTemplate"]["ContainerSpec"]["Image"] = json!(image.to_string());
        }
        if let Some(platforms) = &edit.platforms {
            spec["TaskTemplate"]["Placement"]["Platforms"] = json!(platforms);
        }
        if edit.force {
            let times = spec["TaskTemplate"]["ForceUpdate"].as_u64().unwrap_or(0);
            spec["TaskTemplate"]["ForceUpdate"] = json!(times.wrapping_add(1));
        }
        if !spec["Labels"].is_object() {
            spec["Labels"] = Value::Object(Map::new());
        }
        let marks = [
            (fence::JOB, edit.job.map(|id| id.to_string())),
            (fence::TRYING, edit.trying.map(|id| id.to_string())),
            (fence::GOOD, edit.good.map(str::to_owned)),
            (fence::TRYING_IMAGE, edit.trying_image.map(ToString::to_string)),
            (fence::BACK, edit.back.map(|id| id.to_string())),
            (fence::BAD, edit.bad.map(str::to_owned)),
        ];
        for (label, value) in marks {
            if let Some(value) = value {
                spec["Labels"][label] = json!(value);
            }
        }
        edit_labels(&mut spec["Labels"], &edit.labels);
        if let Some(replicas) = edit.replicas {
            spec["Mode"]["Replicated"]["Replicas"] = json!(replicas);
        }
        spec
    }

    /// The service as it was before its last write, as far as the engine remembers.
    pub(super) fn previous(&self) -> Option<Service> {
        let spec = self.raw.get("PreviousSpec").filter(|spec| spec.is_object())?;
        Some(self.with_spec(spec.clone()))
    }

    /// Whether its last write changed labels alone: the engine has nothing else to go back to.
    pub(super) fn was_relabelled(&self) -> bool {
        let but_for_labels = |service: &Service| {
            let mut spec = service.raw["Spec"].clone();
            spec.as_object_mut().and_then(|fields| fields.shift_remove("Labels"));
            spec
        };
        self.previous().is_some_and(|former| but_for_labels(&former) == but_for_labels(self))
    }

    /// The same service with another spec.
    pub(super) fn with_spec(&self, spec: Value) -> Service {
        let mut raw = self.raw.clone();
        let fence = Fence::read(&spec["Labels"]);
        raw["Spec"] = spec;
        Service { raw, fence, ..self.clone() }
    }

    /// The spec as it was read.
    pub(super) fn spec(&self) -> &Value {
        &self.raw["Spec"]
    }

    /// Whether both read specs are the same but for the marks in the labels.
    pub(super) fn same_but_for_marks(&self, other: &Service) -> bool {
        self.without_marks() == other.without_marks()
    }

    fn without_marks(&self) -> Value {
        let mut spec = self.raw["Spec"].clone();
        let Some(fields) = spec.as_object_mut() else { return spec };
        let mut labels = fields.shift_remove("Labels").unwrap_or_default();
        if let Some(labels) = labels.as_object_mut() {
            for mark in fence::ALL {
                labels.shift_remove(mark);
            }
        }
        // Absent, null and empty labels are one thing.
        if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
            fields.insert("Labels".to_owned(), labels);
        }
        spec
    }
}

fn edit_labels(labels: &mut Value, edits: &[(&'static str, Option<String>)]) {
    let Some(labels) = labels.as_object_mut() else { return };
    for (label, value) in edits {
        match value {
            Some(value) => _ = labels.insert((*label).to_owned(), json!(value)),
            None => _ = labels.shift_remove(*label),
        }
    }
}

/// The image that a spec names, of a service or of its tasks. The engine takes `nginx` and means `nginx:latest`; nothing
/// else here does.
pub(super) fn image_named(text: &str) -> Option<ImageRef> {
    text.parse().or_else(|_| format!("{text}:latest").parse()).ok()
}

/// The same content of the same repository.
pub(super) fn same_image(one: &ImageRef, other: &ImageRef) -> bool {
    one.repository() == other.repository() && (one.same_content(other) || one == other)
}

#[cfg(test)]
mod tests {
    use proto::Timestamp;

    use super::*;

    const DIGEST: &str = "sha256:457f4aa83fc9a6663ab9d1b0a6e2dce25a12a943ed5bf2c1747c58d48bbb4917";

    fn service(spec: Value) -> Service {
        Service::from_raw(json!({"ID": "x1", "Version": {"Index": 7}, "Spec": spec})).unwrap()
    }

    fn web() -> Value {
        json!({
            "Name": "web",
            "Labels": {"team": "a"},
            "TaskTemplate": {
                "ContainerSpec": {"Image": "r.lan/web:1", "Healthcheck": {"Test": ["CMD", "true"]}, "Later": 1},
                "ForceUpdate": 3
            },
            "Mode": {"Replicated": {"Replicas": 2}},
            "UpdateConfig": {"Monitor": 2_000_000_000u64}
        })
    }

    #[test]
    fn an_edit_changes_what_it_names_and_nothing_else() {
        let before = service(web());
        let id = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let image: ImageRef = format!("r.lan/web:2@{DIGEST}").parse().unwrap();
        let after = before.edited(&Edit { image: Some(&image), job: Some(id), ..Edit::default() });
        let mut expected = web();
        expected["TaskTemplate"]["ContainerSpec"]["Image"] = json!(format!("r.lan/web:2@{DIGEST}"));
        expected["Labels"][fence::JOB] = json!(id.to_string());
        assert_eq!(after, expected);
        let forced = before.edited(&Edit { force: true, ..Edit::default() });
        assert_eq!(forced["TaskTemplate"]["ForceUpdate"], 4);
    }

    #[test]
    fn marks_alone_are_no_difference_and_everything_else_is() {
        let before = service(web());
        let id = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let edit = Edit { trying: Some(id), good: Some("r.lan/web:1"), ..Edit::default() };
        assert!(service(before.edited(&edit)).same_but_for_marks(&before));
        let mut by_hand = web();
        by_hand["Labels"]["team"] = json!("b");
        assert!(!service(by_hand).same_but_for_marks(&before));
        let mut bare = web();
        bare["Labels"] = json!({});
        let bare = service(bare);
        let mut absent = web();
        absent.as_object_mut().unwrap().remove("Labels");
        assert!(bare.same_but_for_marks(&service(absent)));
    }

    #[test]
    fn a_write_of_labels_is_told_from_one_of_anything_else() {
        let of = |former: Value| {
            let raw = json!({"ID": "x1", "Version": {"Index": 7}, "Spec": web(), "PreviousSpec": former});
            Service::from_raw(raw).unwrap().was_relabelled()
        };
        let mut relabelled = web();
        relabelled["Labels"] = json!({"team": "b"});
        assert!(of(relabelled.clone()) && of(web()));
        relabelled["TaskTemplate"]["ForceUpdate"] = json!(2);
        assert!(!of(relabelled));
        assert!(!service(web()).was_relabelled(), "nothing is known of what was before");
    }

    #[test]
    fn mode_monitor_and_image_are_read() {
        assert_eq!(service(web()).mode(), Mode::Replicated(2));
        assert_eq!(service(web()).monitor(), Duration::from_secs(2));
        assert_eq!(service(json!({"Mode": {"Global": {}}})).mode(), Mode::Global);
        assert_eq!(service(json!({"Mode": {"ReplicatedJob": {}}})).mode(), Mode::Job);
        assert_eq!(service(json!({"Mode": {"Replicated": {"Replicas": 0}}})).mode(), Mode::Replicated(0));
        assert_eq!(service(json!({})).monitor(), DEFAULT_MONITOR);
        assert!(Service::from_raw(json!({"ID": "x"})).is_none());
        let bare = service(json!({"TaskTemplate": {"ContainerSpec": {"Image": "nginx"}}}));
        assert_eq!(
            bare.image().map(|image| image.to_string()),
            Some("docker.io/library/nginx:latest".into())
        );
    }

    #[test]
    fn the_same_content_under_another_tag_is_the_same_image() {
        let image = |text: &str| text.parse::<ImageRef>().unwrap();
        assert!(same_image(&image(&format!("a/b:1@{DIGEST}")), &image(&format!("a/b:2@{DIGEST}"))));
        assert!(!same_image(&image(&format!("a/b:1@{DIGEST}")), &image(&format!("a/c:1@{DIGEST}"))));
        assert!(!same_image(&image("a/b:1"), &image(&format!("a/b:1@{DIGEST}"))));
        assert!(same_image(&image("a/b:1"), &image("a/b:1")));
    }
}
