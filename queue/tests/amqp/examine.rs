//! A broker that is asked before anything is started.

use std::collections::BTreeSet;

use lapin::{options::QueueDeclareOptions, types::FieldTable};
use proto::PoolName;
use queue::{
    AmqpSettings, Queue,
    amqp::{Examined, examine},
};

use crate::support::{Look, job, open, settings, soon};

async fn asked(settings: &AmqpSettings) -> Examined {
    soon(examine(settings, &BTreeSet::from([PoolName::default()]))).await
}

#[track_caller]
fn tells(lines: &[String], words: &str) {
    assert!(lines.iter().any(|line| line.contains(words)), "`{words}` is missing in {lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_as_it_should_is_told_with_who_serves_it_and_nothing_is_made() {
    let settings = settings();
    // Twice: whatever the first had left would be found by the second.
    for _ in 0..2 {
        let told = asked(&settings).await;
        assert_eq!(told.missing, [""; 0]);
        tells(&told.found, &format!("lets `{}` into the virtual host", settings.user));
        tells(&told.found, "nothing stands there yet");
    }

    let queue = open(&settings).await;
    queue.declare(&PoolName::default()).await.unwrap();
    queue.publish(&job("web")).await.unwrap();
    let told = asked(&settings).await;
    assert_eq!(told.missing, [""; 0]);
    tells(&told.found, "jobs.default`: workers 0, jobs that wait 1");
    tells(&told.found, "what stands there is as it should be");
    let _taking = queue.take(&PoolName::default(), 1).await.unwrap();
    tells(&asked(&settings).await.found, "jobs.default`: workers 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_stands_otherwise_is_told_with_what_mends_it() {
    let settings = settings();
    let (name, look) = (format!("{}.jobs.default", settings.prefix), Look::open().await);
    let classic = look.channel.queue_declare(
        name.as_str().into(),
        QueueDeclareOptions::durable(),
        FieldTable::default(),
    );
    soon(classic).await.unwrap();
    let told = asked(&settings).await;
    tells(&told.missing, &format!("rabbitmqctl delete_queue {name}"));
    // Whoever serves the pool is told the same.
    let queue = open(&settings).await;
    let refused = queue.take(&PoolName::default(), 1).await.map(drop).unwrap_err();
    assert!(refused.to_string().contains(&format!("rabbitmqctl delete_queue {name}")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_us_out_is_told_host_by_host() {
    let good = settings();
    let wrong = AmqpSettings { password: config::Secret::new("hunter2"), ..good.clone() };
    let told = asked(&wrong).await;
    tells(&told.missing, "check the user, the password and the virtual host");
    assert!(told.missing.iter().all(|line| !line.contains("hunter2")), "{told:?}");
    let nowhere = AmqpSettings { vhost: "nowhere".to_owned(), ..good.clone() };
    tells(&asked(&nowhere).await.missing, "vhost nowhere not found");
    let closed = "127.0.0.1:1".to_owned();
    let one_is_away = AmqpSettings { hosts: [vec![closed], good.hosts.clone()].concat(), ..good.clone() };
    let told = asked(&one_is_away).await;
    tells(&told.missing, "127.0.0.1:1: ");
    tells(&told.missing, "Connection refused");
    tells(&told.found, &format!("{} lets", good.hosts[0]));
}
