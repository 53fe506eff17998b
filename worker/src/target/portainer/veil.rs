//! What of a variable may be shown: whatever looks like a secret is hidden, by its name or by its form.

use std::collections::BTreeMap;

use serde_json::Value;

/// What stands in the place of a value that may be secret.
pub(super) const HIDDEN: &str = "…";
/// A variable whose name has one of these in it holds what is nobody else's business.
const SECRET: [&str; 12] =
    ["PASS", "PWD", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "AUTH", "PRIVATE", "CERT", "SALT", "DSN", "HOOK"];
/// As whole words alone: they stand in others by chance.
const SECRET_WORDS: [&str; 5] = ["PW", "PSW", "PSK", "JWT", "SIG"];
/// Whoever knows an address with one of these may write there.
const OPEN_DOORS: [&str; 2] = ["hook", "/bot"];
/// Shorter values are words that stand in others by chance.
const SHORTEST: usize = 4;

/// Hides values under names that speak of a secret, wherever else they stand too, and what by its form is one.
pub(super) fn veil(all: &mut BTreeMap<String, String>) {
    let secrets: Vec<String> = all
        .iter()
        .filter(|(name, value)| is_secret(name) && value.len() >= SHORTEST)
        .map(|(_, value)| value.clone())
        .collect();
    for (name, value) in all {
        if is_secret(name) && !value.is_empty() {
            HIDDEN.clone_into(value);
            continue;
        }
        for secret in &secrets {
            *value = value.replace(secret, HIDDEN);
        }
        *value = veiled(value);
    }
}

/// Values of a text that is compared with another, without what may be secret.
pub(super) struct Veil(Vec<String>);

impl Veil {
    /// Hides, wherever they stand, the values of those variables whose names speak of a secret.
    pub(super) fn of<'a>(variables: impl Iterator<Item = (&'a str, &'a str)>) -> Veil {
        let is_hidden = |(name, value): &(&str, &str)| is_secret(name) && value.len() >= SHORTEST;
        Veil(variables.filter(is_hidden).map(|(_, value)| value.to_owned()).collect())
    }

    /// What may be shown of a value that stands under `name`.
    pub(super) fn value(&self, name: &str, value: &Value) -> Value {
        match value {
            Value::String(text) if is_secret(name) && !text.is_empty() => Value::from(HIDDEN),
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(all) => all.iter().map(|value| self.value(name, value)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), self.value(name, value))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn text(&self, text: &str) -> String {
        // A line of a list of variables.
        if let Some((name, value)) = text.split_once('=')
            && is_secret(name)
            && !value.is_empty()
        {
            return format!("{name}={HIDDEN}");
        }
        veiled(&self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN)))
    }
}

/// Whether a name speaks of a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    let mut words = name.split(|letter: char| !letter.is_alphanumeric());
    SECRET.iter().any(|part| name.contains(part)) || words.any(|word| SECRET_WORDS.contains(&word))
}

/// A value without what by its form is a secret: a key in PEM, a login in an address, a parameter of a secret's name, an
/// address that lets in whoever knows it.
pub(super) fn veiled(value: &str) -> String {
    let is_whole = value.contains("-----BEGIN") || is_object_with_secrets(value);
    if is_whole {
        return HIDDEN.to_owned();
    }
    without_parameters(&without_door(&with_login_hidden(value)))
}

fn is_object_with_secrets(value: &str) -> bool {
    fn has_secrets(value: &Value) -> bool {
        match value {
            Value::Object(fields) => fields.iter().any(|(name, value)| is_secret(name) || has_secrets(value)),
            Value::Array(all) => all.iter().any(has_secrets),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    serde_json::from_str(value).is_ok_and(|value| has_secrets(&value))
}

/// Passwords may have any character in them, unescaped: all before the last `@` is the login. What has no colon there is
/// the address of a mailbox.
fn with_login_hidden(value: &str) -> String {
    let Some((login, host)) = value.rsplit_once('@') else { return value.to_owned() };
    match login.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://{HIDDEN}@{host}"),
        None if login.contains(':') => format!("{HIDDEN}@{host}"),
        None => value.to_owned(),
    }
}

fn without_door(value: &str) -> String {
    let small = value.to_lowercase();
    if !small.starts_with("http") || !OPEN_DOORS.iter().any(|door| small.contains(door)) {
        return value.to_owned();
    }
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    match rest.split_once('/') {
        Some((host, path)) if !path.is_empty() => format!("{scheme}://{host}/{HIDDEN}"),
        Some(_) | None => value.to_owned(),
    }
}

/// As in `Server=db;Password=…` or `?user=a&password=…`.
fn without_parameters(value: &str) -> String {
    const ENDS: [char; 5] = ['&', ';', '?', ' ', '\n'];
    let veiled = |piece: &str| {
        let text = piece.trim_end_matches(ENDS);
        match text.split_once('=') {
            Some((name, secret)) if is_secret(name) && !secret.is_empty() => {
                format!("{name}={HIDDEN}{}", &piece[text.len()..])
            }
            Some(_) | None => piece.to_owned(),
        }
    };
    value.split_inclusive(ENDS).map(veiled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_speak_of_a_secret_are_known() {
        for name in ["MYSQL_PW", "db.pw", "api_token", "WEBHOOK_URL", "SMTP_PASS", "jwt"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["PWX", "SPWN", "COLOR", "DESIGN", "PORT"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn what_is_a_secret_by_its_form_is_hidden() {
        for (value, shown) in [
            ("blue", "blue"),
            ("ops@example.com", "ops@example.com"),
            ("https://example.com/a?b=c&d=e", "https://example.com/a?b=c&d=e"),
            ("a=b; c, d", "a=b; c, d"),
            ("postgres://u:p@ss@host/db", "postgres://…@host/db"),
            ("postgres://u:p/w?x@host/db", "postgres://…@host/db"),
            ("amqp://a:b@h1,amqp://a:b@h2", "amqp://…@h2"),
            ("u:p@tcp(db:3306)/shop", "…@tcp(db:3306)/shop"),
            ("jdbc:mysql://h/db?user=a&password=hunter3", "jdbc:mysql://h/db?user=a&password=…"),
            ("Server=db;Password=a;Timeout=3", "Server=db;Password=…;Timeout=3"),
            ("DefaultEndpointsProtocol=https;AccountKey=a==", "DefaultEndpointsProtocol=https;AccountKey=…"),
            ("https://hooks.slack.com/services/T0/B0/abc", "https://hooks.slack.com/…"),
            ("https://discord.com/api/webhooks/1/abc", "https://discord.com/…"),
            ("https://api.telegram.org/bot1:abc/send", "https://api.telegram.org/…"),
            ("-----BEGIN PRIVATE KEY-----\nabc", "…"),
            (r#"{"log": {"level": "info"}}"#, r#"{"log": {"level": "info"}}"#),
            (r#"{"db": {"password": "x"}}"#, "…"),
        ] {
            assert_eq!(veiled(value), shown, "{value}");
        }
    }
}
