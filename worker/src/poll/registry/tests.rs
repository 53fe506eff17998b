//! What needs no registry to be told.

use super::*;

fn client(entries: &[(&str, Registry)]) -> RegistryClient {
    RegistryClient::new(
        entries.iter().map(|(host, registry)| ((*host).to_owned(), registry.clone())).collect(),
    )
}

#[test]
fn only_what_runs_on_this_machine_is_asked_in_the_clear() {
    let with_authority = Registry { ca: Some(String::new()), ..Registry::default() };
    let elsewhere = Registry { pull_from: Some("vpc.example.com:5000".to_owned()), ..Registry::default() };
    let client = client(&[("127.0.0.1:5001", with_authority), ("r.example.com", elsewhere)]);
    for (host, base) in [
        ("docker.io", "https://registry-1.docker.io"),
        ("harbor.acme.lan:8443", "https://harbor.acme.lan:8443"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("localhost:5000", "http://localhost:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("127.0.0.1:5001", "https://127.0.0.1:5001"),
        ("r.example.com", "https://vpc.example.com:5000"),
        ("10.0.0.7:5000", "https://10.0.0.7:5000"),
    ] {
        assert_eq!(client.base(host), base);
    }
}

#[test]
fn a_registrys_words_are_found_in_its_error() {
    for (body, expected) in [
        (
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#,
            Some("incorrect username or password"),
        ),
        (r#"{"details":"no such user"}"#, Some("no such user")),
        (r#"{"errors":[]}"#, None),
        ("<html>", None),
    ] {
        assert_eq!(words(body.as_bytes()).as_deref(), expected, "{body}");
    }
}
