//! A kubeconfig, as far as a worker without a person beside it can use one.

use std::{borrow::Cow, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use config::{Document, Node, Secret};

use super::{
    client::{Credential, Trust},
    settings::{Door, base, checked, identity},
};
use crate::target::wrong::Wrong;

/// Where the configuration keeps it.
const KEYS: &[&str] = &["kubeconfig_file", "kubeconfig"];
const CONTEXT: &[&str] = &["context", "kubeconfig_file", "kubeconfig"];

/// What would have to be started, or asked of somebody, to become a token.
const ASKS_OTHERS: [(&str, &str); 2] = [("exec", "command"), ("auth-provider", "name")];
/// What we do not do, and would get wrong if we passed over it in silence.
const NOT_DONE: [&str; 6] = ["tls-server-name", "proxy-url", "as", "as-uid", "as-groups", "as-user-extra"];

fn wrong(what: impl Into<Cow<'static, str>>, hint: impl Into<Cow<'static, str>>) -> Wrong {
    Wrong::new(KEYS, what, hint)
}

/// The cluster and the user of a context, the current one where none is named.
pub(super) fn door(text: &Secret, context: Option<&str>) -> Result<Door, Wrong> {
    let document = Document::parse("kubeconfig", text.expose());
    let unreadable = "print it anew with `kubectl config view --flatten --raw`";
    // What is wrong with it may repeat a line of it, which may be a token.
    let document = document.map_err(|_| wrong("the kubeconfig is no valid YAML", unreadable))?;
    let root = document.root();
    let named = |node: &Node, key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
    let current = named(root, "current-context").filter(|name| !name.is_empty());
    let context = context.map(str::to_owned).or(current).ok_or_else(|| {
        wrong(
            "the kubeconfig has no current context",
            format!("name one as `context`; there is {}", names(root, "contexts")),
        )
    })?;
    let chosen = entry(root, "contexts", "context", &context).ok_or_else(|| {
        let hint = format!("there is {}", names(root, "contexts"));
        Wrong::new(CONTEXT, format!("the kubeconfig has no context `{context}`"), hint)
    })?;
    let of_context = |key: &'static str, list: &'static str| {
        let name = named(chosen, key).unwrap_or_default();
        let what = format!("the kubeconfig has no {key} `{name}`, which its context `{context}` names");
        entry(root, list, key, &name).ok_or_else(|| wrong(what, unreadable))
    };
    let (cluster, user) = (of_context("cluster", "clusters")?, of_context("user", "users")?);
    refuse_what_is_not_done(cluster, user)?;
    let server = named(cluster, "server").unwrap_or_default();
    let insecure = named(cluster, "insecure-skip-tls-verify").is_some_and(|value| value == "true");
    let ca = text_of(cluster, "certificate-authority")?;
    let shown = match (text_of(user, "client-certificate")?, text_of(user, "client-key")?) {
        (Some(certificate), Some(key)) => Some(identity(&certificate, &key)?),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(wrong(
                "the kubeconfig has a certificate without its key, or a key alone",
                unreadable,
            ));
        }
    };
    let credential = credential(user, shown.is_some())?;
    let trust = Trust { ca, insecure, identity: shown };
    checked(Door { base: base(&server, KEYS)?, trust, credential }, KEYS)
}

/// A token goes first, as kubectl has it.
fn credential(user: &Node, has_certificate: bool) -> Result<Credential, Wrong> {
    let text =
        |key: &str| user.get(key).and_then(Node::text).filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(path) = text("tokenFile") {
        let path = Path::new(&path).to_path_buf();
        return Ok(Credential::BearerFile(whole(&path, "tokenFile").map(|()| path)?));
    }
    if let Some(token) = text("token") {
        return Ok(Credential::Bearer(Secret::new(token)));
    }
    match (text("username"), text("password")) {
        (Some(username), Some(password)) => {
            Ok(Credential::Basic { username, password: Secret::new(password) })
        }
        _ if has_certificate => Ok(Credential::Certificate),
        _ => Err(wrong(
            "the kubeconfig's user has neither a token nor a certificate",
            "make a service account's token with `kubectl create token`, and put it there as `token`",
        )),
    }
}

fn refuse_what_is_not_done(cluster: &Node, user: &Node) -> Result<(), Wrong> {
    for (key, by) in ASKS_OTHERS {
        if let Some(plugin) = user.get(key) {
            let name = plugin.get(by).and_then(Node::text).unwrap_or_default();
            return Err(wrong(
                format!(
                    "the kubeconfig's user gets its token from the plugin `{name}` (`{key}`), which is not started"
                ),
                "make a service account with a token of its own (`kubectl create serviceaccount`, `kubectl create \
                 token`), and put that there as `token`",
            ));
        }
    }
    let not_done = NOT_DONE.into_iter().find(|key| cluster.get(key).is_some() || user.get(key).is_some());
    match not_done {
        Some(key) => Err(wrong(
            format!("the kubeconfig asks for `{key}`, which is not done"),
            "use a context that does without it",
        )),
        None => Ok(()),
    }
}

