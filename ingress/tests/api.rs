//! The API over HTTP: wishes, pages, timelines, who may, and the page.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use std::time::Duration;

use proto::State;
use queue::{Queue, QueueError};
use serde_json::{Value, json};
use support::{Server, TOKEN, faulty::Faulty, http::Call};

#[tokio::test]
async fn every_path_below_v1_wants_a_token() {
    let server = Server::start().await;
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    for path in
        ["/v1/jobs", &format!("/v1/jobs/{id}"), &format!("/v1/jobs/{id}/events"), "/v1/events", "/v1/targets"]
    {
        server.call(Call::get(path)).await.is_problem(401, "missing-token");
        server.call(Call::get(path).bearer("x")).await.is_problem(401, "wrong-token");
        server
            .call(Call::get(path).header("authorization", "Basic x"))
            .await
            .is_problem(401, "missing-token");
    }
    let wish = r#"{"target":"demo","image":"demo:2"}"#;
    server.call(Call::post("/v1/jobs", wish)).await.is_problem(401, "missing-token");
    server.call(Call::post("/v1/jobs", wish).bearer("sesame")).await.is_problem(401, "wrong-token");
    assert!(server.queue.published().is_empty());
}

#[tokio::test]
async fn both_forms_of_a_wish_and_arrays_of_them_make_jobs() {
    let server = Server::start().await;
    let one = server.post("/v1/jobs", r#"{"target":"demo","image":"any:3","service":"web"}"#).await;
    assert_eq!(one.status, 202, "{}", one.text());
    let job = server.job(&one.json()["jobs"][0]);
    assert_eq!((job.target.to_string(), job.slots[0].as_str()), ("default/demo".to_owned(), "image:web"));
    assert_eq!(serde_json::to_value(&job.cause).unwrap(), json!({"kind": "api", "by": "admin"}));
    let several = json!([
        {"target": "demo", "image": "any:4"},
        {"target": "default/twin", "operation": {"type": "set-image", "image": "any:5"}},
    ]);
    let several = server.post("/v1/jobs", several.to_string()).await;
    assert_eq!(several.status, 202, "{}", several.text());
    assert_eq!(several.json()["jobs"].as_array().unwrap().len(), 2);
    assert_eq!(server.queue.published().len(), 3);
}

#[tokio::test]
async fn bad_wishes_have_their_status_and_one_refuses_all() {
    let server = Server::start().await;
    let good = r#"{"target":"demo","image":"demo:2"}"#;
    for (status, slug, body) in [
        (400, "not-json", "target=demo"),
        (400, "not-json", ""),
        (404, "unknown-target", r#"{"target":"nobody","image":"demo:2"}"#),
        (404, "unknown-target", r#"{"target":"office/demo","image":"demo:2"}"#),
        (404, "unknown-target", r#"{"target":"a b","image":"demo:2"}"#),
        (422, "bad-image", r#"{"target":"demo","image":"demo"}"#),
        (422, "bad-image", r#"{"target":"demo","image":"De mo:1"}"#),
        (422, "bad-image", r#"{"target":"demo","image":7}"#),
        (422, "bad-image", r#"{"target":"demo","operation":{"type":"set-image","image":"x"}}"#),
        (422, "unknown-operation", r#"{"target":"demo","operation":{"type":"explode"}}"#),
        (422, "bad-job", r#"{"target":"demo","operation":{}}"#),
        (422, "bad-job", r#"{"target":"demo"}"#),
        (422, "bad-job", r#"{"image":"demo:2"}"#),
        (422, "bad-job", r#"{"target":"demo","image":"demo:2","tag":"3"}"#),
        (422, "bad-job", r#"{"target":"demo","image":"demo:2","service":7}"#),
        (
            422,
            "bad-job",
            r#"{"target":"demo","image":"demo:2","operation":{"type":"set-image","image":"x:1"}}"#,
        ),
        (
            422,
            "bad-job",
            r#"{"target":"demo","operation":{"type":"set-image","image":"x:1","servcie":"web"}}"#,
        ),
        (422, "bad-job", r#"{"target":"demo","operation":{"type":"stop","force":true}}"#),
        (422, "bad-job", r#"{"target":"demo","operation":{"type":"cancel","job":"7"}}"#),
        (422, "bad-job", r#"{"target":"demo","operation":7}"#),
        (422, "bad-job", r#"{"target":"demo","image":"demo:2","version":2}"#),
        (
            422,
            "bad-job",
            r#"{"target":"demo","image":"demo:2","chain":"0199f3a0-5d7c-7aa0-b6f0-3a2f5d1c9e42"}"#,
        ),
        (422, "bad-job", r#"{"target":"demo","image":"demo:2","deadline":"2020-01-01T00:00:00Z"}"#),
        (422, "bad-job", r#"{"target":"demo","image":"demo:2","deadline":"2199-01-01T00:00:00Z"}"#),
        (422, "bad-job", r#"{"target":"demo","image":"demo:2","not_before":"tomorrow"}"#),
        (422, "bad-job", r#"{"target":"demo","image":"demo:2","not_before":"2199-01-01T00:00:00Z"}"#),
        (422, "bad-job", "7"),
        (422, "bad-job", "[]"),
    ] {
        server.post("/v1/jobs", body).await.is_problem(status, slug);
        if status != 400 && body != "[]" {
            server.post("/v1/jobs", format!("[{good},{body}]")).await.is_problem(status, slug);
        }
    }
    let large = format!("{{\"target\":\"{}\"}}", "x".repeat(1024 * 1024));
    server.post("/v1/jobs", large).await.is_problem(413, "too-large");
    let many = format!("[{}]", vec![good; 1001].join(","));
    server.post("/v1/jobs", many).await.is_problem(422, "bad-job");
    server.post("/v1/jobs?wait=soon", good).await.is_problem(400, "bad-query");
    let misspelled = server.post("/v1/jobs?wiat=30s", good).await;
    misspelled.is_problem(400, "bad-query");
    assert!(misspelled.json()["hint"].as_str().unwrap().contains("`wiat`"), "{}", misspelled.text());
    let service = r#"{"target":"demo","operation":{"type":"set-image","image":"x:1","servcie":"web"}}"#;
    let hint = server.post("/v1/jobs", service).await.json()["hint"].clone();
    assert!(hint.as_str().unwrap().contains("`servcie`"), "{hint}");
    assert!(server.queue.published().is_empty());
}

#[tokio::test]
async fn a_wish_may_have_a_time_before_which_it_is_not_to_run() {
    let server = Server::start().await;
    let time = proto::Timestamp::now() + Duration::from_secs(3600);
    for not_before in [json!(time), json!(null), json!("2020-01-01T00:00:00Z")] {
        let wish = json!({"target": "demo", "image": "demo:2", "not_before": not_before});
        let answer = server.post("/v1/jobs", wish.to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let job = server.queue.published().pop().unwrap();
        assert_eq!(job.not_before, not_before.as_str().map(|time| time.parse().unwrap()));
        let may_run = job.not_before.map_or(job.accepted_at, |at| at.max(job.accepted_at));
        assert_eq!(job.deadline, may_run + Duration::from_secs(3600), "counted from when it may run");
    }
    // With another time it is another wish.
    let wish = |time: &str| json!({"target": "demo", "image": "demo:2", "not_before": time}).to_string();
    let call = |time| Call::post("/v1/jobs", wish(time)).bearer(TOKEN).header("idempotency-key", "k");
    assert_eq!(server.call(call("2020-01-01T00:00:00Z")).await.status, 202);
    server.call(call("2020-01-02T00:00:00Z")).await.is_problem(422, "idempotency-key-reused");
}

#[tokio::test]
async fn refused_queues_are_told_and_what_was_taken_before_is_named() {
    let server = Server::start().await;
    server.post("/v1/jobs", r#"{"target":"office/remote","image":"x:1"}"#).await.is_problem(503, "no-worker");
    let both = r#"[{"target":"office/remote","image":"x:1"},{"target":"demo","image":"x:1"}]"#;
    server.post("/v1/jobs", both).await.is_problem(503, "no-worker");
    // The pool that can be served first: this server has not published to either.
    let both = r#"[{"target":"demo","image":"x:1"},{"target":"office/remote","image":"x:1"}]"#;
    server.post("/v1/jobs", both).await.is_problem(503, "no-worker");
    assert!(server.queue.published().is_empty(), "an array is taken whole or not at all");
    server.post("/v1/jobs", r#"{"target":"demo","image":"x:1"}"#).await;
    server.queue.refuse([QueueError::Full]);
    let wishes = r#"[{"target":"demo","image":"x:2"},{"target":"demo","image":"y:2"}]"#;
    let call = || Call::post("/v1/jobs", wishes).bearer(TOKEN).header("idempotency-key", "k");
    let half = server.call(call()).await;
    half.is_problem(503, "queue-full");
    let taken = server.queue.published().last().unwrap().id.to_string();
    assert!(half.json()["detail"].as_str().unwrap().contains(&taken), "{}", half.text());
    let whole = server.call(call()).await;
    assert_eq!(whole.status, 202, "{}", whole.text());
    assert_eq!(server.queue.published().len(), 3, "the rest was taken, and nothing twice");
    let ids: Vec<Value> = whole.json()["jobs"].as_array().unwrap().iter().map(|j| j["id"].clone()).collect();
    assert!(ids.contains(&json!(taken)));
}

#[tokio::test]
async fn an_idempotency_key_brings_the_same_jobs_also_after_a_restart() {
    let server = Server::start().await;
    let wish = r#"{"target":"demo","image":"demo:2"}"#;
    let call = |body: &str| Call::post("/v1/jobs", body).bearer(TOKEN).header("idempotency-key", "k-1");
    let (first, second) = tokio::join!(server.call(call(wish)), server.call(call(wish)));
    assert_eq!((first.status, &first.json()), (202, &second.json()));
    assert_eq!(server.queue.published().len(), 1);
    assert_eq!(server.queue.published()[0].cause.delivery.as_deref(), Some("k-1"));
    let other = r#"{"target":"demo","image":"demo:3"}"#;
    server.call(call(other)).await.is_problem(422, "idempotency-key-reused");
    let queue = server.queue.clone();
    server.stop().await;
    let again = Server::on(queue.reopen().await).await;
    let third = again.call(call(wish)).await;
    assert_eq!(third.json()["jobs"][0]["id"], first.json()["jobs"][0]["id"]);
    again.call(call(other)).await.is_problem(422, "idempotency-key-reused");
    let without = again.call(Call::post("/v1/jobs", wish).bearer(TOKEN)).await;
    assert_ne!(without.json()["jobs"][0]["id"], first.json()["jobs"][0]["id"]);
    let long = "k".repeat(201);
    let long = Call::post("/v1/jobs", wish).bearer(TOKEN).header("idempotency-key", &long);
    again.call(long).await.is_problem(400, "bad-query");
}

#[tokio::test]
async fn waiting_ends_with_the_jobs_or_with_the_time() {
    let server = Server::start().await;
    let wish = r#"[{"target":"demo","image":"demo:2"},{"target":"twin","image":"demo:2"}]"#;
    let waiting = server.post("/v1/jobs?wait=30s", wish);
    let working = async {
        support::eventually(|| async { server.queue.published().len() == 2 }).await;
        let jobs = server.queue.published();
        server.reach(&jobs[0], &[State::Started, State::Succeeded]).await;
        server.reach(&jobs[1], &[State::Started, State::RolledBack]).await;
    };
    let (answer, ()) = tokio::join!(waiting, working);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let states: Vec<Value> =
        answer.json()["jobs"].as_array().unwrap().iter().map(|j| j["state"].clone()).collect();
    assert_eq!(states, ["succeeded", "rolled-back"]);
    let late = server.post("/v1/jobs?wait=50ms", r#"{"target":"demo","image":"demo:2"}"#).await;
    assert_eq!((late.status, late.json()["jobs"][0].get("state")), (202, None));
}

#[tokio::test]
async fn a_job_shows_its_events_up_to_its_end() {
    let server = Server::start().await;
    let job = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    server.reach(&job, &[State::Started, State::Progress, State::Failed, State::Succeeded]).await;
    server.reached(&job, State::Failed).await;
    let shown = server.get(&format!("/v1/jobs/{}", job.id)).await.json();
    for (key, value) in serde_json::to_value(&job).unwrap().as_object().unwrap() {
        assert_eq!(&shown[key], value, "{key}");
    }
    let types: Vec<&Value> = shown["events"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["longshore.job.accepted", "longshore.job.started", "longshore.job.failed"]);
    for id in ["7", "01890a5d-ac96-774b-bcce-b302099a8057", "6f1d7a3e-4a44-4a44-8a44-6f1d7a3e4a44"] {
        server.get(&format!("/v1/jobs/{id}")).await.is_problem(404, "unknown-job");
    }
}

#[tokio::test]
async fn an_end_that_was_said_before_the_job_is_its_end() {
    let server = Server::start().await.ready().await;
    let model = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    let job = proto::Job { id: proto::JobId::mint(proto::Timestamp::now(), Some(model.id)), ..model };
    server.reach(&job, &[State::Superseded, State::Accepted, State::Failed]).await;
    server.reached(&job, State::Superseded).await;
    let shown = server.get(&format!("/v1/jobs/{}", job.id)).await.json();
    assert_eq!(shown["events"].as_array().unwrap().len(), 1);
    support::eventually(|| async {
        server.get("/v1/jobs").await.json()["jobs"][0]["id"] == job.id.to_string()
    })
    .await;
    assert_eq!(server.get("/v1/jobs").await.json()["jobs"][0]["state"], "superseded");
}

#[tokio::test]
async fn the_history_outlives_the_process() {
    let server = Server::start().await;
    let job = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    server.reach(&job, &[State::Started, State::Succeeded]).await;
    let queue = server.queue.clone();
    server.stop().await;
    let again = Server::on(queue.reopen().await).await.ready().await;
    let shown = again.get(&format!("/v1/jobs/{}", job.id)).await.json();
    assert_eq!((&shown["state"], shown["events"].as_array().unwrap().len()), (&json!("succeeded"), 3));
    let newer = again.hook("/hooks/demo", r#"{"image":"demo:3"}"#).await;
    assert!(newer.id > job.id);
}

#[tokio::test]
async fn jobs_are_listed_in_pages_through_filters() {
    let server = Server::start().await;
    let mut jobs = Vec::new();
    for index in 0..5 {
        let target = if index == 2 { "twin" } else { "demo" };
        let wish = json!({"target": target, "image": format!("demo:{index}")});
        jobs.push(server.job(&server.post("/v1/jobs", wish.to_string()).await.json()["jobs"][0]));
    }
    server.reach(&jobs[1], &[State::Started, State::Failed]).await;
    server.reached(&jobs[1], State::Failed).await;
    let ids = |page: &Value| -> Vec<usize> {
        let ids = page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned());
        ids.map(|id| jobs.iter().position(|job| job.id.to_string() == id).unwrap()).collect()
    };
    let first = server.get("/v1/jobs?limit=3").await.json();
    assert_eq!((ids(&first), &first["jobs"][0]["state"]), (vec![4, 3, 2], &json!("accepted")));
    let rest = server.get(&format!("/v1/jobs?before={}", first["next"].as_str().unwrap())).await.json();
    assert_eq!((ids(&rest), rest.get("next")), (vec![1, 0], None));
    assert_eq!(ids(&server.get("/v1/jobs?target=twin").await.json()), [2]);
    assert_eq!(ids(&server.get("/v1/jobs?state=failed,dead").await.json()), [1]);
    assert_eq!(ids(&server.get("/v1/jobs?target=default%2Ftwin&state=failed").await.json()), [0; 0]);
    for query in ["state=done", "limit=0", "limit=x", "before=x", "target=a/b/c"] {
        server.get(&format!("/v1/jobs?{query}")).await.is_problem(400, "bad-query");
    }
}

#[tokio::test]
async fn targets_are_listed_with_what_they_follow() {
    let server = Server::start().await;
    let listed = server.get("/v1/targets").await.json();
    let names: Vec<&Value> = listed["targets"].as_array().unwrap().iter().map(|t| &t["target"]).collect();
    assert_eq!(names, ["default/demo", "default/hub", "default/other", "default/twin", "office/remote"]);
    let twin = json!({"target": "default/twin", "system": "s", "deadline": "10m",
        "follows": [{"image": "docker.io/library/both", "tags": {"glob": "*"}}]});
    assert_eq!(listed["targets"][3], twin);
}

#[tokio::test]
async fn a_target_is_shown_as_a_worker_sees_it() {
    let server = Server::start().await;
    let path = "/v1/targets/default/twin";
    server.call(Call::get(path)).await.is_problem(401, "missing-token");
    server.get(path).await.is_problem(503, "no-worker-alive");
    let mut questions = server.queue.questions(&"default".parse().unwrap()).await.unwrap();
    let now = json!({"kind": "rehearsal", "images": ["docker.io/library/a:1"], "running": true});
    let mut told = now.clone();
    told["answer"] = json!("target");
    for (answer, status, slug) in [
        (told, 200, ""),
        (json!({"answer": "unknown-target"}), 404, "unknown-target"),
        (
            json!({"answer": "failed", "reason": {"code": "unreachable", "text": "cannot reach s"}}),
            503,
            "target-unreadable",
        ),
        (
            json!({"answer": "failed", "reason": {"code": "not-found", "text": "s has no stack `shop`"}}),
            404,
            "not-deployed",
        ),
        // It will be so until somebody mends it: asking again is of no use.
        (
            json!({"answer": "failed", "reason": {"code": "refused", "text": "it is in another environment"}}),
            422,
            "would-fail",
        ),
        (json!({"answer": "unknown-question"}), 503, "no-answer"),
        (json!({"answer": "of a later version"}), 503, "no-answer"),
    ] {
        let answering = async {
            let question = questions.next().await.unwrap();
            let asked: Value = serde_json::from_slice(question.body()).unwrap();
            assert_eq!(asked, json!({"ask": "target", "target": "default/twin"}));
            question.answer(answer.to_string().into()).await;
        };
        let (shown, ()) = tokio::join!(server.get(path), answering);
        match status {
            200 => {
                let expected = json!({"target": "default/twin", "system": "s", "deadline": "10m", "now": now,
                    "follows": [{"image": "docker.io/library/both", "tags": {"glob": "*"}}]});
                assert_eq!((shown.status, shown.json()), (200, expected));
            }
            _ => shown.is_problem(status, slug),
        }
    }
    for unknown in ["/v1/targets/default/nobody", "/v1/targets/office/twin", "/v1/targets/a%20b/c"] {
        server.get(unknown).await.is_problem(404, "unknown-target");
    }
    server.queue.there.send_replace(false);
    server.get(path).await.is_problem(503, "broker-away");
}

#[tokio::test]
async fn the_page_carries_its_own_policy() {
    let server = Server::start().await;
    let page = server.call(Call::get("/")).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert_eq!(nonce.len(), 32);
    assert_eq!(page.text().matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    assert!(
        !page.text().contains("{{nonce}}")
            && !page.text().contains("http://")
            && !page.text().contains("https://")
    );
    // People log in there, and decide.
    for part in ["id=\"log-in\"", "\"/v1/session\"", "/v1/session/refresh", "approve:", "cancel:", "replay:"]
    {
        assert!(page.text().contains(part), "{part}");
    }
    // Whatever a job or an event is called, it is shown as text.
    for markup in
        ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " onclick=", "srcdoc"]
    {
        assert!(!page.text().contains(markup), "{markup}");
    }
    let other = server.call(Call::get("/")).await;
    assert_ne!(other.header("content-security-policy"), Some(policy));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn each_problem_has_its_page_and_other_paths_are_problems() {
    let server = Server::start().await;
    let told = server.call(Call::get("/problems/bad-image")).await;
    assert_eq!(told.status, 200);
    assert!(told.text().contains("How to mend it"), "{}", told.text());
    server.call(Call::get("/problems/nothing")).await.is_problem(404, "not-found");
    server.call(Call::get("/nothing?key=x")).await.is_problem(404, "not-found");
    let wrong = server.call(Call::new("DELETE", "/v1/jobs", "")).await;
    wrong.is_problem(405, "method-not-allowed");
    assert_eq!(wrong.header("allow"), Some("GET,HEAD,POST"));
}

#[tokio::test]
async fn a_stop_lets_running_requests_finish() {
    let queue = Faulty::serving(&["default"]).await;
    let server = Server::on(queue.clone()).await.ready().await;
    queue.confirms_events.send_replace(false);
    let address = server.address;
    let call = Call::post("/hooks/demo", r#"{"image":"demo:2"}"#);
    let running = tokio::spawn(async move { support::http::send(address, call).await.unwrap() });
    support::eventually(|| async { !queue.published().is_empty() }).await;
    tokio::time::timeout(Duration::from_secs(15), server.stop()).await.unwrap();
    assert_eq!(running.await.unwrap().status, 202);
}
