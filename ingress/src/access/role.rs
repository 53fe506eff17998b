//! What users may do.

use proto::Operation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scope::Scope;

/// What a user may do on their targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Looks, and asks what would change.
    Viewer,
    /// Also deploys, and does whatever else a job can do.
    Deployer,
    /// Also approves, releases, replays and discards.
    Approver,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Deployer, Role::Approver, Role::Admin];

    /// The role as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Deployer => "deployer",
            Role::Approver => "approver",
            Role::Admin => "admin",
        }
    }

    /// What it may do on such targets.
    pub(crate) fn scope(self, targets: &[String]) -> Scope {
        let looks = ["read", "plan"];
        let decides = ["approve", "release", "replay", "discard"];
        let operations: Vec<&str> = match self {
            Role::Viewer => looks.to_vec(),
            // What was held is for others to release.
            Role::Deployer => {
                let operations = Operation::TYPES.iter().filter(|operation| !decides.contains(operation));
                looks.iter().chain(operations).copied().collect()
            }
            Role::Approver => looks.iter().chain(Operation::TYPES).chain(&decides).copied().collect(),
            Role::Admin => vec!["*"],
        };
        let operations = operations.into_iter().map(str::to_owned).collect();
        Scope { targets: targets.to_vec(), operations, sources: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_more_than_the_one_before() {
        let web = "web".parse().unwrap();
        let may = |role: Role| {
            let scope = role.scope(&["web".to_owned()]);
            scope.check().unwrap();
            Scope::operations_known().into_iter().filter(|operation| scope.allows(operation, &web)).count()
        };
        let counts = Role::ALL.map(may);
        assert!(counts[0] == 2 && counts[1] == 15 && counts[2] == 19 && counts[3] == 19, "{counts:?}");
    }
}
