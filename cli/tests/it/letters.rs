//! What could not be carried out: listed, shown, replayed, discarded; deploys called off; targets looked at.

use proto::State;
use serde_json::{Value, json};

use crate::{
    fake::{Answer, Fake, JOB, Then, job, plain, problem},
    shell::Shell,
};

const NEW: &str = "0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e43";

fn letter(name: &str) -> Value {
    json!({"name": name, "pool": "default", "attempts": 3, "died_at": "2026-01-02T03:14:05Z",
        "reason": {"code": "unreachable", "text": "cannot reach swarm", "hint": "start the engine"}})
}

fn dead() -> Value {
    let mut dead = serde_json::to_value(job()).unwrap();
    dead["state"] = json!("dead");
    dead["letter"] = letter("letter-17");
    dead
}

fn accepted() -> Answer {
    let job =
        json!({"id": NEW, "target": "default/web", "status_url": format!("http://127.0.0.1/v1/jobs/{NEW}")});
    Answer::Json(202, json!({"chain": JOB, "jobs": [job]}))
}

#[test]
fn dead_jobs_are_a_table_with_the_reason_and_the_next_command() {
    let unreadable = json!([{"letter": letter("letter-9")}]);
    let page = json!({"jobs": [dead()], "unreadable": unreadable});
    let fake = Fake::start(move |_, _| Answer::Json(200, page.clone()));
    let shell = Shell::at(&fake.url);
    let ran = shell.run("jobs --state dead --target web").ended(0);
    assert_eq!(fake.asked()[0].line, "GET /v1/jobs?limit=20&state=dead&target=default%2Fweb");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("JOB "), "{}", ran.stdout);
    for word in [JOB, "default/web", "acme/web:2", " 3 ", "cannot reach swarm"] {
        assert!(lines[1].contains(word), "{word}: {}", ran.stdout);
    }
    assert!(lines[2].starts_with("letter-9 "), "{}", ran.stdout);
    ran.said(&["job replay JOB", "job discard JOB"]);
    let told: Value = serde_json::from_str(&shell.run("jobs --state dead --json").ended(0).stdout).unwrap();
    assert_eq!(told["jobs"][0]["letter"]["name"], "letter-17");
}

#[test]
fn no_dead_job_is_told_as_such() {
    let fake = Fake::start(|_, _| Answer::Json(200, json!({"jobs": []})));
    Shell::at(&fake.url).run("jobs --state dead").ended(0).said(&["nothing waits"]);
}

#[test]
fn a_dead_job_is_shown_with_its_body_and_what_to_do() {
    let mut shown = dead();
    shown["events"] = json!([]);
    shown["letter"]["body"] = json!({"text": "{\"version\":1}"});
    let fake = Fake::start(move |_, _| Answer::Json(200, shown.clone()));
    let ran = Shell::at(&fake.url).run(&format!("job show {JOB}")).ended(0);
    ran.said(&[
        "state     dead",
        "attempts  3",
        "why       cannot reach swarm (unreachable)",
        "hint      start the engine",
        "body      {\"version\":1}",
        &format!("job replay {JOB}"),
    ]);
}

#[test]
fn what_is_no_job_is_shown_by_the_name_of_its_letter_and_cannot_move_the_cursor() {
    let mut kept = letter("letter-9");
    kept["body"] = json!({"text": "\u{1b}[2J no job"});
    let shown = json!({"letter": kept, "events": []});
    let fake = Fake::start(move |_, _| Answer::Json(200, shown.clone()));
    let ran = Shell::at(&fake.url).run("job show letter-9").ended(0);
    assert!(!ran.stdout.contains('\u{1b}'), "{:?}", ran.stdout);
    ran.said(&["letter    letter-9", "[2J no job", "job discard letter-9"]);
    assert_eq!(fake.asked()[0].line, "GET /v1/jobs/letter-9");
}

