//! One question, one answer: deploy without waiting, jobs, job show, targets, and every way to be refused.

use serde_json::{Value, json};

use crate::{
    fake::{Answer, Fake, JOB, accepted, job, plain, problem},
    shell::Shell,
};
use proto::State;

const DEPLOY: &str = "deploy web --image acme/web:2";

#[test]
fn a_deploy_is_asked_for_in_full() {
    let fake = Fake::start(|_, _| accepted());
    let ran = Shell::at(&fake.url).run("deploy web --image acme/web:2 --service api").ended(0);
    ran.said(&[JOB, "default/web", "http://127.0.0.1/v1/jobs/", "longshore watch"]);
    let asked = &fake.asked()[0];
    assert_eq!(asked.line, "POST /v1/jobs");
    assert_eq!(
        asked.body,
        json!({"target": "default/web", "image": "docker.io/acme/web:2", "service": "api"})
    );
    assert_eq!(asked.headers["authorization"], "Bearer lsh_secret-of-the-test");
    assert!(!asked.headers["idempotency-key"].is_empty());
}

#[test]
fn a_deploy_is_told_to_programs_as_json() {
    let fake = Fake::start(|_, _| accepted());
    let ran = Shell::at(&fake.url).run(&format!("{DEPLOY} --json")).ended(0);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed["jobs"][0]["id"], JOB);
}

