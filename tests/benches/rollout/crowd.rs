//! A hundred services that follow one image: what one push asks of the engine.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;
use tests::engine::Engine;
use tests::fleet;

use crate::figures::judged;
use crate::stage::Stage;
use crate::tap::{Request, Tap};

const SERVICES: usize = 100;

/// Lists of tasks a second, and a few that were saved up before.
const MOST_LISTS: f64 = 1.0;
const SAVED_UP: f64 = 5.0;

/// Whether the bound was kept.
pub(crate) async fn run() -> Result<bool> {
    let tap = Tap::lay(Engine::of_the_run()?.host()).await?;
    let options = ["--replicas", "1", "--update-monitor", "5s"];
    let mut stage = Stage::new(fleet::Engine::Embedded, &tap.host, (SERVICES, &options)).await?;

    let image = stage.next_image();
    let mut live = stage.fleet.events("/v1/events").await?;
    tap.take();
    let began = Instant::now();
    stage.hook(&image).await?;
    stage.until_ended(&mut live, SERVICES).await?;
    let took = began.elapsed();
    let ours = tap.take();
    tell("one hook", took, &ours);

    // Those of the command pass the tap too.
    let image = stage.next_image();
    let began = Instant::now();
    let updates = stage.services.iter().map(|service| {
        let (engine, host, image) = (&stage.engine, &tap.host, &image);
        async move {
            engine
                .docker(&["--host", host, "service", "update", "--quiet", "--image", image, &service.name])
                .await
        }
    });
    try_join_all(updates).await?;
    tell("`docker service update` for each", began.elapsed(), &tap.take());

    let lists = ours.iter().filter(|request| is_list(request)).count() as f64;
    let most = MOST_LISTS * took.as_secs_f64() + SAVED_UP;
    let line = format!("{SERVICES} services: {lists} lists of tasks, at most {most:.0}");
    Ok(judged(&line, lists <= most))
}

fn is_list(request: &Request) -> bool {
    request.line.contains("/tasks?")
}

fn tell(who: &str, took: Duration, asked: &[Request]) {
    let count = |what: &str| asked.iter().filter(|request| request.line.contains(what)).count();
    println!(
        "{SERVICES} services by {who}: {:.1} s, {} requests ({:.0} a second): {} lists of tasks, {} event streams, \
         {} lists of nodes, {} of a service, {} look-ups of the image, {} writes",
        took.as_secs_f64(),
        asked.len(),
        asked.len() as f64 / took.as_secs_f64(),
        asked.iter().filter(|request| is_list(request)).count(),
        count("/events"),
        count("/nodes"),
        asked
            .iter()
            .filter(|request| request.line.starts_with("GET ") && request.line.contains("/services/"))
            .count(),
        count("/distribution/"),
        asked
            .iter()
            .filter(|request| request.line.starts_with("POST ") && request.line.contains("/services/"))
            .count(),
    );
}
