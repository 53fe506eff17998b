//! Secrets are not repeated, whoever repeats them to us: engines and commands quote what they were given.

use proto::Reason;

use crate::{
    conclusion::{Conclusion, Telling},
    target::swarm::Secrets,
};

/// What stands in the place of a secret.
const HIDDEN: &str = "…";
/// Shorter secrets would tear ordinary words apart, and are none.
const SHORTEST: usize = 4;
/// The same for a part of a secret: programs quote a line of it, or what they take for a name.
const SHORTEST_PART: usize = 6;

/// Hides the values of the section `secrets` from whatever leaves the worker.
#[derive(Debug, Default)]
pub(crate) struct Redaction {
    /// The longest first: one may hold another.
    hidden: Vec<String>,
}

impl Redaction {
    pub(crate) fn of(secrets: &Secrets) -> Redaction {
        let mut hidden: Vec<String> =
            secrets.values().flat_map(|secret| spellings(secret.expose())).collect();
        hidden.sort_by_key(|text| std::cmp::Reverse(text.len()));
        hidden.dedup();
        Redaction { hidden }
    }

    pub(crate) fn text(&self, text: &str) -> String {
        self.hidden.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }

    fn reason(&self, reason: Reason) -> Reason {
        Reason { text: self.text(&reason.text), ..reason }
    }

    /// What became of an attempt, without secrets.
    pub(crate) fn conclusion(&self, conclusion: Conclusion) -> Conclusion {
        if self.hidden.is_empty() {
            return conclusion;
        }
        match conclusion {
            Conclusion::End(telling) => {
                let reason = telling.reason.clone().map(|reason| self.reason(reason));
                let output = telling.output.iter().map(|line| self.text(line)).collect();
                Conclusion::End(Box::new(Telling { reason, output, ..*telling }))
            }
            Conclusion::Again { after, counted, reason } => {
                Conclusion::Again { after, counted, reason: self.reason(reason) }
            }
            Conclusion::Held { after, reason, image, told } => {
                Conclusion::Held { after, reason: self.reason(reason), image, told }
            }
            Conclusion::Release(reason) => Conclusion::Release(self.reason(reason)),
            Conclusion::Left(reason) => Conclusion::Left(self.reason(reason)),
            other @ (Conclusion::Guarded { .. } | Conclusion::Copy(_)) => other,
        }
    }
}

/// The ways in which programs write a secret: as it is, a line or a word of it, each also as between quotes.
fn spellings(secret: &str) -> Vec<String> {
    let words = secret.split(|c: char| c.is_whitespace() || "=:\"'`,;".contains(c));
    let parts = secret.lines().map(str::trim).chain(words).filter(|part| part.len() >= SHORTEST_PART);
    let whole = [secret, secret.trim_end()].into_iter().filter(|whole| whole.len() >= SHORTEST);
    whole.chain(parts).flat_map(|text| [text.to_owned(), quoted(text)]).collect()
}

/// As JSON and Go write it between quotes.
fn quoted(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use config::Secret;
    use proto::reason;

    use super::*;

    fn redaction(secret: &str) -> Redaction {
        Redaction::of(&Secrets::from([("one".to_owned(), Secret::new(secret))]))
    }

    #[test]
    fn a_secret_is_hidden_however_it_is_quoted() {
        for (secret, told) in [
            ("PLAINSECRET", "exec: \"PLAINSECRET\": executable file not found"),
            ("my PASSPHRASE line=1", "variable 'my PASSPHRASE line' contains whitespaces"),
            (r#"PASSPHRASE"XYZ4\x"#, r#"undefined volume "PASSPHRASE\"XYZ4\\x""#),
            ("first-line\nPASSPHRASE\n", "bad value PASSPHRASE in first-line"),
        ] {
            let told = redaction(secret).text(told);
            assert!(!told.contains("PASSPHRASE") && !told.contains("PLAINSECRET"), "{told}");
        }
        assert_eq!(redaction("abc").text("abc is short"), "abc is short");
    }

    #[test]
    fn nothing_that_leaves_has_it() {
        let redaction = redaction("hunter2!");
        let reason = || Reason::new(reason::ROLLOUT_FAILED, "it said hunter2!");
        let mut telling = Telling::new(proto::State::Failed).reason(reason());
        telling.output = vec!["a hunter2! b".to_owned()];
        for conclusion in [
            telling.conclude(),
            Conclusion::Again { after: Duration::ZERO, counted: true, reason: reason() },
            Conclusion::Held { after: Duration::ZERO, reason: reason(), image: None, told: false },
            Conclusion::Release(reason()),
            Conclusion::Left(reason()),
        ] {
            let told = format!("{:?}", redaction.conclusion(conclusion));
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
