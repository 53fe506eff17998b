//! Stack files, tried with much else.

use std::collections::BTreeMap;

use super::text::StackFile;

const WORDS: &[&str] = &[
    "services:",
    "  web:\n",
    "    image: ",
    "acme/web:1",
    "${TAG}",
    "${TAG:-1}",
    "&a ",
    "*a",
    "<<: *a",
    "# x",
    "\"",
    "'",
    "|\n",
    ">-\n",
    "\r\n",
];

#[test]
fn fuzz_stack_file() {
    let seeds = [
        "services:\n  web:\n    image: acme/web:1 # which\n    ports: [\"80:80\"]\n  api: {image: 'acme/api:2', deploy: {replicas: 2}}\n",
        "# longshore.job=x\nversion: \"3.8\"\nx-base: &base\n  image: \"acme/web:${TAG:-1}\"\nservices:\n  web: *base\n  api:\n    <<: *base\n    build: .\n",
        "\u{feff}services:\r\n  web:\r\n    image: >-\r\n      acme/web:1\r\n",
        "{\"services\": {\"web\": {\"image\": \"acme/web:1\"}}}",
    ];
    fuzz::run("stack-file", seeds.map(|text| text.as_bytes().to_vec()), WORDS, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return 0 };
        let file = match StackFile::read(text) {
            Ok(file) => file,
            Err(why) => return fuzz::outcome(&fuzz::words(&why)),
        };
        assert_eq!(file.text(), text);
        let names: Vec<String> = file.services().map(str::to_owned).collect();
        let Some(name) = names.first() else { return 1 };
        let wanted = "r.lan/new:2";
        match file.with_images(&BTreeMap::from([(name.clone(), wanted.to_owned())])) {
            Ok(edited) => {
                assert_eq!(edited.image(name), Some(wanted), "{}", edited.text());
                let again: Vec<String> = edited.services().map(str::to_owned).collect();
                assert_eq!(again, names, "{}", edited.text());
                let others = names.iter().skip(1).filter(|other| edited.image(other) != file.image(other));
                let shared = others.filter(|other| file.image(other) != file.image(name)).count();
                assert_eq!(shared, 0, "another service has another image: {}", edited.text());
                fuzz::outcome(&(names.len().min(3), edited.text().len() > text.len()))
            }
            Err(why) => fuzz::outcome(&("refused", fuzz::words(&why))),
        }
    });
}