#[test]
fn a_replay_is_asked_for_once_and_followed_where_that_is_wanted() {
    let fake = Fake::start(|asked, _| match asked.line.as_str() {
        line if line.contains("/replay") => accepted(),
        _ => Answer::Events([plain(1, State::Accepted), plain(2, State::Failed)].concat(), Then::Open),
    });
    let shell = Shell::at(&fake.url);
    shell.run(&format!("job replay {JOB}")).ended(0).said(&[NEW, "longshore watch"]);
    shell.run(&format!("job replay {JOB} --force --wait")).ended(1).said(&["failed"]);
    let printed = shell.run(&format!("job replay {JOB} --json")).ended(0).stdout;
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap()["jobs"][0]["id"], NEW);
    let lines: Vec<String> = fake.asked().into_iter().map(|asked| asked.line).collect();
    let replay = format!("POST /v1/jobs/{JOB}/replay");
    let expected =
        [replay.clone(), format!("{replay}?force=true"), format!("GET /v1/jobs/{NEW}/events"), replay];
    assert_eq!(lines, expected);
}

#[test]
fn a_refused_replay_names_the_flag() {
    let fake =
        Fake::start(|_, _| problem(409, "newer-applied", "the newer job is `succeeded`", "?force=true"));
    let ran = Shell::at(&fake.url).run(&format!("job replay {JOB}")).ended(5);
    ran.said(&["the newer job is `succeeded`", "hint: ", "--force"]);
    let fake = Fake::start(|_, _| problem(503, "broker-away", "the broker is away", "bring it back"));
    Shell::at(&fake.url).run(&format!("job replay {JOB}")).ended(7).said(&["the broker is away"]);
}

#[test]
fn a_discard_tells_what_it_discarded() {
    let fake = Fake::start(|_, _| Answer::Json(200, json!({"id": "letter-9", "letters": ["letter-9"]})));
    let shell = Shell::at(&fake.url);
    shell.run("job discard letter-9").ended(0).said(&["discarded letter-9"]);
    assert_eq!(fake.asked()[0].line, "POST /v1/jobs/letter-9/discard");
    let printed = shell.run("job discard letter-9 --json").ended(0).stdout;
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap()["letters"], json!(["letter-9"]));
    shell.run("job discard 9").ended(2).said(&["letter-17"]);
}

#[test]
fn a_cancel_waits_for_its_outcome() {
    for (end, code, words) in [
        (State::Succeeded, 0, format!("called off {JOB}")),
        (State::Rejected, 5, format!("{JOB} was not called off")),
        (State::Dead, 1, format!("{JOB} was not called off")),
    ] {
        let fake = Fake::start(move |asked, _| match asked.line.as_str() {
            line if line.ends_with("/cancel") => accepted(),
            _ => Answer::Events([plain(1, State::Accepted), plain(2, end)].concat(), Then::Open),
        });
        let ran = Shell::at(&fake.url).run(&format!("job cancel {JOB}")).ended(code);
        assert_eq!(ran.stdout.lines().last(), Some(words.as_str()));
        assert_eq!(fake.asked()[1].line, format!("GET /v1/jobs/{NEW}/events"));
    }
    let open = Fake::start(|asked, _| match asked.line.as_str() {
        line if line.ends_with("/cancel") => accepted(),
        _ => Answer::Events(plain(1, State::Accepted), Then::Open),
    });
    let ran = Shell::at(&open.url).run(&format!("job cancel {JOB} --timeout 300ms")).ended(124);
    ran.said(&["follow it", NEW]);
    let fake = Fake::start(|_, _| problem(409, "already-ended", "the job has ended `succeeded`", ""));
    let ran = Shell::at(&fake.url).run(&format!("job cancel {JOB}")).ended(5);
    ran.said(&["has ended `succeeded`"]);
}

#[test]
fn a_target_is_shown_as_it_stands() {
    let fake = Fake::start(|_, _| {
        let now = json!({"kind": "swarm-service", "images": ["docker.io/acme/web:2"], "running": true,
            "tasks": {"running": 1, "wanted": 2}, "last_job": JOB});
        let follows = json!([{"image": "docker.io/acme/web", "tags": {"glob": "v*"}}]);
        let target =
            json!({"target": "default/web", "system": "swarm", "deadline": "1h", "follows": follows});
        let mut status = target;
        status["now"] = now;
        Answer::Json(200, status)
    });
    let shell = Shell::at(&fake.url);
    let ran = shell.run("target show web").ended(0);
    ran.said(&["default/web", "swarm-service", "acme/web:2", "1 of 2 run", JOB, "running   in part"]);
    assert_eq!(fake.asked()[0].line, "GET /v1/targets/default/web");
    let told: Value = serde_json::from_str(&shell.run("target show web --json").ended(0).stdout).unwrap();
    assert_eq!(told["now"]["tasks"]["wanted"], 2);
}
