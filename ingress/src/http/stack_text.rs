//! What of a compose text is refused before it is kept. The rest of it is the workers' to read.

use config::{Document, Node};
use proto::{Given, StackText};

use crate::problem::{Kind, Problem};

pub(super) fn check(text: &StackText) -> Result<(), Problem> {
    let cannot = |why: String| Kind::BadJob.with(format!("the stack cannot be deployed: {why}"));
    text.check().map_err(|error| cannot(error.to_string()))?;
    if !text.files.values().any(|given| matches!(given, Given::Value(_))) {
        return Ok(());
    }
    // Which of the files are secrets, nobody can tell of a text that cannot be read: it is not kept either.
    let read = Document::parse("compose text", &text.compose);
    let document = read.map_err(|faults| {
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        cannot(told.join("; "))
    })?;
    let secrets = document.root().get("secrets").into_iter().flat_map(Node::entries);
    let paths = secrets.filter_map(|(_, secret)| secret.get("file")?.text());
    text.check_secrets(paths).map_err(|error| cannot(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(compose: &str, path: &str) -> Option<String> {
        let mut text = StackText::of(compose);
        text.files.insert(path.to_owned(), Given::Value("pw123".to_owned()));
        check(&text).err().map(|problem| problem.detail().to_owned())
    }

    #[test]
    fn a_secret_is_not_taken_as_plain_text() {
        for compose in [
            "secrets: {db: {file: db.txt}}\n",
            "secrets:\n  db:\n    file: ./db.txt\n",
            "x: &x {file: db.txt}\nsecrets: {db: {<<: *x, name: a}}\n",
            "secrets: {db: {file: '${AT:-db.txt}'}}\n",
        ] {
            let told = told(compose, "db.txt").unwrap();
            assert!(told.contains("`db.txt`") && told.contains("--secret-file") && !told.contains("pw123"));
        }
        assert!(told("secrets: [a\n", "db.txt").is_some(), "what cannot be read is not kept");
        for compose in
            ["configs: {c: {file: db.txt}}\n", "secrets: {db: {external: true}}\n", "services: {}\n"]
        {
            assert_eq!(told(compose, "db.txt"), None, "{compose}");
        }
        assert!(
            check(&StackText::of("secrets: [a\n")).is_ok(),
            "there is nothing in it to keep from anybody"
        );
    }
}
