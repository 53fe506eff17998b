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
    /// Hidden only where they stand by themselves.
    words: Vec<String>,
}

impl Redaction {
    pub(crate) fn of(secrets: &Secrets) -> Redaction {
        let mut hidden: Vec<String> =
            secrets.values().flat_map(|secret| spellings(secret.expose())).collect();
        hidden.sort_by_key(|text| std::cmp::Reverse(text.len()));
        hidden.dedup();
        Redaction { hidden, words: Vec::new() }
    }

    /// Hides values of variables, of which nobody says whether they are secret. Short ones may be part of any word.
    pub(crate) fn of_values<'a>(values: impl IntoIterator<Item = &'a str>) -> Redaction {
        let (short, long): (Vec<&str>, Vec<&str>) =
            values.into_iter().partition(|value| value.len() < SHORTEST_PART);
        let mut hidden: Vec<String> = long.into_iter().flat_map(spellings).collect();
        hidden.sort_by_key(|text| std::cmp::Reverse(text.len()));
        hidden.dedup();
        Redaction { hidden, words: short.into_iter().flat_map(spellings).collect() }
    }

    pub(crate) fn text(&self, text: &str) -> String {
        let text = self.hidden.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN));
        self.words.iter().fold(text, |text, word| without_word(&text, word))
    }

    pub(crate) fn reason(&self, reason: Reason) -> Reason {
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

/// The text without a word, wherever it stands by itself.
fn without_word(text: &str, word: &str) -> String {
    let is_part =
        |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    let mut rest = text;
    let mut told = String::new();
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        let last = before.chars().next_back().or_else(|| told.chars().next_back());
        told.push_str(before);
        let is_alone = !is_part(last) && !is_part(after.chars().next());
        told.push_str(if is_alone { HIDDEN } else { word });
        rest = after;
    }
    told.push_str(rest);
    told
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
    fn short_values_are_hidden_where_they_stand_by_themselves() {
        for (values, told, hidden) in [
            (&["s3cr"][..], "port s3cr, \"s3cr\" and s3crets", "port …, \"…\" and s3crets"),
            (&["prod"], "product of prod_net on prod", "product of prod_net on …"),
            (&["1", "red"], "exit (1), red", "exit (1), red"),
            (&["a\"PASS\\\nb", "x"], "near \"a\\\"PASS\\\\\\nb\\nX=x\"", "near \"…\\nX=x\""),
        ] {
            assert_eq!(Redaction::of_values(values.iter().copied()).text(told), hidden);
        }
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
