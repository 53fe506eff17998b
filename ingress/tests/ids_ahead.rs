//! Ids whose time runs ahead of every clock: what was said of their jobs is found all the same.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap")]

mod support;

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use proto::{Event, Job, JobId, State};
use queue::Queue;
use support::{Server, faulty::Faulty};

/// The first of two jobs of one wish died, the second was carried out; both were accepted nine days ago, with ids of the
/// year 2150, before the server was started.
async fn two_of_2150(queue: &Faulty, model: &Job) -> [Job; 2] {
    let accepted_at = Timestamp::now() - SignedDuration::from_hours(9 * 24);
    let id = JobId::mint("2150-01-01T00:00:00Z".parse().unwrap(), None);
    let deadline = accepted_at + SignedDuration::from_hours(1);
    let dead = Job { id, accepted_at, deadline, ..model.clone() };
    let newer = Job { id: id.successor(), ..dead.clone() };
    for (job, state) in [
        (&dead, State::Accepted),
        (&newer, State::Accepted),
        (&dead, State::Dead),
        (&newer, State::Started),
        (&newer, State::Succeeded),
    ] {
        queue.emit(&Event::of(job, state, 1, 0)).await.unwrap();
    }
    let reason = proto::Reason::new(proto::reason::UNREACHABLE, "no route to the dock");
    queue.bury(dead.encode().into(), dead.target.pool(), 3, &reason).await.unwrap();
    queue.age_up_to(&newer, State::Succeeded).await;
    [dead, newer]
}

#[tokio::test]
async fn what_was_wished_after_a_job_is_known_though_its_id_is_of_the_future() {
    let queue = Faulty::serving(&["default"]).await;
    let server = Server::on(queue.clone()).await.ready().await;
    let model = server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    server.stop().await;
    let [dead, newer] = two_of_2150(&queue, &model).await;
    let server = Server::on(queue).await.ready().await;
    let replay = server.post(&format!("/v1/jobs/{}/replay", dead.id), "").await;
    replay.is_problem(409, "newer-applied");
    assert!(replay.text().contains(&newer.id.to_string()), "{}", replay.text());
    let shown = server.get(&format!("/v1/jobs/{}", newer.id)).await;
    assert_eq!(shown.json()["state"], "succeeded", "{}", shown.text());
    let forced = server.post(&format!("/v1/jobs/{}/replay?force=true", dead.id), "").await;
    assert_eq!(forced.status, 202, "{}", forced.text());
    // Its end was told before: it is not said twice.
    assert!(server.queue.said(&dead).iter().filter(|state| state.is_end()).count() == 1);
}

#[tokio::test]
async fn an_id_that_nobody_knows_is_unknown_at_once_whatever_its_time() {
    let server = Server::start().await.ready().await;
    server.hook("/hooks/demo", r#"{"image":"demo:2"}"#).await;
    let now = Timestamp::now();
    let year = SignedDuration::from_hours(365 * 24);
    for time in [now, now + year, now - SignedDuration::from_hours(24), Timestamp::UNIX_EPOCH] {
        let asked = Instant::now();
        let id = JobId::mint(time, None);
        server.get(&format!("/v1/jobs/{id}")).await.is_problem(404, "unknown-job");
        assert!(asked.elapsed() < Duration::from_secs(4), "{time}: {:?}", asked.elapsed());
    }
}
