//! A request as a source's module reads it, and the small readings of JSON that they share.

use std::borrow::Cow;

use axum::http::{HeaderMap, header};
use serde_json::Value;

use super::Unreadable;

/// What a sender sent, once it is known to be the sender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    /// `?tag=`, which one producer says in the URL.
    pub(crate) tag: Option<&'a str>,
}

impl<'a> Message<'a> {
    /// A header's text; none when it is empty.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
    }

    /// The first of these headers that says anything.
    pub(crate) fn first_header(&self, names: &[&str]) -> Option<&'a str> {
        names.iter().find_map(|name| self.header(name))
    }

    /// The type of the body in lower case, without its parameters.
    pub(crate) fn media_type(&self) -> String {
        let text = self.header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
        text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The JSON of the body, or of the field `payload` where a form was posted.
    pub(crate) fn document(&self) -> Cow<'a, [u8]> {
        let form = self.media_type() == "application/x-www-form-urlencoded";
        let mut fields = form_urlencoded::parse(self.body).take(if form { usize::MAX } else { 0 });
        match fields.find(|(name, _)| name == "payload") {
            Some((_, payload)) => Cow::Owned(payload.into_owned().into_bytes()),
            None => Cow::Borrowed(self.body),
        }
    }

    pub(super) fn json(&self) -> Result<Value, Unreadable> {
        let document = self.document();
        serde_json::from_slice(without_mark(&document)).map_err(Unreadable::NotJson)
    }
}

/// What some shells put in front of a text, to say that it is one, is no part of it.
pub(crate) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// The text at a key; none when it is empty or no text.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// The text at a path of keys, as in `/repository/owner/login`.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path)?.as_str().filter(|text| !text.is_empty())
}

/// The first of these keys that holds a text.
pub(super) fn first<'a>(value: &'a Value, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| text(value, key))
}

/// A text, number or yes-or-no as text; none for what holds others, and for an empty text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether the flag at a key is set.
pub(super) fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or_default()
}

/// The host of a URL or of a name without a scheme, with its port.
pub(super) fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// A reference in its parts: what stands before the tag, and the tag. A digest is left out.
pub(super) fn split_tag(reference: &str) -> (&str, Option<&str>) {
    let name = reference.split('@').next().unwrap_or_default();
    let after_slash = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[after_slash..].find(':') {
        Some(colon) => (&name[..after_slash + colon], Some(&name[after_slash + colon + 1..])),
        None => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_and_urls_come_apart() {
        assert_eq!(split_tag("h:5000/a/b:1@sha256:x"), ("h:5000/a/b", Some("1")));
        assert_eq!(split_tag("h:5000/a/b"), ("h:5000/a/b", None));
        assert_eq!(split_tag(""), ("", None));
        assert_eq!(host_of("https://u:p@git.acme.cn:3000/x?y#z"), "git.acme.cn:3000");
        assert_eq!(host_of("registry.acme.cn"), "registry.acme.cn");
    }

    #[test]
    fn a_forms_payload_is_its_document() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/x-www-form-urlencoded; charset=utf-8".parse().unwrap());
        let message = Message { headers: &headers, body: b"a=1&payload=%7B%22x%22%3A1%7D", tag: None };
        assert_eq!(message.json().unwrap()["x"], 1);
        let plain = HeaderMap::new();
        let marked = Message { headers: &plain, body: b"\xef\xbb\xbf{\"x\":1}", tag: None };
        assert_eq!(marked.json().unwrap()["x"], 1);
        let message = Message { headers: &plain, body: b"payload=%7B%7D", tag: None };
        assert!(message.json().is_err());
    }
}
