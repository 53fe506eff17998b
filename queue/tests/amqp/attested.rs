//! Whose a letter is: the broker attests who published it, whatever else it says of itself.

use std::time::Duration;

use lapin::{
    BasicProperties,
    options::BasicPublishOptions,
    types::{AMQPValue, FieldTable},
};
use proto::{Job, PoolName};
use queue::{DeadLetter, Queue, Settlement};

use crate::support::{Bench, eval, job, next, open, soon};

/// The broker looks at a message's time once it is the first of its queue.
const EXPIRED_WITHIN: Duration = Duration::from_secs(30);

/// What somebody wrote so that it reads as a job's letter once the broker lays it aside.
fn forged(bench: &Bench) -> FieldTable {
    let mut headers = FieldTable::default();
    let mut text = |name: &str, text: &str| {
        headers.insert(name.into(), AMQPValue::LongString(text.into()));
    };
    text("longshore-reason", "unreachable");
    text("longshore-pool", "default");
    text("x-first-death-queue", &bench.name("jobs.default"));
    text("x-first-death-reason", "delivery_limit");
    let mut death = FieldTable::default();
    for (name, value) in [("queue", bench.name("jobs.default")), ("reason", "delivery_limit".to_owned())] {
        death.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    death.insert("count".into(), AMQPValue::LongLongInt(1));
    headers.insert("x-death".into(), AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into()));
    headers
}

/// Publishes a job's body past the engine, to expire where it goes to.
async fn expire(bench: &Bench, to: &str, body: &[u8], user: Option<&str>) {
    let mut properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_expiration("1".into())
        .with_headers(forged(bench));
    if let Some(user) = user {
        properties = properties.with_user_id(user.into());
    }
    let (options, to) = (BasicPublishOptions { mandatory: true, ..Default::default() }, bench.name(to));
    let sent =
        bench.raw.channel.basic_publish(to.as_str().into(), "default.web".into(), options, body, properties);
    sent.await.unwrap().await.unwrap();
}

/// So many letters, once they are there.
async fn letters(queue: &dyn Queue, count: usize) -> Vec<DeadLetter> {
    let listed = async {
        loop {
            let letters = queue.dead_letters().await.unwrap();
            if letters.len() >= count {
                return letters;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(EXPIRED_WITHIN, listed).await.expect("the broker lays it aside")
}

/// Whoever may write to the intake may have the broker lay anything aside, with any header.
#[tokio::test(flavor = "multi_thread")]
async fn what_expires_on_the_intake_is_no_job_whatever_it_says_of_its_past() {
    let bench = Bench::open().await;
    let job = job("web");
    expire(&bench, "intake", &job.encode(), None).await;
    let letter = letters(&*bench.queue, 1).await.remove(0);
    assert!(letter.submitted && letter.job().is_none(), "{letter:?}");
    assert_eq!(letter.body, job.encode());
}

/// The broker keeps who published a job when it lays the job aside, and so does whoever sends it round.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_known_for_ours_wherever_it_dies() {
    let bench = Bench::open().await;
    let mut taking = bench.take(1).await;
    let all: Vec<Job> = ["web", "api", "db"].map(job).into();
    // By the broker, in the queue.
    let login = bench.settings.user.clone();
    let held = {
        soon(bench.queue.publish(&all[0])).await.unwrap();
        next(&mut taking).await
    };
    expire(&bench, "jobs", &all[1].encode(), Some(&login)).await;
    assert!(letters(&*bench.queue, 1).await[0].job().is_some());
    // After it went round, by us.
    held.settle(Settlement::Retry { after: Duration::from_millis(1) }).await.unwrap();
    let again = next(&mut taking).await;
    let reason = proto::Reason::new(proto::reason::UNREACHABLE, "no route");
    again.settle(Settlement::Dead { reason: reason.clone() }).await.unwrap();
    // In nobody's hands.
    soon(bench.queue.bury(all[2].encode().into(), &PoolName::default(), 0, &reason)).await.unwrap();
    let mut found: Vec<_> =
        letters(&*bench.queue, 3).await.iter().map(|letter| letter.job().map(|job| job.id)).collect();
    let mut expected: Vec<_> = all.iter().map(|job| Some(job.id)).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// A user of the broker as somebody gives the workers who keeps them apart from the edge.
async fn another_user(bench: &Bench) -> queue::AmqpSettings {
    let (user, host) = (bench.settings.prefix.clone(), &bench.settings.vhost);
    let expression = format!(
        "ok = rabbit_auth_backend_internal:add_user(<<\"{user}\">>, <<\"secret\">>, <<\"tests\">>), \
         rabbit_auth_backend_internal:set_permissions(<<\"{user}\">>, <<\"{host}\">>, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"tests\">>)."
    );
    eval(expression).await;
    queue::AmqpSettings { user, password: config::Secret::new("secret"), ..bench.settings.clone() }
}

/// What the workers leave is read, named after who left it, and a job again once that name is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_of_workers_with_a_user_of_their_own_says_whose_it_is() {
    let bench = Bench::open().await;
    let workers = another_user(&bench).await;
    let worker = open(&workers).await;
    let mut taking = worker.take(&PoolName::default(), 1).await.unwrap();
    let job = job("web");
    soon(bench.queue.publish(&job)).await.unwrap();
    let reason = proto::Reason::new(proto::reason::UNREACHABLE, "no route");
    next(&mut taking).await.settle(Settlement::Dead { reason }).await.unwrap();
    let letter = letters(&*bench.queue, 1).await.remove(0);
    assert!(letter.job().is_none(), "{letter:?}");
    let (left, by) = letter.left_behind().expect("it reads like a job");
    assert_eq!((left.id, by), (job.id, workers.user.as_str()));
    assert_eq!(letter.reason.text, "no route");

    let told = queue::AmqpSettings { logins: vec![workers.user.clone()], ..bench.settings.clone() };
    let letter = letters(&*open(&told).await, 1).await.remove(0);
    assert_eq!(letter.job().map(|job| job.id), Some(job.id));
    assert_eq!(letter.left_by, None);
}
