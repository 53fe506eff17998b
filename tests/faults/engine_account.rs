//! What a fake engine was told to do, against what the history says.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use proto::{Event, ImageRef, JobId, Operation, State, TargetName};
use tests::fake_swarm::{BAD, FakeSwarm, Record};

use crate::marks::{Newest, newest};
use crate::run::say;

/// No older job's write went over a newer one's, whoever succeeded or failed did so truly, and each service ends on its
/// newest wish. Targets are called as their services.
pub(crate) fn draw(name: &str, swarm: &FakeSwarm, history: &[Event]) -> Result<()> {
    let record = swarm.record();
    let wishes = wishes(history);
    let older = record.older_over_newer();
    let succeeded = history.iter().filter(|event| event.state() == State::Succeeded).count();
    say(&format!(
        "{name}: {} writes / older over newer {} / refused as out of sequence {} / answers broken off {} / looks at \
         processes {} / successes {succeeded}, each of which ran",
        record.writes.len(),
        older.len(),
        record.out_of_sequence,
        swarm.broken_off(),
        record.looked_at,
    ));
    ensure!(older.is_empty(), "older over newer: {older:#?}");
    ensure!(record.looked_at > 0, "nobody looked whether what is said to run has a process");
    for event in history {
        is_true(event, &record, &wishes)?;
    }
    for (target, newest) in newest(history) {
        stands(swarm, (&target, &newest), &wishes).with_context(|| format!("{target}: {newest:?}"))?;
    }
    Ok(())
}

/// The image that each job was to bring.
fn wishes(history: &[Event]) -> HashMap<JobId, ImageRef> {
    let wish = |event: &Event| {
        let job = event.job()?;
        let Operation::SetImage { image, .. } = &job.operation else { return None };
        Some((job.id, image.clone()))
    };
    history.iter().filter_map(wish).collect()
}

/// Success is said only of an image that ran when it was said, failure only of one that cannot.
fn is_true(event: &Event, record: &Record, wishes: &HashMap<JobId, ImageRef>) -> Result<()> {
    let id = event.job_id();
    let wish = || wishes.get(&id).with_context(|| format!("find the wish of {id}"));
    if event.state() == State::Failed {
        ensure!(wish()?.to_string().ends_with(BAD), "nothing is wrong with {}", wish()?);
    }
    if event.state() != State::Succeeded {
        return Ok(());
    }
    let image = event.data.image.as_ref().and_then(|change| change.to.as_ref());
    let image = image.with_context(|| format!("find the image in {event:?}"))?.to_string();
    ensure!(image.starts_with(&format!("{}@", wish()?)), "{id} brought {image}");
    let ran = record.ran(event.subject.name(), &image, event.time);
    ensure!(ran, "{id} succeeded, and {image} did not run: {event:?}");
    Ok(())
}

/// A service shows the newest job that came to something there, or a newer one that was given up after it had written.
fn stands(
    swarm: &FakeSwarm,
    (target, newest): (&TargetName, &Newest),
    wishes: &HashMap<JobId, ImageRef>,
) -> Result<()> {
    let spec = swarm.spec(target.name()).context("find the service")?;
    let (wished, end) = newest.wished.context("find a wish")?;
    let settled = newest.succeeded.max(newest.failed);
    let shown: Option<JobId> = spec["Labels"]["longshore.job"].as_str().map(str::parse).transpose()?;
    let is_given_up = end == Some(State::Dead);
    ensure!(is_given_up || settled == Some(wished), "the newest wish did not come true");
    ensure!(if is_given_up { shown >= settled } else { shown == settled }, "{shown:?} stands there");
    let Some(shown) = shown else { return Ok(()) };
    let wish = wishes.get(&shown).context("find the wish that stands there")?;
    let image = spec["TaskTemplate"]["ContainerSpec"]["Image"].as_str().unwrap_or_default();
    ensure!(image.starts_with(&format!("{wish}@")), "{shown} wished for {wish}, and {image} stands there");
    ensure!(spec["TaskTemplate"]["ContainerSpec"]["Healthcheck"].is_object(), "the health check is lost");
    Ok(())
}
