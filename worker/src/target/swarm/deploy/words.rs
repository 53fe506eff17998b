//! In what two compose texts differ: field by field, in the words of the text.
//!
//! What an option comes to on a service is the docker command's to say. That a text says something else than before can
//! be told without it: a text that changes anything never plans as no change.

use proto::{StackText, ask::Change};
use serde_json::{Value, json};

use crate::target::difference::{differences, is_of_services, said};

/// Every difference of `text` from the one that was deployed `before`, but for services that come or go and their
/// images: these are compared with what stands. `of`: what it is of, as in `stack shop`.
pub(super) fn changes(of: &str, before: Option<&StackText>, text: &StackText) -> Vec<Change> {
    let mut changes = Vec::new();
    let Some(before) = before else {
        let to = Some(json!("its options are those of this text, whatever they are now"));
        return vec![Change { of: of.to_owned(), field: "compose".to_owned(), from: None, to }];
    };
    differences(&words(before), &words(text), &mut Vec::new(), &mut |path, from, to| {
        if !is_of_services(path) {
            let (from, to) = (from.cloned(), to.cloned());
            changes.push(Change { of: of.to_owned(), field: path.join("."), from, to });
        }
    });
    changes
}

/// The text with its variables and files beside it; secrets are named in both.
fn words(text: &StackText) -> Value {
    // One that was deployed can be read; else all of it is different.
    let mut all = said(&text.compose).unwrap_or_else(|| json!({"compose": text.compose}));
    if let Value::Object(words) = &mut all {
        words.insert("variables".to_owned(), json!(text.env));
        words.insert("files".to_owned(), json!(text.files));
    }
    all
}

#[cfg(test)]
mod tests {
    use proto::Given;

    use super::*;

    fn text(more: &str, variable: &str) -> StackText {
        let web = format!("services: {{web: {{image: 'app:1'{more}}}}}");
        let mut text = StackText::of(web);
        text.env.insert("COLOR".to_owned(), Given::Value(variable.to_owned()));
        text
    }

    #[test]
    fn whatever_a_text_says_otherwise_is_told() {
        let fields = |before: &StackText, after: &StackText| -> Vec<String> {
            changes("stack shop", Some(before), after).into_iter().map(|change| change.field).collect()
        };
        let before = text(", ports: ['80:80'], environment: {A: b}", "red");
        assert!(fields(&before, &before).is_empty());
        assert_eq!(fields(&before, &text(", environment: {A: b}", "red")), ["services.web.ports"]);
        assert_eq!(
            fields(&before, &text(", ports: ['80:80'], environment: {A: c}", "blue")),
            ["services.web.environment.A", "variables.COLOR"]
        );
        let networks =
            StackText { compose: format!("{}\nnetworks: {{back: {{}}}}", before.compose), ..before.clone() };
        assert_eq!(fields(&before, &networks).len(), 1);
        // These are compared with what stands.
        let image = StackText { compose: before.compose.replace("app:1", "app:2"), ..before.clone() };
        assert!(fields(&before, &image).is_empty());
        assert_eq!(changes("stack shop", None, &before).len(), 1, "nothing is known of what it was");
    }
}
