//! What stands for `${NAME}` in a compose text. Only where Longshore itself has to know the value: the text goes to
//! the docker command as it is.

/// Replaces `$NAME`, `${NAME}`, `${NAME:-else}`, `${NAME-else}`, `${NAME:?why}` and `${NAME?why}`; `$$` is a `$`.
///
/// # Errors
/// A sentence for people: a value that must be given and is not, or what `value_of` says, or a form that there is not.
pub fn replaced(
    text: &str,
    value_of: impl Fn(&str) -> Result<Option<String>, String>,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            after
        } else if let Some(braced) = after.strip_prefix('{') {
            let (inner, after) = braced.split_once('}').ok_or_else(|| unreadable(text))?;
            out.push_str(&braced_value(inner, text, &value_of)?);
            after
        } else {
            let (name, after) = split_name(after);
            if name.is_empty() {
                return Err(unreadable(text));
            }
            out.push_str(&value_of(name)?.unwrap_or_default());
            after
        };
    }
    out.push_str(rest);
    Ok(out)
}

/// A variable that a text asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// As it stands there.
    pub name: String,
    /// Nothing would stand there without a value.
    pub needs_value: bool,
}

/// The variables that a text asks for; what cannot be read is left to whoever fills it in.
#[must_use]
pub fn named(text: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
            continue;
        }
        let braced = after.strip_prefix('{');
        let (name, after) = split_name(braced.unwrap_or(after));
        if !name.is_empty() {
            let needs_value = braced.is_none() || after.starts_with('}');
            found.push(Named { name: name.to_owned(), needs_value });
        }
        rest = after;
    }
    found
}

/// The same text so that nothing in it is replaced.
#[must_use]
pub fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn braced_value(
    inner: &str,
    text: &str,
    value_of: &impl Fn(&str) -> Result<Option<String>, String>,
) -> Result<String, String> {
    let (name, rest) = split_name(inner);
    let value = if name.is_empty() { return Err(unreadable(text)) } else { value_of(name)? };
    let (rest, value) = match rest.strip_prefix(':') {
        // With the colon, an empty value counts as none.
        Some(rest) => (rest, value.filter(|value| !value.is_empty())),
        None if rest.is_empty() => return Ok(value.unwrap_or_default()),
        None => (rest, value),
    };
    match (rest.strip_prefix('-'), rest.strip_prefix('?'), value) {
        (Some(_), _, Some(value)) | (_, Some(_), Some(value)) => Ok(value),
        (Some(otherwise), _, None) => Ok(otherwise.to_owned()),
        (None, Some(""), None) => Err(format!("the variable `{name}` is not given")),
        (None, Some(why), None) => Err(format!("the variable `{name}` is not given: {why}")),
        (None, None, _) => Err(unreadable(text)),
    }
}

fn split_name(text: &str) -> (&str, &str) {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let end = text.find(|letter| !is_part(letter)).unwrap_or(text.len());
    match text.starts_with(|letter: char| letter.is_ascii_digit()) {
        true => ("", text),
        false => text.split_at(end),
    }
}

fn unreadable(text: &str) -> String {
    format!("`{text}` cannot be filled in; write `${{NAME}}`, or `$$` for a `$`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        replaced(text, |name| match name {
            "TAG" => Ok(Some("1.2".to_owned())),
            "EMPTY" => Ok(Some(String::new())),
            "KEY" => Err("`KEY` is a secret".to_owned()),
            _ => Ok(None),
        })
    }

    #[test]
    fn variables_are_replaced_as_compose_does() {
        for (text, expected) in [
            ("app:1", "app:1"),
            ("app:${TAG}", "app:1.2"),
            ("app:$TAG-x", "app:1.2-x"),
            ("a$$b", "a$b"),
            ("app:${NONE}", "app:"),
            ("app:${NONE:-2}", "app:2"),
            ("app:${EMPTY:-2}", "app:2"),
            ("app:${EMPTY-2}", "app:"),
            ("app:${TAG:-2}", "app:1.2"),
            ("app:${TAG:?say it}", "app:1.2"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, why) in [
            ("app:${NONE:?say it}", "`NONE` is not given: say it"),
            ("app:${EMPTY:?}", "`EMPTY` is not given"),
            ("app:${TAG", "cannot be filled in"),
            ("app:${}", "cannot be filled in"),
            ("app:$", "cannot be filled in"),
            ("app:$1", "cannot be filled in"),
            ("app:${TAG:+x}", "cannot be filled in"),
            ("app:${KEY}", "is a secret"),
        ] {
            let told = filled(text).unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        }
    }
}
