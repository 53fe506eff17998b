//! Whether what was said of a job is kept for as long as the job may be held: one that the history forgot can be neither
//! listed nor approved.

use std::time::Duration;

use config::{Faults, Node, Span};

use super::target::LONGEST_DEADLINE;

/// Looks at each target that says for how long its jobs are held. Unless it is told otherwise the history is kept long
/// enough for the longest.
pub(super) fn check(root: &Node, faults: &mut Faults) {
    let kept = root.get("keep").and_then(|keep| keep.get("history")).and_then(|history| history.get("age"));
    let Some(kept) = kept.and_then(span) else { return };
    let targets = root.get("targets").into_iter().flat_map(Node::entries);
    for (_, target) in targets {
        let Some(node) = target.get("hold_for") else { continue };
        let Some(hold) = span(node) else { continue };
        let needed = hold + 2 * LONGEST_DEADLINE;
        if needed > kept {
            let (hold, kept, needed) = (Span(hold), Span(kept), Span(needed));
            let fault = node.fault(format!(
                "a job may be held for {hold}, and what was said of it is kept for {kept} (`keep: {{history}}`)"
            ));
            let hint = format!(
                "write `keep: {{history: {{age: {needed}}}}}` or more, which is `30d` by default; or hold for less"
            );
            faults.push(fault.hint(hint));
        }
    }
}

/// The span of time that stands there, if one does: whoever reads the key says what is wrong with it.
fn span(node: &Node) -> Option<Duration> {
    node.read::<Span>(&mut Faults::new()).map(|Span(span)| span)
}

#[cfg(test)]
mod tests {
    use config::{Document, Faults};

    use super::check;

    fn faults_of(keep: &str, hold: &str) -> String {
        let text = format!("{keep}\ntargets:\n  web: {{at: lab, hold_for: {hold}}}\n  api: {{at: lab}}\n");
        let mut faults = Faults::new();
        check(Document::parse("held.yaml", &text).unwrap().root(), &mut faults);
        faults.to_string()
    }

    #[test]
    fn what_is_held_longer_than_the_history_is_kept_is_a_fault() {
        let fault = faults_of("keep: {history: {age: 9d}}", "28d");
        for part in ["held.yaml:3", "28d", "9d", "age: 30d"] {
            assert!(fault.contains(part), "{part}: {fault}");
        }
        for (keep, hold) in [
            ("keep: {history: {age: 30d}}", "28d"),
            ("keep: {history: {age: 9d}}", "7d"),
            ("keep: {history: {bytes: 1GiB}}", "28d"),
            ("version: 1", "28d"),
            // Told by whoever reads it.
            ("keep: {history: {age: soon}}", "28d"),
            ("keep: {history: {age: 9d}}", "[]"),
        ] {
            assert_eq!(faults_of(keep, hold), "", "{keep} {hold}");
        }
    }
}
