use proptest::prelude::*;

use super::*;

use samples::read_bytes;

#[test]
fn what_is_not_json_is_told_for_every_kind() {
    for kind in Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Portainer) {
        for body in ["", "image=x", "{\"image\":", &"[".repeat(10_000)] {
            let read = read_bytes(kind, &[], body.as_bytes(), &Rules::default());
            assert!(matches!(read, Err(Unreadable::NotJson(_))), "{kind:?} {body:.20}");
        }
    }
}

#[test]
fn bodies_of_another_shape_are_ignored() {
    let strict = [Kind::Plain, Kind::Keel, Kind::Portainer];
    for kind in Kind::ALL.iter().copied().filter(|kind| !strict.contains(kind)) {
        for body in [
            "{}",
            "[]",
            "[7]",
            "null",
            "7",
            "\"x\"",
            r#"{"events":7}"#,
            r#"{"events":[]}"#,
            r#"{"events":[null]}"#,
            r#"{"push_data":{}}"#,
            r#"{"type":"PUSH_ARTIFACT"}"#,
            r#"{"build":{}}"#,
            r#"{"message":{"data":7}}"#,
            r#"{"specversion":"1.0","type":7,"data":[]}"#,
            r#"{"action":"push","target":null}"#,
            r#"{"package":7,"action":"created"}"#,
        ] {
            let read = read_bytes(kind, &[], body.as_bytes(), &Rules::default());
            assert!(matches!(read, Ok(Reading::Ignored(_))), "{kind:?} {body}: {read:?}");
        }
    }
}

/// Keys that the modules look for, so that what is made up comes far into them.
const KEYS: [&str; 40] = [
    "events",
    "action",
    "target",
    "request",
    "repository",
    "tag",
    "digest",
    "mediaType",
    "host",
    "type",
    "data",
    "data_base64",
    "specversion",
    "event_data",
    "resources",
    "resource_url",
    "repo_full_name",
    "push_data",
    "package",
    "package_version",
    "container_metadata",
    "object_kind",
    "object_attributes",
    "variables",
    "ref",
    "run",
    "event_payload",
    "updated_tags",
    "docker_url",
    "build",
    "phase",
    "status",
    "parameters",
    "message",
    "detail",
    "component",
    "name",
    "image",
    "context",
    "subject",
];

fn made_up() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-zA-Z0-9:/@._%{}é-]{0,40}",
        Just("push".to_owned()),
        Just("success".to_owned()),
        Just("refs/tags/".to_owned()),
        Just("sha256:".to_owned()),
        Just("pkg:oci/a@%".to_owned()),
        Just("aGFsbG8=".to_owned()),
        Just("PUSH_ARTIFACT".to_owned()),
    ];
    let leaf = prop_oneof![
        text.prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null)
    ];
    leaf.prop_recursive(4, 60, 8, |inner| {
        let key = proptest::sample::select(&KEYS[..]).prop_map(str::to_owned);
        let map = proptest::collection::btree_map(key, inner.clone(), 0..8);
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(Value::from),
            map.prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_message_makes_a_module_panic(body in made_up(), event in "[a-z_]{0,12}") {
        let headers = [("x-github-event", event.as_str()), ("ce-specversion", "1.0"), ("ce-type", "\"x.push\"")];
        let body = body.to_string();
        for kind in Kind::ALL {
            for rules in [Rules::default(), samples::template("r.io/{owner}/{repo}:{short_sha}")] {
                if let Ok(Reading::Sightings(seen)) = read_bytes(*kind, &headers, body.as_bytes(), &rules) {
                    prop_assert!(!seen.is_empty());
                    prop_assert!(seen.iter().all(|seen| *kind == Kind::Plain || seen.image.tag().is_some()));
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_a_module_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        for kind in Kind::ALL {
            _ = read_bytes(*kind, &headers, &body, &Rules::default());
        }
    }
}
