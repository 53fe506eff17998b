//! What is wrong with a source, and what is warned of.

use super::*;

fn warnings(text: &str) -> Vec<String> {
    read(text).unwrap().warnings().to_vec()
}

#[test]
fn a_source_that_can_never_deploy_is_told() {
    for kind in ["portainer", "jenkins", "drone", "woodpecker", "gitlab"] {
        let text = format!("sources: {{a: {{kind: {kind}, open: true}}}}");
        assert!(
            warnings(&text)[0].starts_with("the source `a` deploys nothing: its messages name no image"),
            "{kind}"
        );
        let text = format!("sources: {{a: {{kind: {kind}, open: true, image: \"acme/web:{{tag}}\"}}}}");
        assert_eq!(warnings(&text), [""; 0]);
        let text = format!("sources: {{a: {{kind: {kind}, open: true, registry: r.lan}}}}");
        assert_eq!(read(&text).unwrap_err()[0].0, "sources.a.registry", "{kind}");
    }
    assert!(warnings("sources: {a: {kind: nexus, open: true}}")[0].contains("`registry`"));
    let listed = "sources: {a: {kind: nexus, open: true, registry: r.lan, repositories: docker-hosted}}";
    assert_eq!(warnings(listed), [""; 0]);
    assert_eq!(warnings("sources: {a: {kind: gitea, open: true, registry: r.lan}}"), [""; 0]);
}

#[test]
fn a_registry_that_does_not_tell_what_was_pulled_through_lists_what_is_pushed_to() {
    let told = warnings("sources: {a: {kind: nexus, open: true, registry: r.lan}}");
    assert!(told.len() == 1 && told[0].contains("`repositories: [docker-hosted]`"), "{told:?}");
    for kind in ["nexus", "jfrog"] {
        let text = format!(
            "sources: {{a: {{kind: {kind}, open: true, registry: r.lan, repositories: [docker-hosted, \"team-*\"]}}}}"
        );
        assert_eq!(warnings(&text), [""; 0], "{kind}");
        let settings = read(&text).unwrap();
        assert_eq!(settings.sources["a"].rules.repositories, ["docker-hosted", "team-*"], "{kind}");
    }
    let elsewhere = "sources: {a: {kind: quay, open: true, repositories: x}}";
    assert_eq!(read(elsewhere).unwrap_err()[0].0, "sources.a.repositories");
}

#[test]
fn a_follow_that_no_image_has_is_told_with_what_was_meant() {
    for (follow, meant) in [
        ("\"Acme/web:*\"", "acme/web"),
        ("{image: Ghcr.io/acme/web, tags: {glob: \"*\"}}", "ghcr.io/acme/web"),
    ] {
        let mut faults = Faults::new();
        let text = format!("systems: {{s: {{}}}}\ntargets: {{a: {{at: s, follow: {follow}}}}}");
        assert!(Settings::read(&Document::parse("l.yaml", &text).unwrap(), &mut faults).is_none());
        let hints: Vec<_> = faults.iter().filter_map(|fault| fault.hint.clone()).collect();
        assert_eq!(hints, [format!("did you mean `{meant}`?")]);
    }
}

/// `exposed` is what lets others in.
fn with_a_source(exposed: &str, source: &str) -> String {
    format!("{exposed}\nsources: {{a: {{kind: github, {source}}}}}")
}

#[test]
fn a_key_that_can_be_guessed_lets_nobody_in_from_elsewhere() {
    let reaches = ["listen: 0.0.0.0:80", "hooks_listen: 10.0.0.1:80", "public_url: https://deploy.acme.cn"];
    let long = "0123456789abcdef";
    for (source, path) in [
        ("key: ab".to_owned(), "sources.a.key"),
        (format!("key: \"{long}\\nab\""), "sources.a.key"),
        ("authorization: \"Bearer 0123456789\"".to_owned(), "sources.a.authorization"),
        (format!("key: {long}, secret: new"), "sources.a.secret"),
    ] {
        for exposed in reaches {
            let faults = read(&with_a_source(exposed, &source)).unwrap_err();
            assert_eq!(faults.iter().map(|(path, _)| path).collect::<Vec<_>>(), [path], "{exposed} {source}");
        }
        let told = warnings(&with_a_source("listen: \"[::1]:80\"", &source));
        assert!(told.len() == 1 && told[0].contains("can be guessed"), "{source}: {told:?}");
    }
    for source in [format!("key: {long}"), "key: ab, loopback_only: true".to_owned(), "open: true".to_owned()]
    {
        assert_eq!(warnings(&with_a_source(reaches[0], &source)), [""; 0], "{source}");
    }
}

#[test]
fn sources_with_the_same_key_are_told() {
    let text = "sources:\n  a: {kind: plain, key: \"0123456789abcdef\\nfedcba9876543210\"}\n  b: {kind: harbor, key: fedcba9876543210}\n  \
                c: {kind: plain, key: another-0123456789}\n";
    let told = warnings(text);
    assert!(told.len() == 1 && told[0].starts_with("the sources `a`, `b` have the same key"), "{told:?}");
}
