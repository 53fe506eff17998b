//! A history that the broker cuts off before workers are done with it.

use lapin::{BasicProperties, options::BasicPublishOptions};
use proto::State;
use queue::{Queue, contract::ear::Ear};

use crate::support::{Bench, eval, event, open, until};

/// More than two of the stream's segments, in messages of this size: age and size are looked at when one is full.
const FILLED_BYTES: usize = 150 << 20;
const MESSAGE_BYTES: usize = 1 << 20;

async fn limit_by_policy(bench: &Bench) {
    let (vhost, name) = (&bench.settings.vhost, bench.name("history"));
    eval(format!(
        "ok = rabbit_policy:set(<<\"{vhost}\">>, <<\"{name}\">>, <<\"^{name}$\">>, \
         [{{<<\"max-length-bytes\">>, 1000000}}], 0, <<\"queues\">>, <<\"tests\">>)."
    ))
    .await;
}

async fn fill(bench: &Bench) {
    let name = bench.name("history");
    let body = vec![b'.'; MESSAGE_BYTES];
    for _ in 0..FILLED_BYTES / MESSAGE_BYTES {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let published =
            bench.raw.channel.basic_publish("".into(), name.as_str().into(), options, &body, properties);
        published.await.unwrap().await.unwrap();
    }
}

#[tokio::test]
async fn a_history_that_a_policy_cuts_short_is_told_at_the_start() {
    let bench = Bench::open().await;
    let ear = Ear::default();
    let _listening = tracing::subscriber::set_default(ear.clone());
    limit_by_policy(&bench).await;
    bench.queue.emit(&event("web", State::Accepted)).await.unwrap();
    fill(&bench).await;
    bench.queue.emit(&event("web", State::Started)).await.unwrap();
    let told = || ear.heard("the history is cut off") > 0;
    assert!(!told());
    let _another = open(&bench.settings).await;
    until("the warning", async || told()).await;
}
