//! Events as they happen: deploy --wait and watch.

use std::sync::atomic::{AtomicBool, Ordering};

use proto::{Event, Reason, State, Tasks};
use serde_json::{Value, json};

use crate::{
    fake::{Answer, Fake, JOB, Then, accepted, job, message, plain, problem},
    shell::{Shell, finish},
};

const WAIT: &str = "deploy web --image acme/web:2 --wait";

fn life(end: State) -> String {
    [plain(1, State::Accepted), plain(2, State::Started), plain(3, end)].concat()
}

#[test]
fn the_exit_code_says_how_it_ended() {
    for (end, code) in [
        (State::Succeeded, 0),
        (State::Failed, 1),
        (State::Dead, 1),
        (State::RolledBack, 3),
        (State::Superseded, 4),
        (State::Cancelled, 4),
        (State::Rejected, 5),
        (State::Held, 6),
    ] {
        let fake = Fake::telling(vec![(life(end), Then::Open)]);
        Shell::at(&fake.url).run(WAIT).ended(code).said(&["accepted", "started", end.as_str()]);
    }
}

#[test]
fn a_deploy_for_which_an_earlier_one_waits_is_held_with_its_words_and_hint() {
    let given_way = message(9, State::Superseded, |event| {
        let why = "acme/web:2 is on hold here; the job X waits for the very same already";
        event.data.reason =
            Some(Reason::new(proto::reason::HELD_ALREADY, why).hint("longshore target release web"));
    });
    let fake = Fake::telling(vec![(given_way, Then::Open)]);
    let ran = Shell::at(&fake.url).run(WAIT).ended(6);
    ran.said(&["is on hold here", "hint: longshore target release web"]);
}

#[test]
fn a_failure_is_told_with_reason_and_hint() {
    let failed = message(9, State::Failed, |event| {
        event.data.reason = Some(Reason::new("rollout-failed", "task: exit code 1").hint("read its logs"));
        event.data.output = vec!["no such file".to_owned()];
    });
    let fake = Fake::telling(vec![(failed, Then::Open)]);
    let ran = Shell::at(&fake.url).run(WAIT).ended(1);
    ran.said(&["task: exit code 1", "| no such file", "hint: read its logs"]);
}

#[test]
fn progress_is_told_in_lines_where_there_is_no_terminal() {
    let progress = message(2, State::Progress, |event| {
        event.data.tasks = Some(Tasks { running: 1, wanted: 3 });
        event.data.output = vec!["web.2 is starting".to_owned()];
    });
    let fake = Fake::telling(vec![(progress + &plain(3, State::Succeeded), Then::Open)]);
    Shell::at(&fake.url).run(WAIT).ended(0).said(&["1/3 running", "web.2 is starting"]);
}

#[test]
fn programs_get_the_events_themselves() {
    let fake = Fake::telling(vec![(life(State::Succeeded), Then::Open)]);
    let ran = Shell::at(&fake.url).run(&format!("{WAIT} --json")).ended(0);
    let states: Vec<_> =
        ran.stdout.lines().map(|line| Event::decode(line.as_bytes()).unwrap().state()).collect();
    assert_eq!(states, [State::Accepted, State::Started, State::Succeeded]);
}

#[test]
fn a_cut_stream_is_resumed_and_nothing_is_told_twice() {
    let started = plain(2, State::Started);
    for then in [Then::Cut, Then::End] {
        let first = plain(1, State::Accepted) + &started + "data: half a mess";
        let fake = Fake::telling(vec![
            (first, then),
            (String::new(), Then::Cut),
            (started.clone() + &plain(3, State::Succeeded), Then::Open),
        ]);
        let ran = Shell::at(&fake.url).run(WAIT).ended(0);
        assert_eq!(ran.stdout.lines().count(), 3, "{}", ran.stdout);
        let asked = fake.asked();
        let streams: Vec<_> = asked.iter().filter(|asked| asked.line.ends_with("/events")).collect();
        assert_eq!(streams.len(), 3);
        assert!(!streams[0].headers.contains_key("last-event-id"));
        assert_eq!(streams[1].headers["last-event-id"], "2");
        assert_eq!(streams[2].headers["last-event-id"], "2");
    }
}