/// A text that stands in the kubeconfig itself in base64, or in a file.
fn text_of(node: &Node, key: &str) -> Result<Option<String>, Wrong> {
    let text = |key: &str| node.get(key).and_then(Node::text).filter(|text| !text.is_empty());
    let in_it = format!("{key}-data");
    if let Some(data) = text(&in_it) {
        let plain = STANDARD.decode(data.split_whitespace().collect::<String>()).ok();
        let plain = plain.and_then(|bytes| String::from_utf8(bytes).ok());
        return plain.map(Some).ok_or_else(|| {
            wrong(
                format!("the kubeconfig's `{in_it}` is no base64"),
                "print it anew with `kubectl config view --flatten --raw`",
            )
        });
    }
    let Some(path) = text(key) else { return Ok(None) };
    whole(Path::new(path), key)?;
    std::fs::read_to_string(path).map(Some).map_err(|error| {
        wrong(
            format!("the kubeconfig's `{key}` cannot be read from {path}: {error}"),
            "give this process the file, or flatten the kubeconfig with `kubectl config view --flatten --raw`",
        )
    })
}

/// Only its text reaches us, not where it stands.
fn whole(path: &Path, key: &str) -> Result<(), Wrong> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(wrong(
        format!("the kubeconfig's `{key}` is a path that is not whole"),
        "flatten the kubeconfig with `kubectl config view --flatten --raw`",
    ))
}

/// What an entry of a list of names holds.
fn entry<'a>(root: &'a Node, list: &str, key: &str, name: &str) -> Option<&'a Node> {
    let is_it = |one: &&Node| one.get("name").and_then(Node::text) == Some(name);
    root.get(list)?.items().find(is_it)?.get(key)
}

fn names(root: &Node, list: &str) -> String {
    let all = root.get(list).map(Node::items).into_iter().flatten();
    let names: Vec<String> = all.filter_map(|one| Some(format!("`{}`", one.get("name")?.text()?))).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(user: &str) -> Secret {
        Secret::new(format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: dev\npreferences: {{}}\n\
             clusters:\n- name: one\n  cluster: {{server: 'https://10.0.0.1:6443/', insecure-skip-tls-verify: true}}\n\
             - name: two\n  cluster: {{server: 'https://10.0.0.2:6443', tls-server-name: x}}\n\
             contexts:\n- name: dev\n  context: {{cluster: one, user: ci, namespace: shop}}\n\
             - name: other\n  context: {{cluster: two, user: ci}}\n- name: gone\n  context: {{cluster: three, user: ci}}\n\
             users:\n- name: ci\n  user: {user}\n"
        ))
    }

    #[test]
    fn a_context_leads_to_its_server_and_user() {
        let found = door(&config("{token: sup3rs3cret}"), None).unwrap();
        assert_eq!(found.base, "https://10.0.0.1:6443");
        assert!(found.trust.insecure);
        assert_eq!(found.credential, Credential::Bearer(Secret::new("sup3rs3cret")));
        let by_file = door(&config("{tokenFile: /run/token, token: other}"), Some("dev")).unwrap();
        assert_eq!(by_file.credential, Credential::BearerFile("/run/token".into()));
        let basic = door(&config("{username: a, password: b}"), None).unwrap();
        assert_eq!(basic.credential, Credential::Basic { username: "a".into(), password: Secret::new("b") });
        // JSON is YAML as well.
        let json = r#"{"current-context":"a","contexts":[{"name":"a","context":{"cluster":"c","user":"u"}}],
            "clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:8001"}}],"users":[{"name":"u","user":{"token":"t"}}]}"#;
        assert_eq!(door(&Secret::new(json), None).unwrap().base, "http://127.0.0.1:8001");
    }

    #[test]
    fn each_mistake_is_told_by_name_and_no_token_with_it() {
        let said = |user: &str, context: Option<&str>| {
            let wrong = door(&config(user), context).unwrap_err();
            format!("{}; {}", wrong.what, wrong.hint)
        };
        for (user, context, expected) in [
            (
                "{token: sup3rs3cret}",
                Some("prod"),
                "the kubeconfig has no context `prod`; there is `dev`, `other`, `gone`",
            ),
            ("{token: sup3rs3cret}", Some("other"), "the kubeconfig asks for `tls-server-name`"),
            (
                "{token: sup3rs3cret}",
                Some("gone"),
                "the kubeconfig has no cluster `three`, which its context `gone` names",
            ),
            (
                "{exec: {command: aws, args: [eks, get-token]}}",
                None,
                "gets its token from the plugin `aws` (`exec`), which is not started; make a service account",
            ),
            ("{auth-provider: {name: gcp}}", None, "gets its token from the plugin `gcp` (`auth-provider`)"),
            ("{}", None, "the kubeconfig's user has neither a token nor a certificate"),
            ("{client-certificate: /x}", None, "`client-certificate` cannot be read from /x"),
            ("{client-certificate: x}", None, "`client-certificate` is a path that is not whole"),
            ("{client-certificate-data: '%'}", None, "`client-certificate-data` is no base64"),
            ("{client-key-data: eA==}", None, "a certificate without its key, or a key alone"),
            ("{token: sup3rs3cret, as: admin}", None, "the kubeconfig asks for `as`"),
        ] {
            assert!(said(user, context).contains(expected), "{user}\n---\n{}", said(user, context));
            assert!(!said(user, context).contains("sup3r"));
        }
        let broken = door(&Secret::new("a: [sup3rs3cret"), None).unwrap_err();
        assert!(broken.what.contains("no valid YAML") && !format!("{broken:?}").contains("sup3r"));
    }
}
