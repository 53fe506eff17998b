//! Golden JSON: what these types look like on the wire, for ever. A changed shape is a new version, and the
//! old copies stay.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::{fmt::Debug, time::Duration};

use proto::{
    Cause, CauseKind, ChainId, Event, Gates, Hold, ImageChange, Job, JobId, Operation, Reason, State, Tasks,
    Timestamp, Undecodable, Window,
    api::{
        Accepted, DeadJob, DeadPage, Discarded, Ignored, JobPage, JobStatus, JobSummary, Letter, LetterBody,
        LetterName, Shown, UnreadableLetter, UnreadableStatus, Wish,
    },
    reason,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

const ID: &str = "0192f0c4-9a5c-7c3e-9c2b-1d2e3f405162";

fn job() -> Job {
    let id: JobId = ID.parse().unwrap();
    let operation = Operation::SetImage {
        image: "harbor.lan/shop/web:1.4".parse().unwrap(),
        service: Some("web".into()),
    };
    Job {
        version: 1,
        id,
        chain: ChainId::of(id),
        target: "office/shop".parse().unwrap(),
        slots: operation.slots(),
        operation,
        cause: Cause {
            kind: CauseKind::Hook,
            source: Some("hub".into()),
            by: None,
            delivery: Some("72d3162e".into()),
        },
        accepted_at: "2026-11-21T09:00:00Z".parse().unwrap(),
        not_before: None,
        deadline: "2026-11-21T10:00:00Z".parse().unwrap(),
        gates: Gates::default(),
        replays: None,
        traceparent: None,
    }
}

fn job_json() -> Value {
    json!({
        "version": 1,
        "id": ID,
        "chain": ID,
        "target": "office/shop",
        "operation": {"type": "set-image", "image": "harbor.lan/shop/web:1.4", "service": "web"},
        "slots": ["image:web"],
        "cause": {"kind": "hook", "source": "hub", "delivery": "72d3162e"},
        "accepted_at": "2026-11-21T09:00:00Z",
        "deadline": "2026-11-21T10:00:00Z",
    })
}

#[track_caller]
fn assert_wire<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: Value) {
    assert_eq!(serde_json::to_value(value).unwrap(), json);
    assert_eq!(&serde_json::from_value::<T>(json).unwrap(), value);
}

#[test]
fn a_job() {
    assert_wire(&job(), job_json());
    assert_eq!(Job::decode(&job().encode()).unwrap(), job());
}

fn nights() -> Window {
    let period = json!({"days": "mon-fri", "from": "20:00", "to": "06:00", "zone": "Asia/Shanghai"});
    serde_json::from_value(json!({"name": "nights", "periods": [period]})).unwrap()
}

#[test]
fn a_held_job() {
    let mut held = job();
    held.not_before = Some("2026-11-22T09:00:00Z".parse().unwrap());
    held.gates = Gates {
        approve: true,
        hold_until: Some("2026-11-23T09:00:00Z".parse().unwrap()),
        window: Some(Box::new(nights())),
        upward: true,
    };
    let mut json = job_json();
    json["not_before"] = json!("2026-11-22T09:00:00Z");
    json["gates"] = json!({
        "approve": true,
        "hold_until": "2026-11-23T09:00:00Z",
        "window": {"name": "nights", "periods": [{"days": "mon,tue,wed,thu,fri", "from": "20:00", "to": "06:00", "zone": "Asia/Shanghai"}]},
        "upward": true,
    });
    assert_wire(&held, json);
    assert_eq!(Job::decode(&held.encode()).unwrap(), held);
}

#[test]
fn a_job_is_held_by_its_time_or_until_it_is_approved() {
    let (accepted, later) = (job().accepted_at, job().accepted_at + Duration::from_secs(60));
    assert_eq!((job().is_gated(), job().hold(accepted)), (false, None));
    let mut timed = job();
    timed.not_before = Some(later);
    assert!(timed.is_gated());
    assert_eq!((timed.hold(accepted), timed.hold(later)), (Some(Hold::Until(later)), None));
    timed.not_before = Some(accepted);
    assert_eq!((timed.is_gated(), timed.hold(accepted)), (false, None));

    let mut approved = job();
    approved.gates.approve = true;
    let seven_days = accepted + Duration::from_secs(7 * 24 * 3600);
    assert!(approved.is_gated());
    assert_eq!(approved.hold(seven_days), Some(Hold::ForApproval(seven_days)));
    approved.gates.hold_until = Some(later);
    assert_eq!(approved.hold(accepted), Some(Hold::ForApproval(later)));
}

