//! What somebody may do: on which targets, which operations, through which sources.

use proto::{Operation, TargetName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

/// What may be done beside the operations of jobs.
const DECISIONS: [&str; 5] = ["read", "plan", "approve", "replay", "discard"];

/// Stands for all targets, all operations, all sources.
const ALL: &str = "*";

/// What somebody may do: each operation named, on each target that a pattern takes; and the hooks they may call.
///
/// Whoever may do anything to a target may look at it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Names of targets with `*` and `?`, `pool/name`, or `name` in the pool `default`; `*` alone is all of them.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Operations by their names; `*` is all of them.
    #[serde(default)]
    pub operations: Vec<String>,
    /// Sources whose hooks may be called in place of their keys, with `*` and `?`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
}

/// Why a scope cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// No such operation.
    #[error("there is no operation `{0}`")]
    Operation(String),
    /// No target can be meant.
    #[error("`{0}` is no pattern for targets")]
    Target(String),
    /// No source can be meant.
    #[error("`{0}` is no pattern for sources")]
    Source(String),
    /// Nothing could be done with it.
    #[error("it allows nothing: it names no operation on a target, and no source")]
    Nothing,
}

impl ScopeError {
    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            ScopeError::Operation(_) => {
                format!("known are `{}`, and `*` for all", Scope::operations_known().join("`, `"))
            }
            ScopeError::Target(_) => "write `web`, `web-*`, `office/*`, or `*` for all".to_owned(),
            ScopeError::Source(_) => {
                "write the name of an entry of `sources`, or a pattern such as `ci-*`".to_owned()
            }
            ScopeError::Nothing => {
                "name operations and targets, as `set-image` and `web`, or a source".to_owned()
            }
        }
    }
}

impl Scope {
    /// Everything.
    #[must_use]
    pub fn all() -> Scope {
        let all = || vec![ALL.to_owned()];
        Scope { targets: all(), operations: all(), sources: all() }
    }

    /// Every name that may stand among the operations.
    #[must_use]
    pub fn operations_known() -> Vec<&'static str> {
        DECISIONS.iter().chain(Operation::TYPES).copied().collect()
    }

    /// Finds what cannot be used.
    ///
    /// # Errors
    /// The first fault found.
    pub fn check(&self) -> Result<(), ScopeError> {
        let known = Scope::operations_known();
        let unknown = |name: &&String| *name != ALL && !known.contains(&name.as_str());
        if let Some(name) = self.operations.iter().find(unknown) {
            return Err(ScopeError::Operation(name.clone()));
        }
        if let Some(pattern) = self.targets.iter().find(|pattern| !is_pattern(pattern, 1)) {
            return Err(ScopeError::Target(pattern.clone()));
        }
        if let Some(pattern) = self.sources.iter().find(|pattern| !is_pattern(pattern, 0)) {
            return Err(ScopeError::Source(pattern.clone()));
        }
        let acts = !self.operations.is_empty() && !self.targets.is_empty();
        if acts || !self.sources.is_empty() { Ok(()) } else { Err(ScopeError::Nothing) }
    }

    /// Whether `operation` may be done to `target`.
    #[must_use]
    pub fn allows(&self, operation: &str, target: &TargetName) -> bool {
        self.has_operation(operation) && self.targets.iter().any(|pattern| takes(pattern, target))
    }

    /// Whether `operation` may be done to whatever there is, targets or not.
    #[must_use]
    pub fn allows_everywhere(&self, operation: &str) -> bool {
        self.has_operation(operation) && self.targets.iter().any(|pattern| pattern == ALL)
    }

    /// Whether hooks of `source` may be called, for jobs of `target`.
    #[must_use]
    pub fn opens(&self, source: &str) -> bool {
        self.sources.iter().any(|pattern| WildMatch::new(pattern).matches(source))
    }

    /// Whether a push through one of the sources may deploy to `target`.
    #[must_use]
    pub fn takes(&self, target: &TargetName) -> bool {
        self.targets.iter().any(|pattern| takes(pattern, target))
    }

    /// Whether anything at all may be looked at.
    #[must_use]
    pub fn reads_something(&self) -> bool {
        !self.operations.is_empty() && !self.targets.is_empty()
    }

    fn has_operation(&self, operation: &str) -> bool {
        let reads = operation == "read" && !self.operations.is_empty();
        reads || self.operations.iter().any(|known| known == ALL || known == operation)
    }

    /// In words, for those who ask why something is refused.
    #[must_use]
    pub fn told(&self) -> String {
        let list = |names: &[String]| names.join("`, `");
        let mut parts = Vec::new();
        if self.reads_something() {
            parts.push(format!("`{}` on `{}`", list(&self.operations), list(&self.targets)));
        }
        if !self.sources.is_empty() {
            parts.push(format!("hooks of `{}` for `{}`", list(&self.sources), list(&self.targets)));
        }
        if parts.is_empty() { "nothing".to_owned() } else { parts.join(", and ") }
    }
}

