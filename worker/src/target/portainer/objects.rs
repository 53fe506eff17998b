//! What Portainer's objects say, read leniently: unknown fields, nulls and numbers of newer versions do no harm.

use serde_json::{Value, json};

/// An environment, which older versions call an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) id: u64,
    pub(super) name: String,
    /// 1 Docker, 2 Docker by an agent, 4 Docker by an edge agent; anything else runs no stacks of ours.
    kind: u64,
}

/// A stack's record.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) kind: StackKind,
    pub(super) environment: u64,
    pub(super) env: Env,
    pub(super) status: Status,
    /// When the docker command last succeeded, in seconds; 0 when it never did.
    pub(super) updated_at: i64,
    /// Whether its record has that date at all: 1.24 has none.
    pub(super) is_dated: bool,
    /// How it is kept in git, where it is.
    pub(super) git: Option<Value>,
    /// When Portainer itself looks for pushes; null where it does not.
    pub(super) auto_update: Value,
    /// The webhook of a stack whose file is kept in Portainer, which its business edition has.
    pub(super) webhook: Option<String>,
    /// Whether services that the file does not have are removed.
    pub(super) prune: bool,
    /// What Portainer last said of its own deploy.
    pub(super) said: Option<String>,
}

/// What runs a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StackKind {
    Swarm,
    Compose,
    Kubernetes,
}

/// What Portainer calls the state of a stack. None of these says that anything runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Of older versions, or a newer one's word that we do not know.
    Unknown,
    Active,
    Inactive,
    Deploying,
    Error,
}

/// The variables of a stack, in its own order, each as it came. Their values are secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Env(Vec<Value>);

impl Environment {
    pub(super) fn of(value: &Value) -> Option<Environment> {
        let name = value["Name"].as_str().unwrap_or_default().to_owned();
        Some(Environment { id: value["Id"].as_u64()?, name, kind: value["Type"].as_u64().unwrap_or(1) })
    }

    /// Whether a Docker engine is behind it.
    pub(super) fn is_docker(&self) -> bool {
        matches!(self.kind, 1 | 2 | 4)
    }
}

impl Stack {
    pub(super) fn of(value: &Value) -> Option<Stack> {
        let last = value["DeploymentStatus"].as_array().and_then(|all| all.last());
        Some(Stack {
            id: value["Id"].as_u64()?,
            name: value["Name"].as_str().unwrap_or_default().to_owned(),
            kind: match value["Type"].as_u64() {
                Some(1) => StackKind::Swarm,
                Some(3) => StackKind::Kubernetes,
                Some(_) | None => StackKind::Compose,
            },
            environment: value["EndpointId"].as_u64().unwrap_or_default(),
            env: Env(value["Env"].as_array().cloned().unwrap_or_default()),
            status: match value["Status"].as_u64() {
                Some(1) => Status::Active,
                Some(2) => Status::Inactive,
                Some(3) => Status::Deploying,
                Some(4) => Status::Error,
                Some(_) | None => Status::Unknown,
            },
            updated_at: value["UpdateDate"].as_i64().unwrap_or_default(),
            is_dated: value["UpdateDate"].is_i64(),
            git: Some(value["GitConfig"].clone()).filter(Value::is_object),
            auto_update: value["AutoUpdate"].clone(),
            webhook: value["Webhook"].as_str().filter(|webhook| !webhook.is_empty()).map(str::to_owned),
            prune: value.pointer("/Option/Prune").and_then(Value::as_bool).unwrap_or_default(),
            said: last
                .and_then(|last| last["Message"].as_str())
                .filter(|said| !said.is_empty())
                .map(str::to_owned),
        })
    }
}

impl Stack {
    /// Whether its record is still the one that was read, in all that a write stands on.
    pub(super) fn is_as_read(&self, before: &Stack) -> bool {
        let stands_on = |stack: &Stack| {
            (stack.environment, stack.status, stack.updated_at, stack.git.is_some(), stack.prune)
        };
        stands_on(self) == stands_on(before) && self.env == before.env
    }
}

impl Env {
    #[cfg(test)]
    pub(super) fn of(pairs: impl Iterator<Item = (String, String)>) -> Env {
        Env(pairs.map(|(name, value)| json!({"name": name, "value": value})).collect())
    }

    /// The value of a variable; of one that is given twice, the last counts.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|pair| pair["name"] == name)?["value"].as_str()
    }

    /// The same with a variable set, where it stands already or at the end.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().rev().find(|pair| pair["name"] == name) {
            Some(pair) => pair["value"] = json!(value),
            None => self.0.push(json!({"name": name, "value": value})),
        }
    }

    /// Names and values.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|pair| Some((pair["name"].as_str()?, pair["value"].as_str()?)))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|pair| pair["value"].as_str())
    }

    /// As Portainer takes it.
    pub(super) fn to_json(&self) -> Value {
        Value::Array(self.0.clone())
    }
}

/// Shows the names alone.
impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|pair| pair["name"].as_str().unwrap_or_default())).finish()
    }
}

/// The name that Portainer makes of a name: small letters, digits, `-` and `_`, all else left out.
pub(super) fn normalized(name: &str) -> String {
    let kept = name.to_lowercase();
    kept.chars()
        .filter(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_".contains(*letter))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_of_all_versions_are_read() {
        // 1.24 knows no more than this.
        let old = Stack::of(&json!({"Id": 1, "Name": "a", "Type": 1, "EndpointId": 2, "Env": null})).unwrap();
        assert_eq!((old.status, old.updated_at, old.git.is_some()), (Status::Unknown, 0, false));
        let new = Stack::of(&json!({
            "Id": 1, "Name": "a", "Type": 2, "EndpointId": 2, "Status": 4, "GitConfig": {"URL": "x"}, "Option": {"Prune": true},
            "DeploymentStatus": [{"Status": 3, "Message": ""}, {"Status": 4, "Message": "no"}], "Other": {}
        }))
        .unwrap();
        assert_eq!((new.status, new.prune, new.said.as_deref()), (Status::Error, true, Some("no")));
        assert!(new.git.is_some());
        assert_eq!(Stack::of(&json!({"Id": 1, "Status": 17})).unwrap().status, Status::Unknown);
        assert!(Stack::of(&json!({"message": "no"})).is_none());
    }

    #[test]
    fn variables_keep_their_order_and_never_show_their_values() {
        let mut env = Env(vec![
            json!({"name": "A", "value": "1"}),
            json!({"name": "B", "value": "sup3r", "more": 1}),
            json!({"name": "A", "value": "2"}),
        ]);
        assert_eq!(env.get("A"), Some("2"));
        env.set("A", "3");
        env.set("C", "4");
        let expected = json!([
            {"name": "A", "value": "1"}, {"name": "B", "value": "sup3r", "more": 1}, {"name": "A", "value": "3"},
            {"name": "C", "value": "4"}
        ]);
        assert_eq!(env.to_json(), expected);
        assert_eq!(format!("{env:?}"), r#"["A", "B", "A", "C"]"#);
    }

    #[test]
    fn names_become_what_portainer_makes_of_them() {
        for (typed, made) in [("My.App", "myapp"), ("shop-dev", "shop-dev"), ("a b_C", "ab_c")] {
            assert_eq!(normalized(typed), made);
        }
    }
}