#[test]
fn a_job_is_held_whenever_its_window_is_closed_and_its_deadline_counts_from_each_opening() {
    let at = |text: &str| -> Timestamp { text.parse().unwrap() };
    let (hour, mut waiting) = (Duration::from_secs(3600), job());
    // A Monday, 14:00 in Shanghai.
    waiting.accepted_at = at("2026-11-23T06:00:00Z");
    waiting.gates.window = Some(Box::new(nights()));
    let waiting = waiting.lasting(hour);
    assert!(waiting.is_gated());
    assert_eq!(waiting.deadline, at("2026-11-23T13:00:00Z"), "an hour after it opens");
    let (opens, until) = (Some(at("2026-11-23T12:00:00Z")), at("2026-11-30T06:00:00Z"));
    assert_eq!(waiting.hold(waiting.accepted_at), Some(Hold::ForWindow { opens, until }));
    assert_eq!((waiting.hold(opens.unwrap()), waiting.deadline_at(opens.unwrap())), (None, waiting.deadline));
    // Nobody took it that night.
    let (morning, next) = (at("2026-11-23T22:00:00Z"), at("2026-11-24T12:00:00Z"));
    assert_eq!(waiting.hold(morning), Some(Hold::ForWindow { opens: Some(next), until }));
    assert_eq!((waiting.hold(next), waiting.deadline_at(next)), (None, next + hour));
    assert_eq!(waiting.may_run_since(next + hour), next);
    // Its time comes when the window is closed.
    let timed = Job { not_before: Some(morning), ..waiting.clone() }.lasting(hour);
    assert_eq!(
        (timed.hold(next - hour), timed.deadline),
        (Some(Hold::ForWindow { opens: Some(next), until }), next + hour)
    );
    // One that opens after the job is given up does not count.
    let mut given_up = waiting.clone();
    given_up.gates.hold_until = Some(at("2026-11-23T11:00:00Z"));
    let hold = given_up.hold(given_up.accepted_at).unwrap();
    assert_eq!(
        (hold, hold.ends()),
        (Hold::ForWindow { opens: None, until: at("2026-11-23T11:00:00Z") }, at("2026-11-23T11:00:00Z"))
    );
}

#[test]
fn an_event_with_its_whole_job() {
    let mut event = Event::of(&job(), State::Accepted, 0, 0);
    event.time = "2026-11-21T09:00:00.25Z".parse().unwrap();
    let expected = json!({
        "specversion": "1.0",
        "id": event.id,
        "source": "/longshore",
        "type": "longshore.job.accepted",
        "subject": "office/shop",
        "time": "2026-11-21T09:00:00.25Z",
        "datacontenttype": "application/json",
        "data": {"job": job_json(), "state": "accepted", "attempt": 0},
    });
    assert_wire(&event, expected);
}

#[test]
fn an_end_names_its_job_and_tells_all_there_is() {
    let mut event = Event::of(&job(), State::RolledBack, 2, 0);
    event.time = "2026-11-21T09:00:07Z".parse().unwrap();
    event.data.reason =
        Some(Reason::new(reason::ROLLED_BACK, "the engine went back").hint("look at the logs"));
    event.data.by = Some(ID.parse().unwrap());
    event.data.image = Some(ImageChange {
        from: Some("harbor.lan/shop/web:1.3".parse().unwrap()),
        to: Some("harbor.lan/shop/web:1.4".parse().unwrap()),
    });
    event.data.tasks = Some(Tasks { running: 1, wanted: 2 });
    event.data.output = vec!["overall progress: 1 out of 2 tasks".into()];
    event.data.took_ms = Some(7000);
    let expected = json!({
        "specversion": "1.0",
        "id": event.id,
        "source": "/longshore",
        "type": "longshore.job.rolled-back",
        "subject": "office/shop",
        "time": "2026-11-21T09:00:07Z",
        "datacontenttype": "application/json",
        "data": {
            "job": ID,
            "state": "rolled-back",
            "attempt": 2,
            "reason": {"code": "rolled-back", "text": "the engine went back", "hint": "look at the logs"},
            "by": ID,
            "image": {"from": "harbor.lan/shop/web:1.3", "to": "harbor.lan/shop/web:1.4"},
            "tasks": {"running": 1, "wanted": 2},
            "output": ["overall progress: 1 out of 2 tasks"],
            "took_ms": 7000,
        },
    });
    assert_wire(&event, expected);
}

#[test]
fn an_event_s_name_is_the_same_for_a_repeat_and_another_for_another_utterance() {
    let end = |attempt, n| Event::of(&job(), State::Failed, attempt, n).id;
    assert_eq!(end(1, 0), end(1, 0));
    assert_ne!(end(1, 0), end(2, 0));
    assert_ne!(end(1, 0), end(1, 1));
    assert_eq!(end(1, 0).to_string(), "b1ceb423-d02b-5bfa-92d4-b78a69684c8e");
}

#[test]
fn what_the_api_says() {
    let accepted = json!({"chain": ID, "jobs": [{"id": ID, "target": "default/web", "status_url": "http://x/v1/jobs/1"}]});
    let read: Accepted = serde_json::from_value(accepted.clone()).unwrap();
    assert_wire(&read, accepted);
    let ignored = Ignored { jobs: Vec::new(), ignored: "nothing follows it".into() };
    assert_wire(&ignored, json!({"jobs": [], "ignored": "nothing follows it"}));
}

