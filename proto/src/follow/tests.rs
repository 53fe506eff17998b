//! Which images are taken by which rule.

use super::*;

fn takes(follow: &str, image: &str) -> bool {
    follow.parse::<Follow>().unwrap().takes(&image.parse().unwrap())
}

fn long(tags: &str) -> Result<Follow, String> {
    let text = format!(r#"{{"image":"acme/web","tags":{tags}}}"#);
    serde_json::from_str::<Typed>(&text).unwrap().try_into().map_err(|error: FollowError| error.to_string())
}

fn semver(range: &str) -> Follow {
    Follow::new("acme/web".parse().unwrap(), TagPolicy::Semver(range.to_owned()), false).unwrap()
}

fn regex(pattern: &str) -> Result<Follow, FollowError> {
    Follow::new("acme/web".parse().unwrap(), TagPolicy::Regex(pattern.to_owned()), false)
}

#[test]
fn globs_match_the_whole_tag_of_the_same_repository() {
    assert!(takes("demo:*", "docker.io/library/demo:2"));
    assert!(takes("harbor.lan:8443/shop/web:dev-*", "harbor.lan:8443/shop/web:dev-1.2"));
    assert!(takes("acme/blog:v?", "acme/blog:v1"));
    assert!(!takes("acme/blog:v?", "acme/blog:v10"));
    assert!(!takes("acme/blog:latest", "acme/blog:latest2"));
    assert!(!takes("demo:*", "other/demo:2"));
    assert!(!takes("demo:*", &format!("demo@sha256:{}", "a".repeat(64))));
}

#[test]
fn both_forms_are_read() {
    let long: Follow = serde_json::from_str(r#"{"image":"acme/blog","tags":{"exact":"latest"}}"#).unwrap();
    assert_eq!(long, "acme/blog:latest".parse().unwrap());
}

#[test]
fn versions_are_taken_within_their_range_with_or_without_a_v() {
    let follow = semver(">=1.4, <2");
    for tag in ["1.4.0", "1.4.2", "v1.10.0", "V1.9.9"] {
        assert_eq!(follow.refuses(tag), None, "{tag}");
    }
    for (tag, why) in [
        ("1.3.9", "it takes versions within `>=1.4, <2`, not `1.3.9`"),
        ("2.0.0", "not `2.0.0`"),
        ("2.0.0-rc1", "which names no pre-release such as `2.0.0-rc1`"),
        ("1.5.0-alpine", "which names no pre-release"),
        ("latest", "and `latest` is none"),
        ("1.5", "and `1.5` is none"),
        ("version1.5.0", "is none"),
        ("1.05.0", "is none"),
    ] {
        let told = follow.refuses(tag).unwrap();
        assert!(told.contains(why), "{tag}: {told}");
    }
    for range in ["^1.4", "~1.4.2", "1.*", "v1.4", ">=v1.4.2, <v2", "*"] {
        assert!(semver(range).takes_tag("1.4.2"), "{range}");
    }
}

#[test]
fn pre_releases_are_taken_where_the_range_names_one() {
    let follow = semver(">=2.0.0-rc.1, <3");
    assert!(follow.takes_tag("2.0.0-rc.2") && follow.takes_tag("v2.0.0-rc.10") && follow.takes_tag("2.1.0"));
    assert!(!follow.takes_tag("2.0.0-beta.1") && !follow.takes_tag("2.1.0-rc.1"));
}

#[test]
fn only_versions_go_upward_alone_and_only_they_may_go_down() {
    assert!(semver("^1").is_upward_only());
    assert!(!"acme/web:*".parse::<Follow>().unwrap().is_upward_only());
    let typed = |tags: &str| format!(r#"{{"image":"acme/web","tags":{tags},"allow_downgrade":true}}"#);
    let down: Follow = serde_json::from_str(&typed(r#"{"semver":"^1"}"#)).unwrap();
    assert!(!down.is_upward_only());
    let written = serde_json::to_string(&down).unwrap();
    assert_eq!(serde_json::from_str::<Follow>(&written).unwrap(), down);
    assert!(!serde_json::to_string(&semver("^1")).unwrap().contains("allow_downgrade"));
    assert!(serde_json::from_str::<Follow>(&typed(r#"{"glob":"1.*"}"#)).is_err());
}

#[test]
fn a_regular_expression_matches_the_whole_tag_and_names_its_parts() {
    let follow = regex("release-(?<build>[0-9]+)(-(?<variant>[a-z]+))?").unwrap();
    let parts = |tag: &str| {
        let groups = follow.groups(tag).into_iter();
        groups.map(|(name, text)| format!("{name}={text}")).collect::<Vec<_>>().join(" ")
    };
    assert!(follow.takes_tag("release-42") && follow.takes_tag("release-42-slim"));
    assert_eq!(
        (parts("release-42").as_str(), parts("release-42-slim").as_str()),
        ("build=42", "build=42 variant=slim")
    );
    for tag in ["pre-release-42", "release-42x", "release-", "Release-42"] {
        assert!(follow.refuses(tag).unwrap().contains("as a whole"), "{tag}");
    }
    let either = regex("a|ab|b").unwrap();
    assert!(either.takes_tag("ab") && !either.takes_tag("aab"), "each of several is the whole tag");
    assert!(regex(r"v\d+\.\d+").unwrap().takes_tag("v1.42"));
}

#[test]
fn a_regular_expression_cannot_leave_its_anchors_or_take_all_memory() {
    for pattern in
        ["", "(", "a)|(b", "[a-z", "(?x)a # b", "((a{1000}){1000}){1000}", r"\p{Greek}", &"a".repeat(600)]
    {
        let error = regex(pattern).unwrap_err();
        assert!(matches!(error, FollowError::Regex { .. }), "{pattern:.20}: {error}");
        assert!(error.to_string().len() < 300, "{error}");
    }
}

#[test]
fn mistakes_are_named() {
    assert_eq!("demo".parse::<Follow>(), Err(FollowError::NoTags("demo".into())));
    assert_eq!("demo:a b*".parse::<Follow>(), Err(FollowError::Glob("a b*".into())));
    assert!(matches!("Demo X:*".parse::<Follow>(), Err(FollowError::Image(ImageError::Path(_)))));
    for (tags, why) in [
        (r#"{"semver":""}"#, "is no range of versions"),
        (r#"{"semver":">=1.4 <2"}"#, "is no range of versions"),
        (r#"{"semver":"^1 || ^2"}"#, "follow the image twice"),
        (r#"{"semver":"latest"}"#, "write it as in `>=1.4, <2`"),
        (r#"{"regex":"("}"#, "is no regular expression for a tag: unclosed group"),
    ] {
        let told = long(tags).unwrap_err();
        assert!(told.contains(why), "{tags}: {told}");
    }
}