#[test]
fn a_wait_that_ends_leaves_the_deploy_going_on() {
    let fake = Fake::telling(vec![(plain(1, State::Accepted), Then::Open)]);
    let ran = Shell::at(&fake.url).run(&format!("{WAIT} --timeout 300ms")).ended(124);
    ran.said(&["the deploy goes on", &format!("longshore watch {JOB}")]);
}

/// Why a job waits for a worker, as the server says it.
fn no_worker() -> Value {
    json!({"code": "no-worker", "text": "no worker of the pool `default` is running", "hint": "start a worker"})
}

#[test]
fn that_nobody_is_there_is_told_at_once_and_the_deploy_is_not_said_to_go_on() {
    for (words, code) in [("--wait --timeout 300ms", 124), ("", 0)] {
        let fake = Fake::start(|asked, _| match (asked.line.as_str(), accepted()) {
            ("POST /v1/jobs", Answer::Json(code, mut body)) => {
                body["jobs"][0]["waits"] = no_worker();
                Answer::Json(code, body)
            }
            _ => Answer::Events(plain(1, State::Accepted), Then::Open),
        });
        let ran = Shell::at(&fake.url).run(&format!("deploy web --image acme/web:2 {words}")).ended(code);
        let ran = ran.said(&[
            "no worker of the pool `default` is running",
            "hint: start a worker",
            "longshore watch",
        ]);
        assert!(!ran.stderr.contains("goes on"), "{}", ran.stderr);
    }
}

#[test]
fn a_job_that_waits_is_asked_why_and_told_once() {
    let was_asked = AtomicBool::new(false);
    let fake = Fake::start(move |asked, before| match asked.line.as_str() {
        "POST /v1/jobs" => accepted(),
        line if line.ends_with("/events") => match (before, was_asked.load(Ordering::SeqCst)) {
            (0, _) => Answer::Events(plain(1, State::Accepted), Then::End),
            (_, false) => Answer::Events(String::new(), Then::End),
            (_, true) => Answer::Events(plain(2, State::Started) + &plain(3, State::Succeeded), Then::Open),
        },
        _ => {
            was_asked.store(true, Ordering::SeqCst);
            let mut status = serde_json::to_value(job()).unwrap();
            status["state"] = json!("accepted");
            status["events"] = json!([]);
            status["waits"] = no_worker();
            Answer::Json(200, status)
        }
    });
    let ran = Shell::at(&fake.url).run(WAIT).ended(0).said(&["succeeded"]);
    assert_eq!(ran.stderr, "no worker of the pool `default` is running\nhint: start a worker\n");
}

#[test]
fn what_a_newer_longshore_says_besides_is_passed_over() {
    let unknown = "id: 1\nevent: dream\ndata: {\"type\":\"longshore.job.dreamt\"}\n\n: alive\n\n";
    let fake = Fake::telling(vec![(unknown.to_owned() + &plain(2, State::Succeeded), Then::Open)]);
    Shell::at(&fake.url).run(WAIT).ended(0);
}

#[test]
fn watch_follows_one_job_to_its_end() {
    let fake = Fake::telling(vec![(life(State::RolledBack), Then::Open)]);
    Shell::at(&fake.url).run(&format!("watch {JOB}")).ended(3).said(&["rolled-back"]);
    assert_eq!(fake.asked()[0].line, format!("GET /v1/jobs/{JOB}/events"));
    let fake = Fake::start(|_, _| problem(404, "unknown-job", "there is no such job", "list them"));
    Shell::at(&fake.url)
        .run(&format!("watch {JOB}"))
        .ended(5)
        .said(&["no such job", "longshore jobs` lists them"]);
}

#[test]
fn watch_follows_everything_beyond_each_end() {
    let fake = Fake::telling(vec![
        (life(State::Succeeded) + &plain(4, State::Failed), Then::Cut),
        (String::new(), Then::Cut),
    ]);
    let ran = finish(Shell::at(&fake.url).start("watch"), "watch").ended(5);
    assert_eq!(ran.stdout.lines().count(), 4, "{}", ran.stdout);
    assert_eq!(fake.asked()[0].line, "GET /v1/events");
}

#[test]
fn a_wait_whose_words_nobody_reads_still_tells_how_it_ended() {
    let fake = Fake::telling(vec![
        (plain(1, State::Accepted), Then::Cut),
        (plain(2, State::Started) + &plain(3, State::Failed), Then::Open),
    ]);
    let mut child = Shell::at(&fake.url).start(WAIT);
    drop(child.stdout.take());
    finish(child, WAIT).ended(1);
}
