//! The section `secrets`: values that stacks ask for by name. Only workers know them.

use config::{Faults, Node, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::target::swarm::Secrets;

/// `secrets.<name>`: a value that a stack's variables and files may ask for with `{"from": "<name>"}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedSecret {
    /// The value itself. Better in a file of its own.
    pub value: Secret,
}

/// Reads every entry, whatever is wrong with the one before.
pub(super) fn read(root: &Node, faults: &mut Faults) -> Option<Secrets> {
    let before = faults.len();
    let entries = super::section(root.get("secrets"), faults);
    let mut secrets = Secrets::new();
    for (key, node) in entries {
        if let Some(secret) = node.read::<NamedSecret>(faults) {
            secrets.insert(key.text.clone(), secret.value);
        }
    }
    (faults.len() == before).then_some(secrets)
}

#[cfg(test)]
mod tests {
    use config::Document;

    use super::*;

    fn secrets(text: &str) -> Result<Secrets, String> {
        let document = Document::parse("longshore.yaml", text).unwrap();
        let mut faults = Faults::new();
        read(document.root(), &mut faults).ok_or_else(|| faults.to_string())
    }

    #[test]
    fn secrets_stand_in_files_or_in_the_text_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("db");
        std::fs::write(&file, "sup3rs3cret").unwrap();
        let text = format!("secrets:\n  db: {{value_file: {}}}\n  plain: {{value: abc}}\n", file.display());
        let read = secrets(&text).unwrap();
        assert_eq!(read["db"].expose(), "sup3rs3cret");
        assert_eq!(read["plain"].expose(), "abc");
        assert!(!format!("{read:?}").contains("sup3rs3cret"));
        for (text, told) in [
            ("secrets: {db: hunter2}\n", "secrets.db"),
            ("secrets: {db: {valeu: hunter2}}\n", "valeu"),
            ("secrets: {db: {value_file: /does/not/exist}}\n", "secrets.db"),
        ] {
            let faults = secrets(text).unwrap_err();
            assert!(faults.contains(told) && !faults.contains("hunter2"), "{faults}");
        }
        assert!(secrets("version: 1\n").unwrap().is_empty());
    }
}
