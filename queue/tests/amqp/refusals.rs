//! What the broker refuses to take.

use std::sync::Arc;

use futures::future::join_all;
use proto::{Job, State};
use queue::{Queue, QueueError, Settlement, amqp::Amqp};

use crate::support::{Bench, eval, event, job, next, open, soon};

/// A user who may hand in jobs for `web` of the pool `default`, and no others.
async fn of_the_edge(bench: &Bench) -> Arc<Amqp> {
    let (user, host, jobs) = (bench.settings.prefix.clone(), &bench.settings.vhost, bench.name("jobs"));
    let of = format!("<<\"{user}\">>, <<\"{host}\">>");
    let expression = format!(
        "ok = rabbit_auth_backend_internal:add_user(<<\"{user}\">>, <<\"secret\">>, <<\"tests\">>), \
         rabbit_auth_backend_internal:set_permissions({of}, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"tests\">>), \
         rabbit_auth_backend_internal:set_topic_permissions({of}, <<\"{jobs}\">>, <<\"^default[.]web$\">>, <<\".*\">>, <<\"tests\">>)."
    );
    eval(expression).await;
    let settings =
        queue::AmqpSettings { user, password: config::Secret::new("secret"), ..bench.settings.clone() };
    open(&settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_the_broker_refuses_costs_those_beside_it_nothing() {
    let bench = Bench::open().await;
    let mut taking = bench.take(64).await;
    let edge = of_the_edge(&bench).await;
    let all: Vec<Job> = (0..20).map(|n| job(if n % 10 == 3 { "api" } else { "web" })).collect();
    let outcomes = soon(join_all(all.iter().map(|job| edge.publish(job)))).await;
    for (job, outcome) in all.iter().zip(outcomes) {
        match outcome {
            Ok(()) => assert_eq!(job.target.to_string(), "default/web"),
            Err(QueueError::Topology { name, answer }) => {
                assert_eq!((job.target.to_string(), name), ("default/api".to_owned(), bench.name("jobs")));
                assert!(answer.contains("default.api"), "{answer}");
            }
            Err(other) => panic!("{}: {other:?}", job.target),
        }
    }
    for _ in 0..18 {
        next(&mut taking).await.settle(Settlement::Ack).await.unwrap();
    }

    // The next that is refused does not even end what else is going on.
    let mut live = edge.live().await.unwrap();
    for job in [&all[3], &all[0], &all[13]] {
        let outcome = soon(edge.publish(job)).await;
        assert_eq!(outcome.is_ok(), job.target.to_string() == "default/web", "{outcome:?}");
    }
    edge.emit(&event("web", State::Progress)).await.unwrap();
    assert_eq!(soon(live.next()).await.unwrap().state(), State::Progress);

    // Once it may, it may.
    let (user, host) = (&bench.settings.prefix, &bench.settings.vhost);
    eval(format!(
        "rabbit_auth_backend_internal:clear_topic_permissions(<<\"{user}\">>, <<\"{host}\">>, <<\"tests\">>)."
    ))
    .await;
    soon(async { while edge.publish(&all[3]).await.is_err() {} }).await;
}
