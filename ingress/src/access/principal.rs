//! Who calls, and what they may do.

use proto::TargetName;

use super::scope::Scope;
use crate::problem::{Kind, Problem};

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The name that stands in a job's cause: `admin`, `token:ci`, `user:anna`, `github:acme/web`.
    pub(crate) name: String,
    /// Any of them allows.
    scopes: Vec<Scope>,
}

impl Principal {
    pub(crate) fn new(name: impl Into<String>, scopes: Vec<Scope>) -> Principal {
        Principal { name: name.into(), scopes }
    }

    /// Who may do everything.
    pub(crate) fn admin() -> Principal {
        Principal::new("admin", vec![Scope::all()])
    }

    /// What they may do.
    pub(crate) fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Whether `operation` may be done to `target`.
    pub(crate) fn may(&self, operation: &str, target: &TargetName) -> bool {
        self.scopes.iter().any(|scope| scope.allows(operation, target))
    }

    /// Whether `target` may be looked at.
    pub(crate) fn may_see(&self, target: &TargetName) -> bool {
        self.may("read", target)
    }

    /// Whether everything may be looked at, targets or not.
    pub(crate) fn sees_all(&self) -> bool {
        self.scopes.iter().any(|scope| scope.allows_everywhere("read"))
    }

    /// Whether a push through `source` may deploy to `target`.
    pub(crate) fn may_push(&self, source: &str, target: &TargetName) -> bool {
        self.scopes.iter().any(|scope| scope.opens(source) && scope.takes(target))
    }

    /// Whether hooks of `source` may be called.
    pub(crate) fn opens(&self, source: &str) -> bool {
        self.scopes.iter().any(|scope| scope.opens(source))
    }

    /// Whether a push through `source` may deploy to whatever follows it.
    pub(crate) fn pushes_everywhere(&self, source: &str) -> bool {
        self.scopes
            .iter()
            .any(|scope| scope.opens(source) && scope.targets.iter().any(|target| target == "*"))
    }

    /// Refuses what is not in the scope, and says what is missing.
    pub(crate) fn demand(&self, operation: &str, target: &TargetName) -> Result<(), Problem> {
        if self.may(operation, target) {
            return Ok(());
        }
        let lacking = format!("`{}` may not `{operation}` on the target `{target}`", self.name);
        Err(self.refused(lacking, &format!("the operation `{operation}` on `{target}`")))
    }

    /// The same for what belongs to no target.
    pub(crate) fn demand_everywhere(&self, operation: &str) -> Result<(), Problem> {
        if self.scopes.iter().any(|scope| scope.allows_everywhere(operation)) {
            return Ok(());
        }
        let lacking = format!("`{}` may not `{operation}` on all targets, which this asks for", self.name);
        Err(self.refused(lacking, &format!("the operation `{operation}` on `*`")))
    }

    /// The same for whatever shows something of some targets.
    pub(crate) fn demand_sight(&self) -> Result<(), Problem> {
        if self.scopes.iter().any(Scope::reads_something) {
            return Ok(());
        }
        Err(self.refused(
            format!("`{}` may not look at any target", self.name),
            "the operation `read` on some target",
        ))
    }

    /// The same for hooks in place of a source's key.
    pub(crate) fn demand_source(&self, source: &str) -> Result<(), Problem> {
        if self.opens(source) {
            return Ok(());
        }
        let lacking = format!("`{}` may not call the hooks of the source `{source}`", self.name);
        Err(self.refused(lacking, &format!("the source `{source}`")))
    }

    /// Nothing that a push is for is in the scope. Which that would be is not for everybody.
    pub(crate) fn refuse_push(&self, source: &str) -> Problem {
        let lacking = format!(
            "`{}` may deploy to none of the targets that follow it, through the source `{source}`",
            self.name
        );
        self.refused(lacking, &format!("the source `{source}` for a target that follows it"))
    }

    fn refused(&self, lacking: String, wanted: &str) -> Problem {
        let told: Vec<String> = self.scopes.iter().map(Scope::told).collect();
        let may = if told.is_empty() { "nothing".to_owned() } else { told.join("; ") };
        let hint = format!(
            "it may: {may}. Missing is {wanted}: use a token or a user that has it (`longshore token create`)"
        );
        Kind::NotAllowed.with(lacking).hint(hint).by(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_what_is_missing() {
        let scope = Scope {
            targets: vec!["web".to_owned()],
            operations: vec!["set-image".to_owned()],
            sources: vec!["ci".to_owned()],
        };
        let principal = Principal::new("token:ci", vec![scope]);
        let (web, api): (TargetName, TargetName) = ("web".parse().unwrap(), "api".parse().unwrap());
        principal.demand("set-image", &web).unwrap();
        principal.demand("read", &web).unwrap();
        principal.demand_sight().unwrap();
        principal.demand_source("ci").unwrap();
        assert!(principal.may_push("ci", &web) && !principal.may_push("ci", &api) && !principal.sees_all());
        let refused = [
            (principal.demand("stop", &web), "the operation `stop` on `default/web`"),
            (principal.demand("read", &api), "the operation `read` on `default/api`"),
            (principal.demand_everywhere("read"), "the operation `read` on `*`"),
            (principal.demand_source("hub"), "the source `hub`"),
        ];
        for (refused, missing) in refused {
            let problem = refused.unwrap_err();
            assert_eq!(problem.kind(), Kind::NotAllowed);
            assert!(problem.hint_text().contains(missing), "{problem:?}");
        }
        assert!(Principal::new("x", Vec::new()).demand_sight().is_err());
        let push = principal.refuse_push("ci");
        assert!(push.hint_text().contains("a target that follows it") && !push.detail().contains("default/"));
        let admin = Principal::admin();
        assert!(
            admin.demand_everywhere("discard").is_ok() && admin.may_push("any", &api) && admin.sees_all()
        );
    }
}