/// A pattern without a slash is for the pool that is left out of names.
fn takes(pattern: &str, target: &TargetName) -> bool {
    if pattern == ALL {
        return true;
    }
    let (pool, name) = pattern.split_once('/').unwrap_or(("default", pattern));
    WildMatch::new(pool).matches(target.pool().as_str()) && WildMatch::new(name).matches(target.name())
}

fn is_pattern(text: &str, slashes: usize) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "_-*?".contains(c);
    let parts: Vec<&str> = text.split('/').collect();
    parts.len() <= slashes + 1
        && parts.iter().all(|part| !part.is_empty() && part.len() <= 63 && part.chars().all(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(targets: &[&str], operations: &[&str], sources: &[&str]) -> Scope {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Scope { targets: owned(targets), operations: owned(operations), sources: owned(sources) }
    }

    fn name(text: &str) -> TargetName {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_takes_what_it_says_and_nothing_else() {
        let web = scope(&["web-*"], &["set-image"], &[]);
        assert!(web.allows("set-image", &name("web-1")) && web.allows("read", &name("web-1")));
        for (operation, target) in
            [("set-image", "web"), ("set-image", "office/web-1"), ("stop", "web-1"), ("read", "x")]
        {
            assert!(!web.allows(operation, &name(target)), "{operation} {target}");
        }
        let office = scope(&["office/*", "l?b/x"], &["*"], &[]);
        assert!(office.allows("stop", &name("office/a")) && office.allows("approve", &name("lab/x")));
        assert!(!office.allows("read", &name("a")) && !office.allows_everywhere("read"));
        assert!(
            Scope::all().allows("discard", &name("any/where")) && Scope::all().allows_everywhere("discard")
        );
        assert!(!scope(&["*/*"], &["*"], &[]).allows_everywhere("discard"));
    }

    #[test]
    fn looking_is_not_doing_and_hooks_are_neither() {
        let viewer = scope(&["*"], &["read"], &[]);
        assert!(viewer.allows("read", &name("a")) && !viewer.allows("plan", &name("a")));
        let hooks = scope(&["web"], &[], &["ci-*"]);
        assert!(hooks.opens("ci-1") && !hooks.opens("hub") && hooks.takes(&name("web")));
        assert!(!hooks.allows("read", &name("web")) && !hooks.allows("set-image", &name("web")));
        assert!(!Scope::default().allows("read", &name("web")));
    }

    #[test]
    fn what_means_nothing_is_told() {
        assert_eq!(scope(&["*"], &["deploy"], &[]).check(), Err(ScopeError::Operation("deploy".into())));
        for bad in ["", "a/b/c", "a b", "/x", "${X}"] {
            assert_eq!(scope(&[bad], &["read"], &[]).check(), Err(ScopeError::Target(bad.into())));
        }
        assert_eq!(scope(&["*"], &["read"], &["a/b"]).check(), Err(ScopeError::Source("a/b".into())));
        assert_eq!(scope(&["*"], &[], &[]).check(), Err(ScopeError::Nothing));
        assert_eq!(scope(&[], &["read"], &[]).check(), Err(ScopeError::Nothing));
        assert_eq!(scope(&["web"], &[], &["ci"]).check(), Ok(()));
        for operation in Scope::operations_known() {
            assert_eq!(scope(&["a/b"], &[operation], &[]).check(), Ok(()));
        }
    }
}
