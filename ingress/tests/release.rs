//! Images that were rolled back and wait to be released.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use proto::{
    CauseKind, Event, ImageChange, ImageRef, Job, JobId, Operation, PutOnHold, Reason, State,
    ask::{Answer as AskAnswer, Question, TargetNow},
    reason,
};
use queue::Queue;
use serde_json::json;
use support::{SOON, Server, http::Answer};

async fn release(server: &Server, target: &str) -> Answer {
    server.post(&format!("/v1/targets/default/{target}/release"), "").await
}

/// Says that a job is held, as a worker does.
async fn hold(server: &Server, job: &Job, code: &'static str, image: Option<&ImageRef>) {
    server.reach(job, &[State::Started]).await;
    let mut event = Event::of(job, State::Held, 0, 1);
    event.data.reason = Some(Reason::new(code, "it waits"));
    event.data.image = image.map(|to| ImageChange { from: None, to: Some(to.clone()) });
    server.queue.emit(&event).await.unwrap();
    server.reached(job, State::Held).await;
}

#[tokio::test]
async fn a_held_image_is_released_by_a_job_of_its_own() {
    let server = Server::start().await;
    release(&server, "demo").await.is_problem(409, "nothing-held");
    let job = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    hold(&server, &job, reason::NEEDS_APPROVAL, None).await;
    // That one waits for an approval.
    release(&server, "demo").await.is_problem(409, "nothing-held");

    let image: ImageRef = format!("demo:2@sha256:{}", "7".repeat(64)).parse().unwrap();
    hold(&server, &job, reason::BAD_IMAGE, Some(&image)).await;
    // Somebody calls it off, which no worker has carried out yet.
    let cancel = made(&server, &server.post(&format!("/v1/jobs/{}/cancel", job.id), "").await);
    release(&server, "demo").await.is_problem(409, "called-off");
    server.reach(&cancel, &[State::Rejected]).await;
    server.reached(&cancel, State::Rejected).await;
    let answer = release(&server, "demo").await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let released = server.job(&answer.json()["jobs"][0]);
    assert_eq!(released.operation.image(), Some(&image), "the very image that is held");
    assert_eq!((released.cause.kind, released.cause.by.as_deref()), (CauseKind::Release, Some("admin")));
    assert_eq!((released.chain, released.replays), (job.chain, Some(job.id)));
    assert!(released.id > job.id && released.deadline > job.deadline);
    let again = release(&server, "demo").await.json();
    assert_eq!(again["jobs"][0]["id"], json!(released.id), "the one under way is named");
    release(&server, "no%20name").await.is_problem(404, "unknown-target");
}

/// Says that a job ended, as a worker does.
async fn end(server: &Server, job: &Job, state: State, image: Option<&ImageRef>) {
    server.reach(job, &[State::Started]).await;
    let mut event = Event::of(job, state, 1, 0);
    event.data.image = image.map(|to| ImageChange { from: None, to: Some(to.clone()) });
    server.queue.emit(&event).await.unwrap();
    server.reached(job, state).await;
}

fn made(server: &Server, answer: &Answer) -> Job {
    assert_eq!(answer.status, 202, "{}", answer.text());
    server.job(&answer.json()["jobs"][0])
}

