use serde_json::json;

use super::*;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn envelope(id: Option<&str>, headers: &[(&str, &str)]) -> Envelope {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Envelope { id: id.map(str::to_owned), headers, ..Envelope::default() }
}

fn form_of(body: &Value, envelope: &Envelope) -> Result<Form, Problem> {
    read(body.to_string().as_bytes(), envelope)
}

/// Each wish's target and name.
fn asked_in(body: &Value, envelope: &Envelope) -> Vec<(String, Option<String>)> {
    match form_of(body, envelope).unwrap() {
        Form::Wishes(asked) => asked
            .into_iter()
            .map(|asked| (asked.wish["target"].as_str().unwrap_or_default().to_owned(), asked.delivery))
            .collect(),
        other @ (Form::Sightings(_) | Form::Ignored(_)) => panic!("{other:?}"),
    }
}

/// Each image and its name.
fn seen_in(body: &Value, envelope: &Envelope) -> Vec<(String, Option<String>)> {
    match form_of(body, envelope).unwrap() {
        Form::Sightings(seen) => {
            seen.sightings.into_iter().map(|seen| (seen.image.familiar(), seen.delivery)).collect()
        }
        other @ (Form::Wishes(_) | Form::Ignored(_)) => panic!("{other:?}"),
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn a_wish_and_an_array_of_them_go_by_the_messages_id() {
    let one = json!({"target": "web", "image": "acme/web:2"});
    assert_eq!(asked_in(&one, &envelope(Some("m-1"), &[])), [("web".to_owned(), some("m-1"))]);
    assert_eq!(asked_in(&one, &envelope(None, &[])), [("web".to_owned(), None)]);
    let named = envelope(Some("m-1"), &[("Idempotency-Key", "k-1")]);
    let operation = json!({"target": "api", "operation": {"type": "restart"}});
    assert_eq!(
        asked_in(&json!([one, operation]), &named),
        [("web".to_owned(), some("k-1")), ("api".to_owned(), some("k-1"))]
    );
    assert_eq!(asked_in(&json!([]), &named), []);
}

#[test]
fn an_image_that_somebody_saw_may_be_said_in_parts() {
    let bare = json!({"image": "acme/web:2", "service": "web"});
    assert_eq!(seen_in(&bare, &envelope(Some("m"), &[])), [("acme/web:2".to_owned(), some("m"))]);
    let parts = json!({"name": "acme/web", "tag": "2", "host": "r.lan", "id": "x"});
    assert_eq!(seen_in(&parts, &envelope(Some("m"), &[])), [("r.lan/acme/web:2".to_owned(), some("x"))]);
    let own = json!({"image": "acme/web:2", "kind": "poll", "source": "look", "delivery": "d"});
    assert_eq!(seen_in(&own, &envelope(None, &[])), [("acme/web:2".to_owned(), some("d"))]);
    let Ok(Form::Sightings(seen)) = form_of(&own, &Envelope::default()) else { panic!() };
    assert_eq!(seen.claim, Some(Claim { source: some("look"), ..Claim::of(CauseKind::Poll) }));
}

#[test]
fn what_diun_sends_is_read() {
    let body = json!({"diun_version": "4.33.0", "hostname": "h", "status": "update", "provider": "file",
        "image": "docker.io/acme/web:2", "hub_link": "", "mime_type": "x", "digest": DIGEST,
        "created": "2026-01-01T00:00:00Z", "platform": "linux/amd64", "metadata": {}});
    let image = "acme/web:2@sha256:aaaaaaaaaaaa".to_owned();
    assert_eq!(seen_in(&body, &envelope(Some("m"), &[])), [(image, some("m"))]);
    let mut unchanged = body;
    unchanged["status"] = json!("unchanged");
    assert!(
        matches!(form_of(&unchanged, &Envelope::default()), Ok(Form::Ignored(why)) if why.contains("unchanged"))
    );
}

#[test]
fn cloud_events_come_whole_in_batches_and_in_headers() {
    let push = |tag: &str| {
        json!({"specversion": "1.0", "id": tag, "source": "ci", "type": "com.acme.image.pushed",
            "data": {"image": format!("r.lan/a:{tag}")}})
    };
    let nameless = envelope(None, &[]);
    assert_eq!(seen_in(&push("1"), &nameless), [("r.lan/a:1".to_owned(), some("ci 1"))]);
    assert_eq!(seen_in(&json!([push("1"), push("2")]), &nameless).len(), 2);
    for before in ["cloudEvents:", "cloudEvents_"] {
        let headers = [("specversion", "1.0"), ("id", "50% \"é\""), ("source", "ci"), ("type", "x.push")];
        let headers: Vec<_> = headers.map(|(name, value)| (format!("{before}{name}"), value)).into();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let body = json!({"image": "r.lan/a:3"});
        assert_eq!(
            seen_in(&body, &envelope(None, &headers)),
            [("r.lan/a:3".to_owned(), some("ci 50% \"é\""))]
        );
    }
    let ended = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "longshore.job.succeeded",
        "data": {"job": "x"}});
    assert!(matches!(form_of(&ended, &nameless), Ok(Form::Ignored(_))), "our own events make no circle");
}

