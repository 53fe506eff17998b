//! The section `secrets`: values that stacks ask for by name. Only workers know them.

use std::collections::BTreeMap;

use config::{Faults, Node, Secret};
use proto::{Operation, TargetName, TargetPattern};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::target::swarm::Secrets;

/// `secrets.<name>`: a value that a stack's variables and files may ask for with `{"from": "<name>"}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedSecret {
    /// The value itself. Better in a file of its own.
    pub value: Secret,
    /// The targets whose stacks may ask for it, as `shop`, `shop-*` or `office/*`. All of them without.
    #[serde(default)]
    pub targets: Option<Vec<TargetPattern>>,
}

/// Which secrets are for some targets only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reserved(BTreeMap<String, Vec<TargetPattern>>);

impl Reserved {
    /// The first secret that `operation` asks for and `target` is not given.
    pub(crate) fn withheld<'a>(&self, target: &TargetName, operation: &'a Operation) -> Option<&'a str> {
        let is_for_others = |name: &&str| {
            self.0.get(*name).is_some_and(|patterns| !patterns.iter().any(|pattern| pattern.takes(target)))
        };
        operation.secrets().into_iter().find(is_for_others)
    }
}

/// Reads every entry, whatever is wrong with the one before.
pub(super) fn read(root: &Node, faults: &mut Faults) -> Option<(Secrets, Reserved)> {
    let before = faults.len();
    let entries = super::section(root.get("secrets"), faults);
    let (mut secrets, mut reserved) = (Secrets::new(), Reserved::default());
    for (key, node) in entries {
        let Some(secret) = node.read::<NamedSecret>(faults) else { continue };
        if let Some(targets) = secret.targets {
            if targets.is_empty() {
                let place = node.get("targets").unwrap_or(node);
                let hint =
                    "name the targets that it is for, or leave `targets` out: it is for all of them then";
                faults.push(place.fault("no target may ask for this secret").hint(hint));
            }
            reserved.0.insert(key.text.clone(), targets);
        }
        secrets.insert(key.text.clone(), secret.value);
    }
    (faults.len() == before).then_some((secrets, reserved))
}

#[cfg(test)]
mod tests {
    use config::Document;

    use super::*;

    fn secrets_of(text: &str) -> Result<Secrets, String> {
        let document = Document::parse("longshore.yaml", text).unwrap();
        let mut faults = Faults::new();
        read(document.root(), &mut faults).map(|(secrets, _)| secrets).ok_or_else(|| faults.to_string())
    }

    #[test]
    fn a_secret_that_names_targets_is_for_those_alone() {
        let text = "secrets:\n  db: {value: abcd, targets: [\"shop-*\", office/web]}\n  all: {value: efgh}\n";
        let document = Document::parse("longshore.yaml", text).unwrap();
        let (secrets, reserved) = read(document.root(), &mut Faults::new()).unwrap();
        assert_eq!(secrets.len(), 2);
        let asks = |operation: &str| serde_json::from_str::<Operation>(operation).unwrap();
        let by_text = asks(
            r#"{"type":"deploy-stack","compose":"services: {}","env":{"A":{"from":"all"},"B":{"from":"db"}}}"#,
        );
        let by_file =
            asks(r#"{"type":"deploy-stack","compose":"services: {}","files":{"a.env":{"from":"db"}}}"#);
        let by_password = asks(
            r#"{"type":"deploy-git","url":"https://git.example/x.git","username":"u","password":{"from":"db"}}"#,
        );
        for operation in [by_text, by_file, by_password] {
            for (target, withheld) in
                [("shop-1", None), ("office/web", None), ("lab", Some("db")), ("office/shop-1", Some("db"))]
            {
                let target = target.parse().unwrap();
                assert_eq!(reserved.withheld(&target, &operation), withheld, "{target}");
            }
        }
        let lab = "lab".parse().unwrap();
        let other = asks(r#"{"type":"deploy-stack","compose":"services: {}","env":{"A":{"from":"all"}}}"#);
        assert_eq!(reserved.withheld(&lab, &other), None);
        for wrong in ["targets: []", "targets: [a/b/c]", "targets: shop"] {
            let faults = secrets_of(&format!("secrets: {{db: {{value: abcd, {wrong}}}}}\n")).unwrap_err();
            assert!(faults.contains("secrets.db.targets"), "{wrong}: {faults}");
        }
    }

    #[test]
    fn secrets_stand_in_files_or_in_the_text_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("db");
        std::fs::write(&file, "sup3rs3cret").unwrap();
        let text = format!("secrets:\n  db: {{value_file: {}}}\n  plain: {{value: abc}}\n", file.display());
        let read = secrets_of(&text).unwrap();
        assert_eq!(read["db"].expose(), "sup3rs3cret");
        assert_eq!(read["plain"].expose(), "abc");
        assert!(!format!("{read:?}").contains("sup3rs3cret"));
        for (text, told) in [
            ("secrets: {db: hunter2}\n", "secrets.db"),
            ("secrets: {db: {valeu: hunter2}}\n", "valeu"),
            ("secrets: {db: {value_file: /does/not/exist}}\n", "secrets.db"),
        ] {
            let faults = secrets_of(text).unwrap_err();
            assert!(faults.contains(told) && !faults.contains("hunter2"), "{faults}");
        }
        assert!(secrets_of("version: 1\n").unwrap().is_empty());
    }
}