#[test]
fn a_shown_job_always_has_its_events_and_a_listed_one_never() {
    let mut shown = job_json();
    shown["state"] = json!("accepted");
    let listed = json!({"jobs": [shown.clone()]});
    shown["events"] = json!([]);
    let state = State::Accepted;
    assert_wire(
        &JobStatus { job: job(), state, events: Vec::new(), held: None, waits: None, letter: None },
        shown,
    );
    assert_wire(
        &JobPage { jobs: vec![JobSummary { job: job(), state, held: None, image: None }], next: None },
        listed,
    );
}

fn letter(body: Option<LetterBody>) -> Letter {
    Letter {
        name: LetterName(17),
        pool: Some("office".parse().unwrap()),
        attempts: 3,
        reason: Reason::new(reason::UNREACHABLE, "cannot reach it"),
        died_at: "2026-11-21T09:30:00Z".parse().unwrap(),
        left_by: None,
        body,
    }
}

#[test]
fn what_died_is_told_with_its_letter() {
    let told = json!({
        "name": "letter-17", "pool": "office", "attempts": 3, "died_at": "2026-11-21T09:30:00Z",
        "reason": {"code": "unreachable", "text": "cannot reach it"},
    });
    let with = |key: &str, value: &Value| {
        let mut all = job_json();
        all["state"] = json!("dead");
        all[key] = value.clone();
        all
    };
    let summary = JobSummary { job: job(), state: State::Dead, held: None, image: None };
    let unreadable = UnreadableLetter { id: None, letter: letter(None) };
    let page = DeadPage {
        jobs: vec![DeadJob { summary, letter: letter(None) }],
        unreadable: vec![unreadable],
        next: Some(LetterName(17)),
    };
    let listed =
        json!({"jobs": [with("letter", &told)], "unreadable": [{"letter": told}], "next": "letter-17"});
    assert_wire(&page, listed);

    let mut whole = told.clone();
    whole["body"] = json!({"text": "{}"});
    let kept = letter(Some(LetterBody::of(b"{}", |_| String::new())));
    let (state, events) = (State::Dead, Vec::new());
    let shown = JobStatus { job: job(), state, events, held: None, waits: None, letter: Some(kept) };
    let mut expected = with("events", &json!([]));
    expected["letter"] = whole;
    assert_wire(&Shown::Job(Box::new(shown)), expected);
    let binary = letter(Some(LetterBody::of(b"\xff", |_| "/w==".to_owned())));
    let mut whole = told;
    whole["body"] = json!({"base64": "/w=="});
    let stray = Letter { left_by: Some("uw".to_owned()), ..letter(None) };
    let mut told = whole.clone();
    told.as_object_mut().unwrap().remove("body");
    told["left_by"] = json!("uw");
    assert_wire(&stray, told);
    let unreadable = UnreadableLetter { id: Some(job().id), letter: binary };
    let shown = Shown::Letter(Box::new(UnreadableStatus { unreadable, events: Vec::new() }));
    assert_wire(&shown, json!({"id": ID, "letter": whole, "events": []}));

    let discarded = Discarded { id: ID.parse().unwrap(), letters: vec![LetterName(17)] };
    assert_wire(&discarded, json!({"id": ID, "letters": ["letter-17"]}));
}

#[test]
fn what_a_caller_may_write() {
    let short: Wish = serde_json::from_value(json!({"target": "web", "image": "demo:2"})).unwrap();
    assert!(matches!(short, Wish::Image { .. }));
    let long = json!({"target": "web", "operation": {"type": "set-image", "image": "demo:2"}});
    assert!(matches!(serde_json::from_value(long).unwrap(), Wish::Operation { .. }));
}

#[test]
fn what_is_from_a_newer_version_is_told_from_what_never_was_a_job() {
    let with = |change: fn(&mut Value)| {
        let mut value = job_json();
        change(&mut value);
        Job::decode(value.to_string().as_bytes()).unwrap_err()
    };
    assert!(matches!(with(|v| v["version"] = json!(2)), Undecodable::NewerVersion(2)));
    assert!(matches!(with(|v| v["operation"]["type"] = json!("fly")), Undecodable::UnknownOperation(_)));
    assert!(matches!(with(|v| v["gates"] = json!({"moon": "full"})), Undecodable::UnknownGate(_)));
    let strange =
        |v: &mut Value| v["gates"] = json!({"window": {"name": "w", "periods": [{"zone": "Mars/Olympus"}]}});
    assert!(matches!(with(strange), Undecodable::UnknownGate(_)));
    assert!(matches!(with(|v| v["id"] = json!("x")), Undecodable::NotAJob(_)));
    assert!(matches!(with(|v| v["target"] = json!("a b")), Undecodable::NotAJob(_)));
    assert!(matches!(Job::decode(b"no"), Err(Undecodable::NotAJob(_))));
}

#[test]
fn an_id_from_the_far_future_is_not_read() {
    let far = Duration::from_secs(300 * 366 * 24 * 3600);
    let id = JobId::mint(Timestamp::UNIX_EPOCH + far, None);
    let mut value = job_json();
    value["id"] = json!(id.to_string());
    assert!(matches!(Job::decode(value.to_string().as_bytes()), Err(Undecodable::NotAJob(_))));
}
