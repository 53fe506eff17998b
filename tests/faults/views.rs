//! What the ingress shows of each job, against what plain readers of the history found.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::{Event, JobId};
use tests::fleet::Fleet;
use tests::http;
use tests::wait::eventually;

const SOON: Duration = Duration::from_secs(60);

/// Jobs that a view keeps.
const KEPT: usize = 10_000;

/// Jobs of one page.
const PAGE: usize = 500;

/// The view reads the history with code of its own, and over other connections than the tests: of every job that it
/// keeps it must show the same end.
pub(crate) async fn agree_with(fleet: &Fleet, history: &[Event]) -> Result<()> {
    let mut ends: HashMap<JobId, &'static str> = HashMap::new();
    for event in history.iter().filter(|event| event.state().is_end()) {
        ends.entry(event.job_id()).or_insert(event.state().as_str());
    }
    eventually(SOON, "the view to agree with the history", || async {
        let shown = shown(fleet).await?;
        ensure!(shown.len() >= ends.len().min(KEPT), "{} of {} jobs are shown", shown.len(), ends.len());
        for (id, state) in &shown {
            ensure!(
                ends.get(id).is_some_and(|end| end == state),
                "{id} is shown {state}: {:?}",
                ends.get(id)
            );
        }
        Ok(())
    })
    .await
}

async fn shown(fleet: &Fleet) -> Result<HashMap<JobId, String>> {
    let mut shown = HashMap::new();
    let mut path = format!("/v1/jobs?limit={PAGE}");
    loop {
        let (status, page) = http::answer(fleet.get(&path)).await?;
        ensure!(status.is_success(), "{status} {page}");
        for job in page["jobs"].as_array().with_context(|| format!("find the jobs in {page}"))? {
            let text = |name: &str| job[name].as_str().with_context(|| format!("find `{name}` in {job}"));
            shown.insert(text("id")?.parse()?, text("state")?.to_owned());
        }
        let Some(next) = page["next"].as_str() else { return Ok(shown) };
        path = format!("/v1/jobs?limit={PAGE}&before={next}");
    }
}
