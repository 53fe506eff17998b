//! What the ingress shows of each job: a second reader of the history, with code of its own, beside the plain ones of
//! [`crate::history`].

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::{Event, JobId, State};

use crate::fleet::Fleet;
use crate::history;
use crate::http;
use crate::ledger::{Account, Ledger};
use crate::wait::eventually;

const SOON: Duration = Duration::from_secs(60);

/// Jobs that a view keeps.
pub const KEPT: usize = 10_000;

/// Jobs of one page.
const PAGE: usize = 500;

/// Waits until every job of the ledger has an end, or `within` has passed, and gives the whole history with the account
/// of it: the history as a plain reader has it, against what the fleet's ingress shows.
pub async fn account(fleet: &Fleet, ledger: &Ledger, within: Duration) -> Result<(Vec<Event>, Account)> {
    let history = match &fleet.broker {
        None => history::read_by_api(fleet, ledger.ids(), within).await?,
        Some(broker) => {
            let waiting = history::wait_for_ends(broker, ledger.ids(), within).await?;
            ensure!(waiting.is_empty(), "without an end: {waiting:?}");
            history::read(broker, within).await?
        }
    };
    let shown = ends(fleet, &history).await?;
    let account = ledger.account_as_shown(&history, (&shown, KEPT));
    Ok((history, account))
}

/// What the view shows of every job that it keeps, once it has read the ends that are in `history`, or has had time to.
/// It reads the history with code of its own, and over other connections than the tests.
pub async fn ends(fleet: &Fleet, history: &[Event]) -> Result<HashMap<JobId, State>> {
    let ended = history.iter().filter(|event| event.state().is_end()).map(Event::job_id);
    let ended: HashSet<JobId> = ended.collect();
    let caught_up = eventually(SOON, "the view to show the ends", || async {
        let shown = shown(fleet).await?;
        let at_an_end = shown.values().filter(|state| state.is_end()).count();
        ensure!(at_an_end >= ended.len().min(KEPT), "{at_an_end} of {} jobs have ended", ended.len());
        Ok(shown)
    });
    match caught_up.await {
        Ok(shown) => Ok(shown),
        // The account tells which.
        Err(_) => shown(fleet).await,
    }
}

async fn shown(fleet: &Fleet) -> Result<HashMap<JobId, State>> {
    let mut shown = HashMap::new();
    let mut path = format!("/v1/jobs?limit={PAGE}");
    loop {
        let (status, page) = http::answer(fleet.get(&path)).await?;
        ensure!(status.is_success(), "{status} {page}");
        for job in page["jobs"].as_array().with_context(|| format!("find the jobs in {page}"))? {
            let text = |name: &str| job[name].as_str().with_context(|| format!("find `{name}` in {job}"));
            let state =
                serde_json::from_value(job["state"].clone()).with_context(|| format!("read {job}"))?;
            shown.insert(text("id")?.parse()?, state);
        }
        let Some(next) = page["next"].as_str() else { return Ok(shown) };
        path = format!("/v1/jobs?limit={PAGE}&before={next}");
    }
}
