//! One case, as its file says it.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::compose::Text;

/// A service, what is done to it, and what must come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    #[serde(skip)]
    pub(crate) name: String,
    /// The image it runs at first.
    #[serde(default = "good")]
    pub(crate) image: String,
    /// What its spec has beyond the usual.
    #[serde(default)]
    pub(crate) service: Value,
    /// It is the service `web` of a stack, made by `docker stack deploy`. Where a step deploys a text, the stack is what
    /// the steps make of it.
    #[serde(default)]
    pub(crate) stack: bool,
    /// What its target asks for in the configuration.
    #[serde(default)]
    pub(crate) target: Map<String, Value>,
    pub(crate) steps: Vec<Step>,
    /// What must be said of each job, in the order they were deployed.
    pub(crate) ends: Vec<Expected>,
    #[serde(default)]
    pub(crate) leaves: Leaves,
}

/// Something that happens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) enum Step {
    /// A job for an image.
    Deploy(String),
    /// The same, to be done within so many seconds.
    DeployWithin(String, u64),
    /// A job for a compose text; its target is the stack.
    DeployText(Text),
    /// A job that was made when somebody released a held one.
    Release(String),
    /// Waits until the engine is at work on an update.
    Rolls,
    /// Waits until a task of the update has come up.
    OneRuns,
    /// Waits until the job with that number has come to what is expected of it.
    Ended(usize),
    /// Somebody changes the spec; an image is called by its name here.
    ByHand(Value),
    /// Somebody runs `docker service rollback`.
    RollbackByHand,
    /// Somebody runs `docker stack deploy` with that image in the text.
    StackDeploy(String),
    /// From here on, no task of the service `web` may be replaced.
    NoteTasks,
}

/// What must be said of a job.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) code: String,
    /// The reason; `*` stands for anything, `{service}`, `{stack}` and `{node}` for their names.
    #[serde(default)]
    pub(crate) text: String,
    /// `running/wanted`.
    #[serde(default)]
    pub(crate) tasks: Option<String>,
    /// The job that took its place, by number.
    #[serde(default)]
    pub(crate) by: Option<usize>,
}

/// What must stand on the service in the end.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Leaves {
    #[serde(default)]
    pub(crate) image: Option<String>,
    /// The images our labels name, or jobs by `#number`; null: no such label.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, Option<String>>,
    /// The image of each service of the stack, and no other service.
    #[serde(default)]
    pub(crate) services: BTreeMap<String, String>,
}

fn good() -> String {
    "good-1".to_owned()
}

impl Case {
    /// Every case there is.
    pub(crate) fn all() -> Vec<Case> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth/cases");
        let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
        let mut cases: Vec<Case> = files.map(|file| Case::read(&file)).collect();
        cases.sort_by(|one, other| one.name.cmp(&other.name));
        let only = std::env::var("LONGSHORE_TEST_CASES").unwrap_or_default();
        if !only.is_empty() {
            // For whoever works at a few of them; the test then fails for the want of the others.
            cases.retain(|case| only.split(',').any(|name| case.name.contains(name)));
        }
        cases
    }

    /// Whether it is of a stack that is deployed from texts.
    pub(crate) fn is_of_texts(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::DeployText(_)))
    }

    /// Whether somebody else changes the service while a job may be at work on it. Where nobody watches just then, what is
    /// found afterwards does not tell what he came upon: such a job may end in one way or the other.
    pub(crate) fn is_interfered_with(&self) -> bool {
        let begun = self.steps.iter().skip_while(|step| !step.is_a_job());
        let mut of_others = begun
            .filter(|step| matches!(step, Step::ByHand(_) | Step::RollbackByHand | Step::StackDeploy(_)));
        of_others.next().is_some()
    }

    fn read(file: &Path) -> Case {
        let text = std::fs::read_to_string(file).unwrap();
        let case: Case =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let jobs = case.steps.iter().filter(|step| step.is_a_job()).count();
        assert_eq!(jobs, case.ends.len(), "{}: as many ends as jobs", file.display());
        Case { name: file.file_stem().unwrap().to_str().unwrap().to_owned(), ..case }
    }
}

impl Step {
    fn is_a_job(&self) -> bool {
        matches!(self, Step::Deploy(_) | Step::DeployWithin(..) | Step::DeployText(_) | Step::Release(_))
    }
}

/// Changes `value` as a JSON merge patch says.
pub(crate) fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        value.clone_from(patch);
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    for (key, change) in patch {
        if change.is_null() {
            value.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut value[key.as_str()], change);
        }
    }
}

/// Whether a text is as a pattern says, in which `*` stands for anything.
pub(crate) fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}