#[tokio::test]
async fn what_was_rolled_back_is_released_though_nothing_is_held() {
    let server = Server::start().await;
    let job = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    let image: ImageRef = format!("demo:2@sha256:{}", "7".repeat(64)).parse().unwrap();
    end(&server, &job, State::RolledBack, Some(&image)).await;
    // Whatever waits for something else stands in front of it.
    for number in 0..25 {
        let waits = server.hook("/hooks/demo", &format!(r#"{{"image":"demo:a{number}"}}"#)).await;
        hold(&server, &waits, reason::NEEDS_APPROVAL, None).await;
    }
    let released = made(&server, &release(&server, "demo").await);
    assert_eq!((released.operation.image(), released.replays), (Some(&image), Some(job.id)));
    assert_eq!(released.cause.kind, CauseKind::Release);
    assert_eq!(made(&server, &release(&server, "demo").await).id, released.id, "the one under way is named");
    end(&server, &released, State::Succeeded, Some(&image)).await;
    release(&server, "demo").await.is_problem(409, "nothing-held");
}

#[tokio::test]
async fn a_text_that_is_held_or_was_rolled_back_is_released_as_it_was_typed() {
    let text = json!({"type": "deploy-stack", "compose": "services: {}", "env": {"TAG": "2"}});
    for state in [State::Held, State::RolledBack] {
        let server = Server::start().await;
        let wish = json!({"target": "demo", "operation": text}).to_string();
        let job = made(&server, &server.post("/v1/jobs", &wish).await);
        if state == State::Held {
            hold(&server, &job, reason::BAD_IMAGE, None).await;
        } else {
            end(&server, &job, state, None).await;
        }
        let released = made(&server, &release(&server, "demo").await);
        assert_eq!(serde_json::to_value(&released.operation).unwrap(), text);
        assert_eq!((released.cause.kind, released.replays), (CauseKind::Release, Some(job.id)));
        assert_eq!(released.slots, job.slots);
        assert_eq!(
            made(&server, &release(&server, "demo").await).id,
            released.id,
            "the one under way is named"
        );
    }
}

#[tokio::test]
async fn what_was_deployed_since_a_rollback_is_not_undone_by_a_release() {
    let server = Server::start().await;
    let job = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    let image: ImageRef = format!("demo:2@sha256:{}", "7".repeat(64)).parse().unwrap();
    end(&server, &job, State::RolledBack, Some(&image)).await;
    let newer = server.hook("/hooks/demo", r#"{"image":"demo:3"}"#).await;
    end(&server, &newer, State::Succeeded, None).await;
    release(&server, "demo").await.is_problem(409, "nothing-held");
}

#[tokio::test]
async fn a_target_is_put_on_hold_and_released() {
    let server = Server::start().await;
    let path = "/v1/targets/default/demo/hold";
    let rolled_back = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    let image: ImageRef = format!("demo:2@sha256:{}", "7".repeat(64)).parse().unwrap();
    end(&server, &rolled_back, State::RolledBack, Some(&image)).await;
    let held = made(&server, &server.post(path, "").await);
    assert_eq!((&held.operation, held.slots.len()), (&Operation::Hold { image: None }, 0));
    end(&server, &held, State::Succeeded, None).await;
    let released = made(&server, &release(&server, "demo").await);
    assert_eq!((&released.operation, released.replays), (&Operation::Release { image: None }, None));
    assert_eq!(made(&server, &release(&server, "demo").await).id, released.id, "the one under way is named");
    end(&server, &released, State::Succeeded, None).await;
    // Released twice, nothing is deployed by that.
    release(&server, "demo").await.is_problem(409, "nothing-held");

    let named = made(&server, &server.post(path, r#"{"image":"demo:2"}"#).await);
    assert_eq!(named.operation, Operation::Hold { image: Some("demo:2".parse().unwrap()) });
    end(&server, &named, State::Succeeded, Some(&image)).await;
    let released = made(&server, &release(&server, "demo").await);
    assert_eq!(
        released.operation,
        Operation::Release { image: Some(image) },
        "the very content that was held"
    );
    server.post(path, r#"{"images":1}"#).await.is_problem(422, "bad-job");
    server.post("/v1/targets/default/nobody/hold", "").await.is_problem(404, "unknown-target");
}

/// Answers the next question about a target with this of it, as a worker does.
async fn tell_of_it(server: &Server, now: TargetNow) -> tokio::task::JoinHandle<()> {
    let mut questions = server.queue.questions(&"default".parse().unwrap()).await.unwrap();
    tokio::spawn(async move {
        let question = questions.next().await.unwrap();
        let asked = Question::decode(question.body()).unwrap();
        assert_eq!(asked, Question::Target { target: "demo".parse().unwrap() });
        question.answer(AskAnswer::Target(Box::new(now)).encode().into()).await;
    })
}

#[tokio::test]
async fn what_only_the_target_remembers_is_released() {
    let server = Server::start().await;
    let image: ImageRef = format!("acme/demo@sha256:{}", "7".repeat(64)).parse().unwrap();
    let images = vec![PutOnHold { image: image.clone(), part: None }];
    let hold = Some(JobId::mint(proto::Timestamp::from_second(1_700_000_000).unwrap(), None));
    for (on_hold, held_images, expected) in [
        (hold, images.clone(), Some(Operation::Release { image: None })),
        (None, images, Some(Operation::Release { image: Some(image) })),
        (None, Vec::new(), None),
    ] {
        let telling = tell_of_it(&server, TargetNow { on_hold, held_images, ..TargetNow::default() }).await;
        let answer = release(&server, "demo").await;
        tokio::time::timeout(SOON, telling).await.expect("no worker was asked").unwrap();
        let Some(expected) = expected else {
            answer.is_problem(409, "nothing-held");
            continue;
        };
        let released = made(&server, &answer);
        assert_eq!((released.operation.clone(), released.replays), (expected, None));
        assert_eq!((released.cause.kind, released.cause.by.as_deref()), (CauseKind::Release, Some("admin")));
        // Nobody is asked while that is under way.
        assert_eq!(made(&server, &release(&server, "demo").await).id, released.id);
        end(&server, &released, State::Succeeded, None).await;
    }
}