#[test]
fn a_wish_whose_answer_was_lost_is_sent_again_as_the_same() {
    let fake = Fake::start(|_, before| if before == 0 { Answer::Nothing } else { accepted() });
    Shell::at(&fake.url).run(DEPLOY).ended(0);
    let keys: Vec<_> = fake.asked().iter().map(|asked| asked.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn a_refusal_is_told_with_its_hint() {
    for (status, slug, code) in [
        (401, "unauthorized", 5),
        (403, "forbidden", 5),
        (404, "unknown-target", 5),
        (409, "already-ended", 5),
        (422, "bad-image", 5),
        (429, "too-many", 7),
        (503, "queue-full", 7),
    ] {
        let fake = Fake::start(move |_, _| problem(status, slug, "it is so", "mend it thus"));
        let ran = Shell::at(&fake.url).run(DEPLOY).ended(code).said(&["error: ", "it is so"]);
        let hint = match status {
            401 => "LONGSHORE_TOKEN",
            404 => "longshore targets` lists them",
            _ => "mend it thus",
        };
        ran.said(&["hint: ", hint]);
    }
}

#[test]
fn a_refusal_is_told_to_programs_as_json() {
    let fake = Fake::start(|_, _| problem(422, "bad-image", "it names no tag", "name one"));
    let ran = Shell::at(&fake.url).run(&format!("{DEPLOY} --json")).ended(5);
    let printed: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(printed, json!({"error": "it names no tag", "hint": "name one", "exit": 5}));
}

#[test]
fn a_longshore_that_is_not_there_is_code_7() {
    let url = "http://127.0.0.1:1";
    for command in [DEPLOY, "watch", "jobs", "targets", "deploy web --image a:1 --wait"] {
        let ran = Shell::at(url).run(command).ended(7);
        ran.said(&["cannot reach Longshore at", url, "LONGSHORE_URL"]);
    }
}

#[test]
fn what_is_not_longshore_is_code_7() {
    let fake = Fake::start(|_, _| Answer::Json(200, json!("hello")));
    Shell::at(&fake.url).run(DEPLOY).ended(7).said(&["not Longshore"]);
    Shell::new()
        .with("LONGSHORE_URL", "localhost:80")
        .run(DEPLOY)
        .ended(2)
        .said(&["no address", "`http://` or"]);
    Shell::new().run("jobs --data ./nodir").ended(2).said(&["`./nodir`: no such directory"]);
}

#[test]
fn address_and_token_are_found_in_the_data_directory() {
    let fake = Fake::start(|_, _| Answer::Json(200, json!({"targets": []})));
    let shell = Shell::new();
    for data in ["longshore-data", "elsewhere"] {
        shell.write(&format!("{data}/url"), &format!("{}\n", fake.url));
        shell.write(&format!("{data}/admin-token"), "lsh_secret-in-a-file\n");
    }
    shell.write("longshore.yaml", "data: elsewhere\n");
    shell.run("targets").ended(0);
    shell.run("targets --data elsewhere").ended(0);
    // Where `up --listen` listens goes before what its configuration says.
    shell.write("longshore.yaml", "data: elsewhere\nlisten: 127.0.0.1:1\n");
    shell.run("targets --config longshore.yaml").ended(0);
    let asked = fake.asked();
    assert_eq!(asked.len(), 3);
    for asked in asked {
        assert_eq!(asked.headers["authorization"], "Bearer lsh_secret-in-a-file");
    }
}

#[test]
fn a_token_in_a_directory_is_not_sent_to_another_address() {
    let fake = Fake::start(|_, _| problem(401, "unauthorized", "no token was given", "give one"));
    let shell = Shell::new().with("LONGSHORE_URL", &fake.url);
    shell.write("longshore-data/url", "http://127.0.0.1:8080\n");
    shell.write("longshore-data/admin-token", "lsh_secret-in-a-file\n");
    shell.run("jobs").ended(5).said(&["set LONGSHORE_TOKEN"]);
    assert!(!fake.asked()[0].headers.contains_key("authorization"));
}

#[test]
fn jobs_are_a_table() {
    let fake = Fake::start(|_, _| {
        let mut status = serde_json::to_value(job()).unwrap();
        status["state"] = json!("succeeded");
        Answer::Json(200, json!({"jobs": [status]}))
    });
    let shell = Shell::at(&fake.url);
    let ran = shell.run("jobs --target web --state succeeded --limit 5").ended(0);
    assert_eq!(fake.asked()[0].line, "GET /v1/jobs?limit=5&target=default%2Fweb&state=succeeded");
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("JOB "), "{}", ran.stdout);
    for word in [JOB, "default/web", "succeeded", "acme/web:2"] {
        assert!(lines[1].contains(word), "{}", ran.stdout);
    }
}

#[test]
fn a_job_is_shown_with_what_happened_to_it() {
    let fake = Fake::start(|_, _| {
        let data = |message: String| -> Value {
            serde_json::from_str(message.lines().nth(2).unwrap().strip_prefix("data: ").unwrap()).unwrap()
        };
        let mut status = serde_json::to_value(job()).unwrap();
        status["state"] = json!("failed");
        status["events"] = json!([data(plain(1, State::Accepted)), data(plain(2, State::Failed))]);
        Answer::Json(200, status)
    });
    let shell = Shell::at(&fake.url);
    shell.run(&format!("job show {JOB}")).ended(0).said(&["docker.io/acme/web:2", "accepted  ", "failed  "]);
    assert_eq!(fake.asked()[0].line, format!("GET /v1/jobs/{JOB}"));
}

#[test]
fn what_a_target_runs_is_started_stopped_rolled_back_and_cleaned_by_jobs() {
    let former = "0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e43";
    for (typed, operation) in [
        ("stack start web", json!({"type": "start"})),
        ("stack stop web", json!({"type": "stop"})),
        ("stack restart web", json!({"type": "restart"})),
        ("target start web", json!({"type": "start"})),
        ("target stop web", json!({"type": "stop"})),
        ("target restart web", json!({"type": "restart"})),
        ("stack redeploy web", json!({"type": "redeploy"})),
        ("target rollback web", json!({"type": "rollback"})),
        ("target rollback web --service api", json!({"type": "rollback", "service": "api"})),
        (&format!("target rollback web --to {former}"), json!({"type": "rollback", "job": former})),
        ("prune web", json!({"type": "prune-images", "older_than_s": 604_800})),
        (
            "prune web --older-than 1h --label a=b --label c",
            json!({"type": "prune-images", "older_than_s": 3600, "labels": ["a=b", "c"]}),
        ),
    ] {
        let fake = Fake::start(|_, _| accepted());
        Shell::at(&fake.url).run(typed).ended(0).said(&[JOB, "longshore watch"]);
        let asked = &fake.asked()[0];
        assert_eq!(asked.line, "POST /v1/jobs", "{typed}");
        assert_eq!(asked.body, json!({"target": "default/web", "operation": operation}), "{typed}");
    }
}

#[test]
fn a_plan_is_told_as_a_difference_and_its_refusal_is_code_5() {
    let change = json!({"of": "service web", "field": "Image", "from": "acme/web:1", "to": "acme/web:2"});
    let answer = json!({
        "target": "default/web", "operation": {"type": "set-image", "image": "docker.io/acme/web:2"},
        "changes": [change], "notes": ["replaces its one task"],
    });
    let told = answer.clone();
    let fake = Fake::start(move |_, _| Answer::Json(200, told.clone()));
    let shell = Shell::at(&fake.url);
    shell.run("plan web --image acme/web:2").ended(0).said(&[
        "service web",
        "- acme/web:1",
        "+ acme/web:2",
        "replaces its one task",
    ]);
    let printed = shell.run("plan web --image acme/web:2 --json").ended(0).stdout;
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), answer);
    let asked = &fake.asked()[0];
    assert_eq!(asked.line, "POST /v1/targets/default/web/plan");
    let operation = json!({"type": "set-image", "image": "docker.io/acme/web:2"});
    assert_eq!(asked.body, json!({"operation": operation}));

    let (folder, compose) = (tempfile::tempdir().unwrap(), "services: {web: {image: 'acme/web:${TAG}'}}");
    let file = folder.path().join("compose.yml");
    std::fs::write(&file, compose).unwrap();
    let typed = format!("plan web --file {} --env TAG=2 --prune", file.display());
    shell.run(&typed).ended(0);
    let asked = &fake.asked()[2];
    assert_eq!(asked.line, "POST /v1/targets/default/web/plan");
    let wished = &asked.body["operation"];
    assert_eq!(
        (&wished["type"], &wished["compose"], &wished["env"], &wished["prune"]),
        (&json!("deploy-stack"), &json!(compose), &json!({"TAG": "2"}), &json!(true))
    );

    let fake = Fake::start(|_, _| problem(422, "would-fail", "swarm refuses to stop it", "mend it"));
    Shell::at(&fake.url).run("plan web --stop").ended(5).said(&["swarm refuses to stop it"]);
}
