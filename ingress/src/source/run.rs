//! Runs of workflows, pipelines and builds: which of them an image comes of.

use wildmatch::WildMatch;

use super::Rules;

/// A run that ended well.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    /// What started it, as its forge calls it.
    pub(super) trigger: Option<String>,
    /// What its workflow is called: its name, and its file with and without the folder.
    pub(super) workflows: Vec<String>,
    /// What may have started it where the source does not say: nothing that a stranger can do.
    pub(super) usual: &'static [&'static str],
}

/// The names by which people know a workflow: its own, and its file's. A path may say on what it ran, behind an `@`.
pub(super) fn names_of(name: Option<&str>, path: Option<&str>) -> Vec<String> {
    let path = path.map(|path| path.split('@').next().unwrap_or_default());
    let file = path.and_then(|path| path.rsplit('/').next());
    let names = [name, path, file].into_iter().flatten().filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

impl Run {
    /// Why it does not count under these rules; none where it does.
    pub(super) fn refused(&self, rules: &Rules) -> Option<String> {
        self.started_otherwise(&rules.events).or_else(|| self.of_another_workflow(&rules.workflows))
    }

    fn started_otherwise(&self, events: &[String]) -> Option<String> {
        let Some(trigger) = self.trigger.as_deref() else {
            return (!events.is_empty()).then(|| "does not say what started it".to_owned());
        };
        let taken = if events.is_empty() { self.usual.contains(&trigger) } else { matches(events, trigger) };
        (!taken).then(|| format!("was started by `{trigger:.100}`, which is none of the source's `events`"))
    }

    fn of_another_workflow(&self, workflows: &[String]) -> Option<String> {
        if workflows.is_empty() || self.workflows.iter().any(|name| matches(workflows, name)) {
            return None;
        }
        Some(match self.workflows.first() {
            Some(name) => format!("is of the workflow `{name:.100}`, not of the source's `workflows`"),
            None => "does not say its workflow".to_owned(),
        })
    }
}

/// Whether any of the globs matches.
pub(super) fn matches(globs: &[String], text: &str) -> bool {
    globs.iter().any(|glob| WildMatch::new(glob).matches(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(trigger: &str, workflows: Vec<String>) -> Run {
        let trigger = Some(trigger.to_owned()).filter(|trigger| !trigger.is_empty());
        Run { trigger, workflows, usual: &["push", "schedule"] }
    }

    fn only(events: &[&str], workflows: &[&str]) -> Rules {
        let owned = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect();
        Rules { events: owned(events), workflows: owned(workflows), ..Rules::default() }
    }

    #[test]
    fn what_started_it_is_one_of_the_usual_or_of_those_the_source_names() {
        let taken =
            |trigger: &str, events: &[&str]| run(trigger, Vec::new()).refused(&only(events, &[])).is_none();
        assert!(taken("push", &[]) && taken("schedule", &[]) && taken("", &[]));
        assert!(!taken("issue_comment", &[]) && !taken("workflow_run", &[]));
        assert!(taken("issue_comment", &["issue_*"]) && taken("push", &["push"]));
        assert!(!taken("schedule", &["push"]) && !taken("", &["push"]));
    }

    #[test]
    fn a_workflow_is_known_by_its_name_and_its_file() {
        let names = names_of(Some("Build it"), Some(".github/workflows/build.yml@refs/heads/main"));
        assert_eq!(names, ["Build it", ".github/workflows/build.yml", "build.yml"]);
        let taken = |workflows: &[&str]| run("push", names.clone()).refused(&only(&[], workflows)).is_none();
        assert!(taken(&[]) && taken(&["build.yml"]) && taken(&["lint", "Build*"]));
        assert!(taken(&[".github/workflows/build.yml"]));
        assert!(!taken(&["lint.yml"]) && !taken(&["build"]));
        assert!(run("push", Vec::new()).refused(&only(&[], &["build.yml"])).is_some());
    }
}
