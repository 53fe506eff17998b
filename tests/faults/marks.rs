//! What stands on the targets in the end, against what the history says.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use proto::{Event, JobId, State, TargetName};
use serde_json::Value;

/// Of one target, the newest job that anybody heard of, the newest that succeeded, and the newest that failed there.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Newest {
    pub(crate) wished: Option<(JobId, Option<State>)>,
    pub(crate) succeeded: Option<JobId>,
    pub(crate) failed: Option<JobId>,
}

/// Every target shows the newest job that succeeded there, and that is the newest wish, unless that one was given up.
pub(crate) fn name_the_newest(folder: &Path, history: &[Event]) -> Result<()> {
    for (target, newest) in newest(history) {
        let shown = shown(folder, &target)?;
        ensure!(shown == newest.succeeded, "{target} shows {shown:?}, but {newest:?}");
        let is_newest = newest.wished.map(|(id, _)| id) == newest.succeeded;
        let is_given_up = newest.wished.is_some_and(|(_, end)| end == Some(State::Dead));
        ensure!(is_newest || is_given_up, "the newest wish for {target} did not come true: {newest:?}");
    }
    Ok(())
}

pub(crate) fn newest(history: &[Event]) -> BTreeMap<TargetName, Newest> {
    let mut ends: BTreeMap<JobId, (TargetName, Option<State>)> = BTreeMap::new();
    for event in history {
        let (_, end) = ends.entry(event.job_id()).or_insert_with(|| (event.subject.clone(), None));
        // The first end is the end.
        *end = end.or(event.state().is_end().then(|| event.state()));
    }
    let mut targets: BTreeMap<TargetName, Newest> = BTreeMap::new();
    for (id, (target, end)) in ends {
        let newest = targets.entry(target).or_default();
        newest.wished = Some((id, end));
        match end {
            Some(State::Succeeded) => newest.succeeded = Some(id),
            Some(State::Failed) => newest.failed = Some(id),
            Some(_) | None => {}
        }
    }
    targets
}

/// The job whose mark stands on a rehearsed target.
fn shown(folder: &Path, target: &TargetName) -> Result<Option<JobId>> {
    let file = folder.join("data/rehearsal").join(format!("{}.{}.json", target.pool(), target.name()));
    let Ok(text) = std::fs::read(&file) else { return Ok(None) };
    let mark: Value = serde_json::from_slice(&text).with_context(|| format!("read {}", file.display()))?;
    let jobs = mark["jobs"].as_object().context("find the jobs in a mark")?;
    let ids = jobs.values().map(|id| id.as_str().unwrap_or_default().parse());
    Ok(ids.collect::<Result<Vec<JobId>, _>>().context("read the jobs of a mark")?.into_iter().max())
}
