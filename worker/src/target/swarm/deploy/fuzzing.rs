//! Compose texts, tried with much else.

use proto::StackText;

use super::compose::{Compose, Edit};

const WORDS: &[&str] = &[
    "services:",
    "  web:\n",
    "    image: ",
    "acme/web:1",
    "${TAG}",
    "$${X}",
    "deploy:",
    "labels:",
    "replicas: 2",
    "secrets:",
    "configs:",
    "file: ./x",
    "environment:",
    "&a ",
    "*a",
    "<<: *a",
    "env_file: x",
    "extends:",
    "include:",
];

#[test]
fn fuzz_compose_text() {
    let seeds = [
        "services:\n  web:\n    image: acme/web:1\n    deploy: {replicas: 2, labels: [a=b]}\n    environment: {A: \"${TAG:-1}\"}\n",
        "version: \"3.8\"\nservices:\n  web:\n    image: acme/web:${TAG}\n    configs: [nginx.conf]\nconfigs:\n  nginx.conf: {file: ./nginx.conf}\n",
        "x-a: &a {labels: {c: d}}\nservices:\n  web: {image: acme/web, deploy: {<<: *a}}\nnetworks: {n: null}\n",
    ];
    fuzz::run("compose-text", seeds.map(|text| text.as_bytes().to_vec()), WORDS, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return 0 };
        let text = StackText::of(text);
        let mut compose = match Compose::read(&text) {
            Ok(compose) => compose,
            Err(why) => return fuzz::outcome(&fuzz::words(&why)),
        };
        let services = match compose.services() {
            Ok(services) => services,
            Err(why) => return fuzz::outcome(&("services", fuzz::words(&why))),
        };
        let Some(name) = services.first() else { return 1 };
        let edit = Edit {
            image: "r.lan/new:2".to_owned(),
            replicas: Some(1),
            labels: vec![("longshore.job", "x".to_owned())],
        };
        if let Err(why) = compose.edit(name, &edit) {
            return fuzz::outcome(&("edit", fuzz::words(&why)));
        }
        let written = StackText::of(compose.to_text());
        let again = Compose::read(&written).unwrap_or_else(|why| panic!("{why}: {}", written.compose));
        assert_eq!(again.services().as_ref(), Ok(&services), "{}", written.compose);
        let image = again.image(name, &written).map(|image| image.to_string());
        assert_eq!(image, Ok("r.lan/new:2".to_owned()), "{}", written.compose);
        fuzz::outcome(&services.len().min(4))
    });
}
