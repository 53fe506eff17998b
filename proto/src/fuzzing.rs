//! What is typed or sent from outside, tried with much else.

use crate::{Follow, ImageRef, TagPolicy};

const WORDS: &[&str] = &[
    "registry.example.com:5000/",
    "docker.io/",
    "library/",
    ":latest",
    "@sha256:",
    "localhost",
    "[::1]",
    "*",
    "?",
    "v1",
    "\"semver\":",
    "\"regex\":",
    "\"allow_downgrade\":true",
    ">=1.4.0-rc.1",
    "(?<n>",
    "{1000}",
];

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The kind of an error, without what it says of the input.
fn kind(error: &str) -> String {
    error.chars().take_while(|c| c.is_ascii_alphabetic() || *c == ' ').take(40).collect()
}

#[test]
fn fuzz_image_reference() {
    let digest = format!("acme/web:1.2@sha256:{}", "0a".repeat(32));
    let images = [
        "nginx:1",
        "acme/web:1.2",
        "r.example.com:5000/a/b_c/d-e:v1.42.0",
        "docker.io/library/nginx:1",
        &digest,
    ];
    fuzz::run("image-reference", seeds(&images), WORDS, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return 0 };
        match text.parse::<ImageRef>() {
            Ok(image) => {
                let written = image.to_string();
                assert_eq!(written.parse::<ImageRef>().as_ref(), Ok(&image), "{written}");
                // A digest is cut short for people.
                if image.digest().is_none() {
                    let familiar = image.familiar();
                    assert_eq!(familiar.parse::<ImageRef>().as_ref(), Ok(&image), "{familiar}");
                }
                assert!(image.same_content(&image.clone()) || image.digest().is_none());
                fuzz::outcome(&(
                    image.tag().is_some(),
                    image.digest().is_some(),
                    image.repository().path().len() / 8,
                ))
            }
            Err(error) => fuzz::outcome(&kind(&format!("{error:?}"))),
        }
    });
}

#[test]
fn fuzz_tag_policy() {
    let follows = [
        "acme/web:latest",
        "r.example.com:5000/shop/web:dev-*",
        "{\"image\":\"acme/web\",\"tags\":{\"exact\":\"1.2\"}}",
        "{\"image\":\"acme/web\",\"tags\":{\"glob\":\"v?.*\"}}",
        "{\"image\":\"acme/web\",\"tags\":{\"semver\":\">=1.4, <2\"}}",
        "{\"image\":\"acme/web\",\"tags\":{\"semver\":\">=v2.0.0-rc.1\"},\"allow_downgrade\":true}",
        "{\"image\":\"acme/web\",\"tags\":{\"regex\":\"^v(?<major>[0-9]+)$\"}}",
    ];
    fuzz::run("tag-policy", seeds(&follows), WORDS, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return 0 };
        let read = if text.trim_start().starts_with('{') {
            serde_json::from_str::<Follow>(text).map_err(|error| error.to_string())
        } else {
            text.parse::<Follow>().map_err(|error| format!("{error:?}"))
        };
        let follow = match read {
            Ok(follow) => follow,
            Err(error) => return fuzz::outcome(&kind(&error)),
        };
        let written = serde_json::to_string(&follow).unwrap();
        assert_eq!(serde_json::from_str::<Follow>(&written).unwrap(), follow, "{written}");
        let image = |tag: &str| format!("{}:{tag}", follow.repository()).parse::<ImageRef>();
        if let TagPolicy::Exact(tag) = follow.tags() {
            assert!(image(tag).is_ok_and(|image| follow.takes(&image)), "{follow:?}");
        }
        for tag in ["latest", "v1.42.0", "2.0.0-rc.2"] {
            assert_eq!(follow.refuses(tag).is_none(), follow.takes_tag(tag), "{follow:?} {tag}");
            assert!(follow.groups(tag).is_empty() || follow.takes_tag(tag), "{follow:?} {tag}");
        }
        let taken: Vec<bool> = ["latest", "1.2", "v1.42.0", "dev-1", "2.0.0-rc.2"]
            .map(|tag| image(tag).is_ok_and(|image| follow.takes(&image)))
            .into();
        fuzz::outcome(&(taken, written.len() / 16))
    });
}
