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
