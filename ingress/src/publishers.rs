//! What users of the broker may ask for on the intake.

use std::collections::BTreeMap;

use proto::{Operation, TargetName};
use wildmatch::WildMatch;

/// Stands for all targets, or all operations.
const ALL: &str = "*";
/// Beside the operations: to pass over a target's window and age with `now`.
const APPROVE: &str = "approve";

/// Who may ask for what, by their names on the broker. Who is not among them may only tell of images.
#[derive(Debug, Clone, Default)]
pub(crate) struct Publishers(BTreeMap<String, Grant>);

/// What one of them may ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Patterns of `pool/name`, or of names in the pool `default`.
    pub(crate) targets: Vec<String>,
    /// Names of operations.
    pub(crate) operations: Vec<String>,
}

impl Publishers {
    pub(crate) fn new(grants: BTreeMap<String, Grant>) -> Publishers {
        Publishers(grants)
    }

    /// What a user of the broker may ask for; none where nothing is said of them.
    pub(crate) fn get(&self, user: &str) -> Option<&Grant> {
        self.0.get(user)
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Grant {
    /// What such a grant allows where nothing is said: what CI does.
    pub(crate) fn usual_operations() -> Vec<String> {
        vec!["set-image".to_owned()]
    }

    /// Whether this may be done to that target.
    pub(crate) fn allows(&self, operation: &Operation, target: &TargetName) -> bool {
        self.has(operation.type_name(), target)
    }

    /// Whether they may pass over the hours and the age that this target asks for.
    pub(crate) fn approves(&self, target: &TargetName) -> bool {
        self.has(APPROVE, target)
    }

    fn has(&self, operation: &str, target: &TargetName) -> bool {
        self.operations.iter().any(|known| known == ALL || known == operation)
            && self.targets.iter().any(|pattern| takes(pattern, target))
    }

    /// Whether this may be done to whatever there is.
    pub(crate) fn allows_everywhere(&self, operation: &Operation) -> bool {
        let operation = operation.type_name();
        self.operations.iter().any(|known| known == ALL || known == operation)
            && self.targets.iter().any(|pattern| pattern == ALL)
    }

    /// In words.
    pub(crate) fn told(&self) -> String {
        format!("`{}` on `{}`", self.operations.join("`, `"), self.targets.join("`, `"))
    }
}

/// Whether there may be an operation of this name in a grant.
pub(crate) fn is_operation(name: &str) -> bool {
    name == ALL || name == APPROVE || Operation::TYPES.contains(&name)
}

/// Whether a pattern can take a target.
pub(crate) fn is_pattern(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "_-*?".contains(c);
    let parts: Vec<&str> = text.split('/').collect();
    parts.len() <= 2 && parts.iter().all(|part| !part.is_empty() && part.chars().all(inner))
}

/// A pattern without a slash is for the pool that is left out of names; a lone star for all.
fn takes(pattern: &str, target: &TargetName) -> bool {
    if pattern == ALL {
        return true;
    }
    let (pool, name) = pattern.split_once('/').unwrap_or(("default", pattern));
    WildMatch::new(pool).matches(target.pool().as_str()) && WildMatch::new(name).matches(target.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(targets: &[&str], operations: &[&str]) -> Grant {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Grant { targets: owned(targets), operations: owned(operations) }
    }

    #[test]
    fn a_grant_allows_what_it_says_and_nothing_else() {
        let shop = grant(&["shop-*", "office/*"], &["set-image"]);
        let deploy = Operation::SetImage { image: "acme/web:1".parse().unwrap(), service: None };
        let allows = |target: &str| shop.allows(&deploy, &target.parse().unwrap());
        assert!(allows("shop-1") && allows("default/shop-1") && allows("office/web"));
        assert!(!allows("shop") && !allows("web") && !allows("lab/shop-1"));
        assert!(!shop.allows(&Operation::Stop, &"shop-1".parse().unwrap()));
        let all = grant(&["*"], &["*"]);
        assert!(all.allows(&Operation::Stop, &"any/where".parse().unwrap()));
        assert!(all.allows_everywhere(&deploy) && !shop.allows_everywhere(&deploy));
    }

    #[test]
    fn patterns_are_told_from_what_takes_nothing() {
        assert!(["web", "*", "office/*", "w?b-1"].into_iter().all(is_pattern));
        assert!(!["", "/web", "a/b/c", "a b", "web/"].into_iter().any(is_pattern));
        assert!(is_operation("*") && is_operation("set-image") && !is_operation("deploy"));
    }
}
