//! One look at what a hook missed.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use proto::{PoolName, TargetName};
use queue::Lock;

use super::{
    BackfillSettings,
    delivery::{Attempt, Missed, missed},
    feed::Feed,
    github::{FetchError, GithubClient},
    memory::Memory,
    tally::Fate,
};
use crate::{ingress::Ingress, settings::Settings, source::Source};

/// In whose name the ingresses agree by a lock on which of them looks; the name of no pool.
const RESERVED_POOL: &str = "longshore-backfill";
/// Most pages that are read at once: ten thousand attempts.
const MOST_PAGES: usize = 100;
/// Clocks that differ less are taken to be the same: GitHub's is told in seconds.
const SAME_CLOCK: Duration = Duration::from_secs(10);

/// Why a look did not come to its end.
#[derive(Debug)]
pub(super) enum Hindrance {
    /// Another ingress looks, or the history cannot be read at the moment.
    NotNow,
    /// GitHub did not say.
    Fetch(FetchError),
    /// Some deliveries could not be taken yet.
    Waiting,
}

impl Hindrance {
    /// How long GitHub wants to be left alone.
    pub(super) fn said_pause(&self) -> Option<Duration> {
        match self {
            Hindrance::Fetch(FetchError::Limited(pause)) => Some(*pause),
            Hindrance::Fetch(_) | Hindrance::NotNow | Hindrance::Waiting => None,
        }
    }
}

impl From<FetchError> for Hindrance {
    fn from(error: FetchError) -> Hindrance {
        Hindrance::Fetch(error)
    }
}

/// What a look needs.
pub(super) struct Look<'a> {
    ingress: &'a Arc<Ingress>,
    settings: &'a Arc<Settings>,
    source: &'a Source,
    backfill: &'a BackfillSettings,
}

/// What GitHub has tried lately, and by how much its clock is behind ours.
struct Listed {
    attempts: Vec<Attempt>,
    from: Timestamp,
    behind: SignedDuration,
}

impl<'a> Look<'a> {
    pub(super) fn new(
        ingress: &'a Arc<Ingress>,
        settings: &'a Arc<Settings>,
        source: &'a Source,
        backfill: &'a BackfillSettings,
    ) -> Look<'a> {
        Look { ingress, settings, source, backfill }
    }

    /// Takes what was missed since the last look, oldest first.
    pub(super) async fn run(&self, memory: &mut Memory) -> Result<(), Hindrance> {
        let _lock = self.lead().await.ok_or(Hindrance::NotNow)?;
        // Whoever looked before has said what it made.
        self.ingress.know_all().await.map_err(|_| Hindrance::NotNow)?;
        let client = GithubClient::new(self.backfill)?;
        let listed = self.list(&client, memory).await?;
        let until = listed.attempts.iter().map(|attempt| attempt.delivered_at).max();
        let mut missed = missed(&listed.attempts);
        missed.retain(|missed| !memory.is_settled(&missed.guid));
        if !missed.is_empty() {
            tracing::info!(
                source = self.source.name,
                missed = missed.len(),
                "GitHub has deliveries that never came"
            );
        }
        let mut feed = Feed::new(self.ingress, self.settings, self.source, listed.behind);
        let mut waiting = false;
        for missed in missed {
            match self.settle(&client, &mut feed, &missed).await? {
                Some(fate) => {
                    self.ingress.counters.backfills.settled(&self.source.name, fate);
                    memory.settle(missed.guid, missed.first_tried_at);
                }
                None => waiting = true,
            }
        }
        if waiting {
            return Err(Hindrance::Waiting);
        }
        if let Some(until) = until {
            memory.finish(listed.from, until);
        }
        Ok(())
    }

    /// The right to look at this hook; none while another ingress has it.
    async fn lead(&self) -> Option<Lock> {
        let reserved: PoolName = RESERVED_POOL.parse().ok()?;
        let name = TargetName::new(reserved, &self.source.name).ok()?;
        self.ingress.queue.lock(&name).await.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(source = self.source.name, error, "cannot tell who asks for missed deliveries");
            None
        })
    }

    async fn list(&self, client: &GithubClient<'_>, memory: &Memory) -> Result<Listed, FetchError> {
        let mut page = client.page(None).await?;
        let ours = Timestamp::now();
        let theirs = page.now.unwrap_or(ours);
        let from = memory.begin(theirs, self.backfill.since);
        let behind = ours.duration_since(theirs);
        let behind = if behind.unsigned_abs() < SAME_CLOCK { SignedDuration::ZERO } else { behind };
        let mut attempts = Vec::new();
        for _ in 0..MOST_PAGES {
            let is_last = page.attempts.iter().any(|attempt| attempt.delivered_at < from);
            attempts.extend(page.attempts.into_iter().filter(|attempt| attempt.delivered_at >= from));
            match page.next.filter(|_| !is_last) {
                Some(cursor) => page = client.page(Some(&cursor)).await?,
                None => return Ok(Listed { attempts, from, behind }),
            }
        }
        tracing::warn!(
            source = self.source.name,
            attempts = attempts.len(),
            "GitHub has tried more than is looked at; older attempts are passed over"
        );
        Ok(Listed { attempts, from, behind })
    }

    /// Fetches one delivery and takes it; nothing where that has to wait.
    async fn settle(
        &self,
        client: &GithubClient<'_>,
        feed: &mut Feed<'_>,
        missed: &Missed,
    ) -> Result<Option<Fate>, FetchError> {
        let (source, delivery) = (&self.source.name, &missed.guid);
        let detail = match client.attempt(missed.id).await {
            Ok(detail) => detail,
            Err(error @ (FetchError::Unknown | FetchError::TooLarge)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(source, delivery, error, "a missed delivery cannot be fetched");
                return Ok(Some(Fate::Unusable));
            }
            Err(error) => return Err(error),
        };
        match missed.request(detail, self.backfill.hook) {
            Ok((headers, body)) => Ok(feed.take(missed, &headers, &body).await),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(source, delivery, error, "a missed delivery cannot be used");
                Ok(Some(Fate::Unusable))
            }
        }
    }
}