#[test]
fn a_cloud_event_may_carry_wishes() {
    let event =
        |data: Value| json!({"specversion": "1.0", "id": "7", "source": "ci", "type": DEPLOY, "data": data});
    let wish = json!({"target": "web", "image": "acme/web:2"});
    let nameless = envelope(Some("m"), &[]);
    assert_eq!(asked_in(&event(wish.clone()), &nameless), [("web".to_owned(), some("ci 7"))]);
    assert_eq!(asked_in(&event(json!([wish, wish])), &nameless).len(), 2);
    assert_eq!(asked_in(&json!([event(wish.clone()), event(wish.clone())]), &nameless).len(), 2);
    let mixed = json!([event(wish.clone()), {"specversion": "1.0", "id": "8", "source": "ci", "type": "x.push",
        "data": {"image": "acme/web:2"}}]);
    assert_eq!(form_of(&mixed, &nameless).unwrap_err().kind(), Kind::BadJob);
    let mut no_id = event(wish);
    no_id["id"] = Value::Null;
    assert_eq!(form_of(&no_id, &nameless).unwrap_err().kind(), Kind::BadJob);
}

#[test]
fn what_is_none_of_these_is_refused_in_words() {
    for (body, kind, told) in [
        (json!({"image": 7}), Kind::BadImage, "`image` is not a text"),
        (json!({}), Kind::BadImage, "names no image and no target"),
        (json!({"image": "acme/web"}), Kind::BadImage, "names no tag"),
        (json!({"image": "acme/web:1", "tagret": "web"}), Kind::BadJob, "`tagret`"),
        (json!({"image": "acme/web:1", "kind": "api"}), Kind::BadJob, "`kind`"),
        (json!({"image": "acme/web:1", "kind": 7}), Kind::BadJob, "`kind`"),
        (json!("acme/web:1"), Kind::BadJob, "neither an object nor an array"),
    ] {
        let problem = form_of(&body, &Envelope::default()).unwrap_err();
        assert_eq!(problem.kind(), kind, "{body}");
        assert!(problem.detail().contains(told), "{body}: {}", problem.detail());
    }
    for body in [&b"\xff\0"[..], b"", b"{", b"hunter2 and more"] {
        let problem = read(body, &Envelope::default()).unwrap_err();
        assert_eq!(problem.kind(), Kind::NotJson);
        assert!(!problem.detail().contains("hunter2"));
    }
    let large = format!("{{\"image\":\"{}\"}}", "x".repeat(MOST_BYTES));
    assert_eq!(read(large.as_bytes(), &Envelope::default()).unwrap_err().kind(), Kind::TooLarge);
    let deep = "[".repeat(100_000);
    assert_eq!(read(deep.as_bytes(), &Envelope::default()).unwrap_err().kind(), Kind::NotJson);
}

#[test]
fn what_is_told_of_a_message_is_short() {
    let long = "x".repeat(100_000);
    for body in [
        json!({"image": long}),
        json!({"image": format!("acme/web:{long}")}),
        json!({"image": "acme/web:1", "kind": long}),
        json!({long.clone(): 1}),
    ] {
        let told = form_of(&body, &Envelope::default()).unwrap_err().detail().to_owned();
        assert!(told.len() < 400, "{told:.500}");
    }
}
