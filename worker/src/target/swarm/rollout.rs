//! Watching one rollout on a real engine.

use std::time::Duration;

use bollard::models::{EventMessage, Task};
use futures::{StreamExt, stream::BoxStream};
use proto::{ImageRef, Reason, Timestamp, reason};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    answer::Failure,
    client::Client,
    lifecycle::whose,
    report::Report,
    service::{Mode, Service, same_image},
    tasks::{Count, Counting, Nodes},
    watch::{Decision, Owner, Snapshot},
};
use crate::target::{End, Outcome, Progress, TargetError, Wanted};

/// Tasks say nothing of themselves: they are counted this often while a rollout is under way.
const COUNT_EVERY: Duration = Duration::from_millis(500);
/// The service itself is read again at each of its events; this often in case one was lost.
const READ_EVERY: Duration = Duration::from_secs(10);
/// Before the event stream is opened again.
const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// The hidden filter that the docker CLI uses: only tasks made from the current spec.
pub(super) const UP_TO_DATE: (&str, &str) = ("_up-to-date", "true");

type Events = BoxStream<'static, Result<EventMessage, Failure>>;

/// One rollout, as far as it was seen.
pub(super) struct Rollout<'a> {
    client: &'a Client,
    name: &'a str,
    wanted: &'a Wanted,
    image: &'a ImageRef,
    report: Report<'a>,
    nodes: Nodes,
    service: Service,
    read_at: Instant,
    nodes_read_at: Instant,
    events: Option<Events>,
    reopen_at: Instant,
    /// Whether all tasks ran when last seen, and since when.
    steady: Option<(bool, Instant)>,
}

impl<'a> Rollout<'a> {
    pub(super) async fn begin(
        client: &'a Client,
        name: &'a str,
        (wanted, image): (&'a Wanted, &'a ImageRef),
        progress: &'a mpsc::Sender<Progress>,
    ) -> Result<Rollout<'a>, TargetError> {
        let nodes = Nodes::of(client.nodes().await?);
        let service = client.service(name).await?;
        let now = Instant::now();
        Ok(Rollout {
            client,
            name,
            wanted,
            image,
            report: Report::new(progress),
            nodes,
            service,
            read_at: now,
            nodes_read_at: now,
            events: None,
            reopen_at: now,
            steady: None,
        })
    }

    /// Watches until the end is known; the service as it stands then.
    pub(super) async fn watch(mut self) -> Result<(Outcome, Service), TargetError> {
        let mut fresh = true;
        loop {
            let snapshot = self.look().await?;
            match snapshot.decide() {
                Decision::Ended(_) if !fresh => {
                    self.read().await?;
                    fresh = true;
                    continue;
                }
                Decision::Ended(_) => return self.end(snapshot).await,
                Decision::Goes(line) => self.report.say(snapshot.count.tasks(), line, Instant::now()),
            }
            self.open_events().await?;
            fresh = self.wait().await;
            if fresh {
                self.read().await?;
            }
        }
    }

    /// The service as it was last read, its tasks as they are now.
    async fn look(&mut self) -> Result<Snapshot, TargetError> {
        let id = &self.service.id;
        let current = self.client.tasks(id, Some(UP_TO_DATE)).await?;
        let all = match self.service.mode() {
            Mode::Global => self.client.tasks(id, None).await?,
            Mode::Replicated(_) | Mode::Job => Vec::new(),
        };
        let count = self.counting().count(&current, &all);
        Ok(self.snapshot(count))
    }

    fn snapshot(&mut self, count: Count) -> Snapshot {
        let now = Instant::now();
        let complete = count.complete();
        let since = match self.steady {
            Some((before, since)) if before == complete => since,
            Some(_) | None => now,
        };
        self.steady = Some((complete, since));
        let lasted = now.duration_since(since);
        Snapshot {
            owner: whose(&self.service, &self.wanted.job, self.image),
            update: self.service.update(),
            message: self.service.update_message().to_owned(),
            monitor: self.service.monitor(),
            known_good: self.service.fence.good.as_ref().is_some_and(|good| same_image(good, self.image)),
            steady_for: if complete { lasted } else { Duration::ZERO },
            unsteady_for: if complete { Duration::ZERO } else { lasted },
            count,
        }
    }

    fn counting(&self) -> Counting<'_> {
        Counting {
            service: self.name,
            mode: self.service.mode(),
            image: self.image,
            nodes: &self.nodes,
            since: self.service.update_started_at().and_then(|at| at.parse().ok()),
            now: Timestamp::now(),
        }
    }

    async fn end(mut self, mut snapshot: Snapshot) -> Result<(Outcome, Service), TargetError> {
        self.explain(&mut snapshot).await?;
        let end = match snapshot.decide() {
            Decision::Ended(end) => end,
            // Explaining adds words, it does not take back an end.
            Decision::Goes(line) => End::Failed(Reason::new(reason::ROLLOUT_FAILED, line)),
        };
        let output = self.report.close(&snapshot, &end);
        let tasks = match end {
            End::Converged | End::Failed(_) => Some(snapshot.count.tasks()),
            // What runs then is another image.
            End::RolledBack(_) | End::Superseded { .. } => None,
        };
        Ok((Outcome { end, tasks, output }, self.service))
    }

    /// Adds what failed among all tasks of the image: after a rollback they are no longer up to date.
    async fn explain(&mut self, snapshot: &mut Snapshot) -> Result<(), TargetError> {
        if snapshot.owner == Owner::Ours && snapshot.count.complete() || !snapshot.count.failing.is_empty() {
            return Ok(());
        }
        let all = self.client.tasks(&self.service.id, None).await?;
        snapshot.count.failing = self.counting().failing(&all.iter().collect::<Vec<&Task>>());
        Ok(())
    }

    async fn read(&mut self) -> Result<(), TargetError> {
        if self.nodes_read_at.elapsed() >= READ_EVERY {
            self.nodes = Nodes::of(self.client.nodes().await?);
            self.nodes_read_at = Instant::now();
        }
        self.service = self.client.service(self.name).await?;
        self.read_at = Instant::now();
        Ok(())
    }

    /// Opened from the moment of the version that was read, so that nothing after it is missed.
    async fn open_events(&mut self) -> Result<(), TargetError> {
        if self.events.is_none() && Instant::now() >= self.reopen_at {
            let since = self.service.updated_at().and_then(|at| at.parse::<Timestamp>().ok());
            self.events = Some(self.client.events(&self.service.id, since).await?);
        }
        Ok(())
    }

    /// Waits for something to look at; true when the service itself has to be read again.
    async fn wait(&mut self) -> bool {
        let next = Instant::now() + COUNT_EVERY;
        let Some(events) = &mut self.events else {
            sleep_until(next).await;
            return true;
        };
        tokio::select! {
            event = events.next() => {
                if !matches!(event, Some(Ok(_))) {
                    self.events = None;
                    self.reopen_at = Instant::now() + REOPEN_AFTER;
                }
                true
            }
            () = sleep_until(next) => self.read_at.elapsed() >= READ_EVERY,
        }
    }
}
